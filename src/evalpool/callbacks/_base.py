"""What a callback can hear."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalpool.jobs._job import Job

__all__ = ["HOOKS", "Callback", "implements", "stops_search"]

HOOKS = ("on_open", "on_launch", "on_start", "on_record", "on_done", "on_done_other", "on_gather", "on_close")
"""The names of the hooks."""


class Callback:
    """Watches a search. Override the hooks you need; each does nothing here. Any object with some of the hooks will do,
    too, and need not derive from this class.

    The hooks are called in the thread that called the evaluator's `submit`, `gather` or `close`, one at a
    time. One but `on_open` that raises is logged with its name; neither the search nor the other callbacks stop for it.
    In `gather`: `on_done` for each job in the order of return, `on_done_other` for each job of another
    client, then `on_gather`. At `close`: `on_done` for each cancelled job, `on_gather`, `on_close`.
    """

    search_stopped: bool = False
    """Set it to True to end `optimize`. Who searches in another way asks for it after each gather."""

    _repeats = False
    """An interrupted hook is called again with the same jobs."""

    tells_failures: bool = False
    """Does it tell the user of every failure? Then evalpool's own warning of the first of each sort is left out."""

    def on_open(self) -> None:
        """An evaluator is made with this callback. What this raises is raised there: the callback cannot watch it."""

    def on_launch(self, job: Job[Any]) -> None:
        """A job was submitted."""

    def on_start(self, job: Job[Any]) -> None:
        """A job began to run; heard at the next call of the evaluator."""

    def on_record(self, job: Job[Any], budget: float, objective: Any) -> None:
        """A running job recorded `objective` after `budget`; heard at the next call of the evaluator."""

    def on_done(self, job: Job[Any]) -> None:
        """A job of this evaluator was gathered, whatever its outcome."""

    def on_done_other(self, job: Job[Any]) -> None:
        """A job that another client of the same search finished was seen."""

    def on_gather(self, local_jobs: list[Job[Any]], other_jobs: list[Job[Any]]) -> None:
        """Jobs were gathered: those of this evaluator, and those of other clients."""

    def on_close(self) -> None:
        """The evaluator is closed; no hook is called after this one."""


def implements(callback: Any, hook: str) -> bool:
    """Does this hook of a callback do anything? It may be of the class's own or of the object's."""
    found = getattr(callback, hook, None)
    return callable(found) and getattr(found, "__func__", None) is not getattr(Callback, hook)


def stops_search(callbacks: Iterable[Any]) -> bool:
    """Does one of them ask for the end of the search?"""
    return any(getattr(callback, "search_stopped", False) for callback in callbacks)
