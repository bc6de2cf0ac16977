"""What a coordinator knows of a caller of a simulated objective, and of each of its calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evalpool._clock import unix_time
from evalpool._json import to_json
from evalpool.errors import SimulationError
from evalpool.simulation._files import completion
from evalpool.simulation._kernel import NOTHING, Kernel
from evalpool.simulation._run import Begun, Joined, Over, Released, Result, RunSettings

__all__ = ["Call", "Caller", "Reply", "again", "failure_text", "ignore"]

Reply = Joined | Begun | Released | Over | SimulationError


def ignore() -> None:
    """Do nothing: for callers that need no notice."""


class Caller:
    """A connected caller.

    Args:
        name: for messages: ``"process 123, thread MainThread"``.
        deliver: takes the reply to its call, or a notice that the run has ended; called under the coordinator's
            lock, so it must not block.
        wake: makes the caller look at the coordinator's `deadline` again.
    """

    __slots__ = ("deliver", "job", "name", "seed", "thinks_since", "wake", "worker")

    def __init__(self, name: str, deliver: Callable[[Reply], None], wake: Callable[[], None] = ignore) -> None:
        self.name = name
        self.deliver = deliver
        self.wake = wake
        self.worker = -1
        self.job: int = NOTHING  # the number of its current job; NOTHING when the run is over for it
        self.seed = 0  # of that job
        self.thinks_since = 0.0  # when its decision began, by the monotonic clock


class Call:
    """One evaluation, from its announcement, or else from its result, until it is released."""

    __slots__ = ("after", "before", "caller", "key", "overhead", "result", "resumed", "seed", "waits_since", "wall")

    def __init__(self, caller: Caller | None, overhead: float, wall: float, seed: int) -> None:
        self.caller = caller  # None if it has died
        self.overhead = overhead
        self.wall = wall
        self.seed = seed
        self.before = self.after = 0.0  # begin and end of its decision, in virtual time
        self.key: tuple[str, int] | None = None  # configuration and fidelity, with continuation only
        self.resumed: int | None = None  # the job whose checkpoint it continues
        self.result: Result | None = None
        self.waits_since: float | None = None  # since when it waits for a reply, by the monotonic clock

    def line(self, job: int, kernel: Kernel, settings: RunSettings, started: float) -> bytes:
        """Return the line of the log for its completion, of a run that began at `started`, in seconds of real time."""
        result, limit = self.result, settings.continual_max_fidel
        assert result is not None
        leaves = self.key is not None and limit is not None and self.key[1] < limit and not result.failed
        return completion(
            job=job,
            worker=kernel.worker_of(job),
            before=self.before,
            after=self.after,
            end=kernel.end_of(job),
            charged=kernel.charged(job),
            wall=self.wall,
            seed=self.seed,
            failed=result.failed,
            text=result.text,
            actual=unix_time() - started if settings.store_actual_cumtime else None,
            resumed=self.resumed,
            left=(*self.key, result.runtime) if leaves and self.key is not None else None,
        )

    def not_reported(self, job: int, worker: int) -> dict[str, Any]:
        """Return what the log keeps of it if the run ends before it does."""
        return {"job": job, "worker": worker, "before": self.before, "after": self.after, "resumed": self.resumed}


def again(error: SimulationError) -> SimulationError:
    """Return a copy: each thread must raise an exception object of its own."""
    return type(error)(*error.args)


def failure_text(objective: str, error: str) -> bytes:
    """Return the part of a failure's record that follows the times."""
    return f'"values":{to_json(objective)},"error":{to_json(error)}'.encode()
