"""A caller of a simulated objective, and a call of it, as its coordinator sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evalpool._json import to_json
from evalpool.errors import SimulationError
from evalpool.simulation._files import completion
from evalpool.simulation._kernel import NOTHING
from evalpool.simulation._run import Begun, Joined, Over, Released, Result

__all__ = ["Call", "Caller", "Reply", "again", "failure_text", "ignore"]

Reply = Joined | Begun | Released | Over | SimulationError


def ignore() -> None:
    """For who need not be told."""


class Caller:
    """A caller, as long as it is connected.

    Args:
        name: for messages: ``"process 123, thread MainThread"``.
        deliver: takes the reply to its call, or a notice that the run has ended; called under the coordinator's
            lock, so it must not block.
        nudge: asks it to look at the coordinator's `deadline` again.
    """

    __slots__ = ("deliver", "job", "name", "nudge", "seed", "thinks_since", "worker")

    def __init__(self, name: str, deliver: Callable[[Reply], None], nudge: Callable[[], None] = ignore) -> None:
        self.name = name
        self.deliver = deliver
        self.nudge = nudge
        self.worker = -1
        self.job: int = NOTHING  # the number of its turn; NOTHING when the run is over for it
        self.seed = 0  # of that job
        self.thinks_since = 0.0  # on the monotonic clock


class Call:
    """One evaluation, from its announcement or its result to its release."""

    __slots__ = ("after", "before", "key", "member", "overhead", "result", "resumed", "seed", "waits_since", "wall")

    def __init__(self, member: Caller | None, overhead: float, wall: float, seed: int) -> None:
        self.member = member  # None: it has died
        self.overhead = overhead
        self.wall = wall
        self.seed = seed
        self.before = self.after = 0.0  # its decision, in virtual time
        self.key: tuple[str, int] | None = None  # configuration and fidelity, with continuation
        self.resumed: int | None = None  # the job whose checkpoint it continues
        self.result: Result | None = None
        self.waits_since: float | None = None  # for a reply, on the monotonic clock

    def line(
        self, job: int, *, worker: int, end: float, charged: float, limit: int | None, actual: float | None
    ) -> bytes:
        """The line of the log for its completion.

        Args:
            limit: the fidelity from which on nothing is continued; None without continuation.
            actual: seconds of real time since the start of the run, if they are kept.
        """
        result = self.result
        assert result is not None
        leaves = self.key is not None and limit is not None and self.key[1] < limit and not result.failed
        return completion(
            job=job,
            worker=worker,
            before=self.before,
            after=self.after,
            end=end,
            charged=charged,
            wall=self.wall,
            seed=self.seed,
            failed=result.failed,
            text=result.text,
            actual=actual,
            resumed=self.resumed,
            left=(*self.key, result.runtime) if leaves and self.key is not None else None,
        )

    def not_reported(self, job: int, worker: int) -> dict[str, Any]:
        """What the log keeps of it if the run is over before its end."""
        return {"job": job, "worker": worker, "before": self.before, "after": self.after, "resumed": self.resumed}


def again(error: SimulationError) -> SimulationError:
    """A copy, for an exception object belongs to the thread that raises it."""
    return type(error)(*error.args)


def failure_text(objective: str, error: str) -> bytes:
    """What stands in the record of a failure, beside its times."""
    return f'"values":{to_json(objective)},"error":{to_json(error)}'.encode()
