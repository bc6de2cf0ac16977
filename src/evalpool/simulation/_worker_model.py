"""What happens to virtual workers, as a program declares it: they start, they crash, they are taken away.

::

    worker-0  start_delay |job 0--|job 1--|jo x start_delay |job 1, next attempt|
                                             a crash

    worker-1  start_delay |job 2-----------|j x away          start_delay |job 3|
                          preempted_after-----> taken away

A worker *lives* from its start until it crashes or is taken away, and then it starts again: its next life.
"""

from __future__ import annotations

from typing import Any

from evalpool._checks import check_number, is_real
from evalpool.errors import BadArgument
from evalpool.jobs._draws import uniform
from evalpool.simulation._distribution import Distribution, distribution

__all__ = ["WorkerModel", "check_worker_model"]


class WorkerModel:
    """How virtual workers start and fail, for `simulate` and `simulated`. Without it they are there from 0 on for ever.

    An attempt whose worker crashes or is taken away ends at that moment as ``F_worker_died``, as in real time, and is
    retried as the evaluator's `retries` say. An attempt that ends at the very moment at which its worker is taken away
    has ended.

    >>> spot = WorkerModel(
    ...     start_delay=Distribution.lognormal(40.0, 0.3, seed=1),
    ...     crash=0.01,
    ...     preempted_after=Distribution.exponential(3600.0, seed=2),
    ...     away=600.0,
    ... )
    >>> spot.start_delay.draw("start_delay", 0, 0) > 0
    True

    Args:
        start_delay: virtual seconds until a worker is there, at the beginning and after each crash or absence: a
            `Distribution`, or a number. None: no time.
        crash: the probability that an attempt crashes its worker. It then does so at any moment of its runtime, all
            equally likely.
        crash_seed: other seeds give other crashes. What crashes is the attempt of a job, whichever worker runs it.
        preempted_after: virtual seconds for which a worker is there until it is taken away, idle or not. None: it
            never is.
        away: virtual seconds until it is given back, and starts. None: no time.

    Raises:
        BadArgument: an argument has a wrong type or value.
    """

    __slots__ = ("away", "crash", "crash_seed", "preempted_after", "start_delay")

    def __init__(
        self,
        *,
        start_delay: Distribution | float | None = None,
        crash: float = 0.0,
        crash_seed: int = 0,
        preempted_after: Distribution | float | None = None,
        away: Distribution | float | None = None,
    ) -> None:
        if not is_real(crash) or not 0.0 <= crash <= 1.0:
            raise BadArgument(f"crash is {crash!r}; give the probability that an attempt crashes, from 0.0 to 1.0.")
        self.crash = float(crash)
        self.crash_seed = check_number("crash_seed", crash_seed, 0)
        self.start_delay = distribution("start_delay", start_delay)
        self.preempted_after = distribution("preempted_after", preempted_after)
        self.away = distribution("away", away)
        if self.preempted_after is None and away is not None:
            raise BadArgument(
                f"away is {away!r}, and preempted_after is None, so no worker is taken away: give both, or neither."
            )
        if self.preempted_after is not None and self.preempted_after.may_be_zero:
            raise BadArgument(
                f"preempted_after is {preempted_after!r}; a worker that is taken away after 0 s runs nothing. Give "
                "more than 0 seconds, in the unit of the runtimes."
            )

    def crashes_at(self, job: int, attempt: int) -> float | None:
        """Return the share of its runtime, above 0 and below 1, after which an attempt crashes; None if it does not.

        Args:
            job: its number.
            attempt: from 0.
        """
        if not self.crash:
            return None
        drawn = uniform(repr((self.crash_seed, "crash", job, attempt)))
        return drawn / self.crash if drawn < self.crash else None

    def state(self) -> dict[str, Any]:
        """The arguments, as JSON."""
        parts = {name: getattr(self, name) for name in ("start_delay", "preempted_after", "away")}
        return {
            "crash": self.crash,
            "crash_seed": self.crash_seed,
            **{name: part and [part.shape, list(part.values), part.seed] for name, part in parts.items()},
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> WorkerModel:
        """Make a model from a `state`."""
        arguments: dict[str, Any] = {
            name: Distribution(value[0], tuple(value[1]), value[2]) if isinstance(value, list) else value
            for name, value in state.items()
        }
        return cls(**arguments)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WorkerModel) and self.state() == other.state()

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        given = {
            name: getattr(self, name) for name in ("start_delay", "crash", "crash_seed", "preempted_after", "away")
        }
        return f"WorkerModel({', '.join(f'{name}={value!r}' for name, value in given.items() if value)})"


def check_worker_model(value: Any) -> WorkerModel | None:
    """Check the argument ``worker_model`` of `simulate` and `simulated`."""
    if value is None or isinstance(value, WorkerModel):
        return value
    raise BadArgument(
        f"worker_model is {value!r} of type {type(value).__name__}; give WorkerModel(start_delay=30.0, crash=0.01), or "
        "None for workers that never fail."
    )
