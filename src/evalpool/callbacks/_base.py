"""The hooks of a callback."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalpool.jobs._job import Job

__all__ = ["HOOKS", "Callback", "implements", "stops_search"]

HOOKS = ("on_open", "on_launch", "on_start", "on_record", "on_done", "on_done_other", "on_gather", "on_close")
"""The names of the hooks."""


class Callback:
    """Watches a search. Override the hooks that you need; the others do nothing.

    Any object with some of the hooks works, too; it need not derive from this class. The hooks are called in the thread
    that called the evaluator's `submit`, `gather` or `close`, one at a time. If a hook other than `on_open` raises, the
    exception is logged with the callback's name, and the search and the other callbacks continue.

    In `gather`: `on_done` for each job in the order of return, `on_done_other` for each job of another
    client, then `on_gather`. At `close`: `on_done` for each cancelled job, `on_gather`, `on_close`.
    """

    search_stopped: bool = False
    """Set it to True to end `optimize`. In a loop of your own, look at it after each gather."""

    _repeats = False
    """An interrupted hook is called again with the same jobs."""

    tells_failures: bool = False
    """Whether the callback shows every failure to the user; evalpool then does not log the first of each sort."""

    def on_open(self) -> None:
        """An evaluator is made with this callback. Its constructor raises what this hook raises."""

    def on_launch(self, job: Job[Any]) -> None:
        """A job was submitted."""

    def on_start(self, job: Job[Any]) -> None:
        """A job began to run; called at the next call of the evaluator."""

    def on_record(self, job: Job[Any], budget: float, objective: Any) -> None:
        """A running job recorded `objective` after `budget`; called at the next call of the evaluator."""

    def on_done(self, job: Job[Any]) -> None:
        """A job of this evaluator was gathered, whatever its outcome."""

    def on_done_other(self, job: Job[Any]) -> None:
        """A job was found that another client of the same search finished."""

    def on_gather(self, local_jobs: list[Job[Any]], other_jobs: list[Job[Any]]) -> None:
        """Jobs were gathered: those of this evaluator, and those of other clients."""

    def on_close(self) -> None:
        """The evaluator is closed; no hook is called after this one."""


def implements(callback: Any, hook: str) -> bool:
    """Whether a callback overrides this hook, in its class or on the object."""
    found = getattr(callback, hook, None)
    return callable(found) and getattr(found, "__func__", None) is not getattr(Callback, hook)


def stops_search(callbacks: Iterable[Any]) -> bool:
    """Whether one of the callbacks has set `search_stopped`."""
    return any(getattr(callback, "search_stopped", False) for callback in callbacks)
