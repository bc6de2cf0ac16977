"""One cell of a comparison: a search on a benchmark with some workers and a seed, run in simulated time.

    {"search": "tpe", "benchmark": "digits", "workers": 64, "seed": 3}     the configuration of a job
        --CellRunner, in a worker: make the search, simulate, keep the improvements-->
    {"time": [...], "evaluations": [...], "best": [...], "digest": ...}    its output

All seeds derive from the names in the cell. So a cell has the same result in any order, on any backend, in any
comparison that has it, and a comparison can be continued with further cells.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from evalpool._json import to_json
from evalpool._text import shown
from evalpool.benchmarks._benchmark import Benchmark
from evalpool.benchmarks._ended import Ended, is_full
from evalpool.benchmarks._searches import Once, make_search
from evalpool.benchmarks._stoppers import check_curves, make_stopper
from evalpool.benchmarks._suites import load
from evalpool.errors import BadArgument
from evalpool.simulation._result import SimulationResult
from evalpool.simulation._simulate import simulate
from evalpool.simulation._worker_model import WorkerModel

__all__ = [
    "NOTHING_HAPPENS",
    "Cell",
    "CellRunner",
    "Conditions",
    "Ended",
    "Limits",
    "check_benchmark",
    "outcome_of",
    "reason_of",
    "seed_from",
]


class Cell(NamedTuple):
    """What identifies one run: names, the number of virtual workers, and the seed."""

    search: str
    benchmark: str
    workers: int
    seed: int

    def __str__(self) -> str:
        return f"{self.search} on {self.benchmark}, {self.workers} workers, seed {self.seed}"


class Limits(NamedTuple):
    """What ends each run, and what a decision costs.

    Attributes:
        budget: evaluations; None for no limit.
        max_time: virtual seconds; None for no limit.
        overhead: virtual seconds of each decision of the search.
    """

    budget: int | None
    max_time: float | None
    overhead: float


class Conditions(NamedTuple):
    """What happens to the virtual workers and the evaluations of each cell.

    Attributes:
        worker_model: how workers start, crash and are taken away; None: they never fail.
        retries: how often an evaluation is run again that raised, or whose worker was lost.
        stopper: what ends evaluations early: a name, or what makes it for a benchmark; None if nothing does.
    """

    worker_model: WorkerModel | None = None
    retries: int = 0
    stopper: Any = None

    def texts(self) -> dict[str, Any]:
        """The same as JSON, so that two of them can be compared; a function by its name."""
        model = self.worker_model
        return {
            "worker_model": None if model is None else repr(model),
            "retries": self.retries,
            "stopper": None if self.stopper is None else identity_of(self.stopper),
        }


NOTHING_HAPPENS = Conditions()


def identity_of(given: Any) -> str:
    """What stands for something in a text: a name itself; of a benchmark or a function its name."""
    if isinstance(given, str):
        return given
    if isinstance(given, Benchmark):
        return f"benchmark {given.name}"
    return f"{getattr(given, '__module__', '')}.{getattr(given, '__qualname__', type(given).__qualname__)}"


def seed_from(*names: str | int) -> int:
    """A seed of 31 bits, which every package takes, from names alone; the same on every machine."""
    return int.from_bytes(hashlib.blake2b(to_json(list(names)).encode(), digest_size=4).digest(), "big") >> 1


def check_benchmark(label: str, benchmark: Benchmark, conditions: Conditions) -> Benchmark:
    """Return the benchmark, which must have one objective and runtimes; for a stopper, learning curves, too.

    Raises:
        BadArgument: it has not.
    """
    if len(benchmark.objectives) != 1:
        raise BadArgument(
            f"The benchmark {label!r} has {len(benchmark.objectives)} objectives, {', '.join(benchmark.objectives)}; "
            "regret needs one."
        )
    if not benchmark.has_runtimes:
        raise BadArgument(
            f"The benchmark {label!r} has no runtimes, and a comparison runs in simulated time: give it some, "
            "benchmark.with_runtime(RuntimeModel.lognormal(600.0, 0.5)); in a file for `evalpool compare`, "
            'runtime = "600,0.5".'
        )
    if conditions.stopper is not None:
        check_curves(label, benchmark)
    return benchmark


class CellRunner:
    """The run-function of a comparison.

    Args:
        searches: label -> the name of a search, or what makes it.
        benchmarks: label -> the name of a benchmark, or a benchmark.
        limits, conditions: of each cell.
    """

    def __init__(
        self,
        searches: Mapping[str, Any],
        benchmarks: Mapping[str, Any],
        limits: Limits,
        conditions: Conditions = NOTHING_HAPPENS,
    ) -> None:
        self._searches, self._benchmarks = dict(searches), dict(benchmarks)
        self._limits, self._conditions = limits, conditions
        self._held: tuple[str, Benchmark] | None = None
        self._once = Once()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_held": None, "_once": Once()}  # a worker reads its own

    def _benchmark(self, label: str) -> Benchmark:
        """The benchmark of a label. A table takes seconds to read, and the cells of one follow each other."""
        given, held = self._benchmarks[label], self._held
        if not isinstance(given, str):
            return check_benchmark(label, given, self._conditions)
        if held is None or held[0] != label:
            self._held = held = label, check_benchmark(label, load(given), self._conditions)
        return held[1]

    def __call__(self, job: Any) -> dict[str, Any]:
        cell = Cell(job["search"], job["benchmark"], job["workers"], job["seed"])
        benchmark = self._benchmark(cell.benchmark)
        limits = self._limits
        # The same seed with other workers, and the same jobs for other searches: differences are those of the cells.
        optimizer, settings = make_search(
            cell.search,
            self._searches[cell.search],
            benchmark,
            seed_from("search", cell.search, cell.benchmark, cell.seed),
            num_workers=cell.workers,
            max_evals=limits.budget,
        )
        how = self._conditions
        arguments = {
            "overhead": limits.overhead,
            "worker_model": how.worker_model,
            "retries": how.retries,
            "stopper": make_stopper(how.stopper, cell.benchmark, benchmark),
            **settings,
        }
        self._once.check(cell.search, optimizer, arguments["stopper"])
        ended = None
        if arguments["worker_model"] is not None or arguments["retries"] != 0 or arguments["stopper"] is not None:
            ended = Ended(tells_failures=True)  # each cell would log the first, and the comparison counts them
            arguments["callbacks"] = [ended, *(settings.get("callbacks") or ())]
        result = simulate(
            optimizer,
            benchmark,
            num_workers=cell.workers,
            max_evals=limits.budget,
            max_time=limits.max_time,
            seed=seed_from("jobs", cell.benchmark, cell.seed),
            **arguments,
        )
        return outcome_of(result, benchmark, cell.workers, ended)


def outcome_of(
    result: SimulationResult, benchmark: Benchmark, workers: int, ended: Ended | None = None
) -> dict[str, Any]:
    """What is kept of a run: a few numbers for each improvement, and one for the whole.

    Only evaluations at the highest fidelity that no stopper ended can be the best; all of them count as evaluations.

    Returns:
        ``time`` (virtual seconds), ``evaluations`` (how many had ended) and ``best`` (the objective, larger is
        better) at each improvement; ``worst``, of all that count, or None; ``count``, of the evaluations; how many of
        these a stopper ended, ``stopped_early``; ``retried``, further attempts that they had; ``failures``, the text of
        the ``first_failure``, and its error, ``first_error``, or None; ``makespan``; ``utilisation``, the busy time of
        the workers until the makespan divided by workers and makespan; ``bounds``, best and worst as the benchmark
        knows them; ``digest``, of the schedule and all objectives.
    """
    outcome: dict[str, Any] = {"time": [], "evaluations": [], "best": []}
    best, worst = -math.inf, math.inf
    failures: list[str] = []
    hashed = hashlib.blake2b(result.trace_digest().encode(), digest_size=16)
    told = list(zip(result.completions, result.objectives, strict=True))
    for row, objective in told:
        number = objective if isinstance(objective, str) else _number(objective, row["job"])
        hashed.update(f"{row['job']} {number!r}\n".encode())
    early: set[int] = set() if ended is None else ended.early
    numbers = [row["job"] for row, _ in told]
    told.sort(key=lambda pair: pair[0]["end"])  # synchronous batches are told in another order
    for count, (row, objective) in enumerate(told, 1):
        if isinstance(objective, str):
            failures.append(objective)
            continue
        if not is_full(row["job"], result, benchmark, early):
            continue
        value = float(objective)
        worst = min(worst, value)
        if value > best:
            best = value
            for name, one in (("time", row["end"]), ("evaluations", count), ("best", best)):
                outcome[name].append(one)
    span = result.makespan
    known = [benchmark.metadata.get(name) for name in ("best", "worst")]
    return {
        **outcome,
        "worst": None if math.isinf(worst) else worst,
        "count": len(told),
        "stopped_early": sum(number in early for number in numbers),
        "retried": 0 if ended is None else sum(ended.attempts[number] - 1 for number in numbers),
        "failures": len(failures),
        "first_failure": failures[0] if failures else None,
        "first_error": result.first_error,
        "makespan": span,
        "utilisation": min(1.0, result.busy_time / (workers * span)) if span > 0 else 0.0,  # sums are rounded
        "bounds": [None if one is None else float(one) for one in known],
        "digest": hashed.hexdigest(),
    }


def reason_of(outcome: Mapping[str, Any]) -> str | None:
    """Why a run has no result: every evaluation failed. None if it has one, or if its time was too short for any."""
    count = outcome["count"]
    if count == 0 or outcome["failures"] < count:
        return None
    first = outcome.get("first_error") or outcome["first_failure"]  # a cell of an older version has no error
    return f"its only evaluation failed: {first}" if count == 1 else f"all {count} evaluations failed, first: {first}"


def _number(objective: Any, job: int) -> float:
    try:
        return float(objective)
    except (TypeError, OverflowError):
        raise BadArgument(
            f"The objective of evaluation {job} is {shown(objective)} of type {type(objective).__name__}; regret needs "
            "one number that a float can hold."
        ) from None
