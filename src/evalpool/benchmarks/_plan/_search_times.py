"""How long a search takes to propose and to learn, as a function of how many results it knows: declared or measured."""

from __future__ import annotations

import bisect
import dataclasses
import math
import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from evalpool._checks import check_number, check_real
from evalpool._clock import perf_counter
from evalpool.search._asktell import Asked, AskTell
from evalpool.simulation._seconds import check_runtime
from evalpool.simulation._simulate import simulate

if TYPE_CHECKING:
    from evalpool.jobs._job import Job

__all__ = ["Cost", "MeasuredCost", "SearchTimes", "cost_of"]

Cost: TypeAlias = "float | Callable[[int], float]"
"""Seconds, or a function that gives them from the number of results that the search knows."""

BINS = 20
STEEPEST = 3.0
"""The highest power by which measured times may grow beyond what was measured: that of a Gaussian process."""


@dataclasses.dataclass(frozen=True)
class SearchTimes:
    """The time that a search takes for its decisions, in seconds.

    >>> times = SearchTimes(ask=lambda results: 0.01 + 1e-4 * results, tell=0.001)
    >>> times.tell
    0.001

    Args:
        ask: of one proposal: a number, or a function of the number of results that the search knows.
        tell: of learning one result, in the same form.
        ask_more: of each further proposal of the same batch, in the same form; None: as long as the first.
        runtimes: seconds of the evaluations with which it was measured, which `plan` takes if it is given no others.

    Raises:
        BadArgument: a number is below 0 or not finite, or something else is given.
    """

    ask: Cost = 0.0
    tell: Cost = 0.0
    ask_more: Cost | None = None
    runtimes: tuple[float, ...] = dataclasses.field(default=(), repr=False)

    def __post_init__(self) -> None:
        for name in ("ask", "tell", "ask_more"):
            value = getattr(self, name)
            if not callable(value) and (name, value) != ("ask_more", None):
                object.__setattr__(self, name, check_real(f"{name} of a search", value, least=0.0))

    @classmethod
    def measured(cls, optimizer: Any, run_function: Callable[..., Any], results: int = 200) -> SearchTimes:
        """Measure a search on this machine: it is asked and told this many times, one evaluation after the other.

        The evaluations run in this thread and are not counted, so take a benchmark or a function that is quick. Times
        vary with the load of the machine. Between measured numbers of results they are interpolated; beyond the last,
        they go on as the power of the number of results by which they grew in the second half.

        Args:
            optimizer: a new one, with `ask` and `tell` as for `optimize`.
            run_function: as for `simulate`; a runtime is not needed. Those that it declares are kept as `runtimes`: a
                search that proposes low fidelities, or small networks, has shorter ones than configurations at random.
            results: how many are told.

        Raises:
            BadArgument: an argument has a wrong type or value.
        """
        check_number("results", results, 1)
        timed, runtimes = _Timed(optimizer), []

        def one_second(job: Job[Any], output: Any) -> float:
            declared = check_runtime((output or {}).get("runtime", job.metadata.get("runtime")))
            if not isinstance(declared, str):
                runtimes.append(declared)
            return 1.0

        simulate(timed, run_function, max_evals=results, runtime=one_second)
        return cls(MeasuredCost(timed.asks), MeasuredCost(timed.tells), runtimes=tuple(runtimes))


def cost_of(name: str, cost: Cost) -> Callable[[int], float]:
    """Return a cost as a function, which raises `BadArgument` if a function of the user gives no seconds.

    Args:
        name: of the cost, for the message: ``"ask"``.
        cost: as in `SearchTimes`.
    """
    if isinstance(cost, MeasuredCost):
        return cost
    if not callable(cost):
        return lambda results: cost
    function = cost

    def checked(results: int) -> float:
        seconds = function(results)
        if type(seconds) is float and 0.0 <= seconds < math.inf:
            return seconds
        return check_real(f"{name} of a search that knows {results} results", seconds, least=0.0)

    return checked


class MeasuredCost:
    """A cost that was measured once for each number of results, from 0 on.

    Attributes:
        measured: for how many numbers of results; beyond it is extrapolated.
        power: by which it grows beyond.
    """

    def __init__(self, seconds: list[float]) -> None:
        self.measured = len(seconds)
        # The first is alone: it often pays for imports and first allocations, which come once.
        size = max(1, math.ceil((len(seconds) - 1) / BINS))
        bins = [(0, 1), *((at, min(at + size, len(seconds))) for at in range(1, len(seconds), size))]
        self._at = [(first + last - 1) / 2 for first, last in bins]
        self._seconds = [statistics.fmean(seconds[first:last]) for first, last in bins]
        self.power = _growth(seconds)
        quarter = seconds[-max(1, len(seconds) // 4) :]
        self._end, self._last = len(seconds) - (len(quarter) + 1) / 2, statistics.fmean(quarter)

    def __call__(self, results: int) -> float:
        after = bisect.bisect_right(self._at, results)
        if after == len(self._at):
            if self._end <= 0.0 or results < self.measured:
                return self._seconds[-1]
            return self._last * math.pow(results / self._end, self.power)
        share = (results - self._at[after - 1]) / (self._at[after] - self._at[after - 1])
        return (1.0 - share) * self._seconds[after - 1] + share * self._seconds[after]

    def __repr__(self) -> str:
        first, last = self._seconds[0], self._seconds[-1]
        return f"<MeasuredCost {first:.2g} s to {last:.2g} s over {self.measured} results>"


def _growth(seconds: list[float]) -> float:
    """The power of the number of results by which the times grew from the third quarter to the last."""
    quarter = len(seconds) // 4
    if quarter < 2:
        return 0.0
    third, last = statistics.median(seconds[-2 * quarter : -quarter]), statistics.median(seconds[-quarter:])
    if third <= 0.0 or last <= third:
        return 0.0
    middle = len(seconds) - (quarter + 1) / 2
    return min(STEEPEST, math.log(last / third) / math.log(middle / (middle - quarter)))


class _Timed:
    """An optimiser of which at most one proposal is evaluated at a time, and the seconds of its calls."""

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = AskTell(optimizer)
        self._asked: Asked | None = None
        self.asks: list[float] = []
        self.tells: list[float] = []

    def ask(self) -> dict[str, Any]:
        began = perf_counter()
        self._asked = self._optimizer.ask()
        self.asks.append(perf_counter() - began)
        return self._asked.configuration

    def tell(self, job: Job[Any]) -> None:
        began = perf_counter()
        self._optimizer.tell(job, self._asked)
        self.tells.append(perf_counter() - began)
