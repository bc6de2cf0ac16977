"""`Comparison`: the results of all cells, and what they say about the searches.

Regret is the distance to the best objective that is known of a benchmark: that of its ``metadata["best"]``, or the best
that any cell found, if that is better or the benchmark knows none. Normalised regret is regret divided by the distance
between that and the worst: 0 is the best that is known, 1 the worst. It is what may be averaged over benchmarks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from evalpool._checks import is_number
from evalpool.benchmarks._compare._cells import NOTHING_HAPPENS, Cell, Conditions, Limits, reason_of, seed_from
from evalpool.benchmarks._compare._ranks import (
    CriticalDifference,
    PerformanceProfile,
    critical_difference,
    mean_costs,
    mean_ranks,
    performance_profile,
)
from evalpool.errors import BadArgument, MissingExtra

__all__ = ["Comparison"]

BLOCKS = ("benchmarks", "runs")
OVER = ("time", "evaluations")


class Comparison:
    """What `compare` returns.

    Attributes:
        searches, benchmarks: their names, in the order in which they were given.
        workers, seeds: those of the cells.
        limits: what ended each cell.
        conditions: what happened to workers and evaluations in each: ``worker_model``, ``retries``, ``stopper``.
        cells: those with a result, in the order of benchmarks, searches, workers, seeds.
        errors: cell -> why it has no result: it raised, or each of its evaluations failed.
        missing: cells that another program evaluates at this moment; call `compare` again for them.
        bounds: benchmark -> the best and the worst objective that are known, larger is better.
    """

    def __init__(
        self,
        searches: Sequence[str],
        benchmarks: Sequence[str],
        workers: Sequence[int],
        seeds: Sequence[int],
        limits: Limits,
        outcomes: Mapping[Cell, Mapping[str, Any]],
        errors: Mapping[Cell, str],
        missing: Iterable[Cell] = (),
        conditions: Conditions = NOTHING_HAPPENS,
    ) -> None:
        self.searches, self.benchmarks = list(searches), list(benchmarks)
        self.workers, self.seeds = list(workers), list(seeds)
        self.limits, self.conditions = limits, conditions
        self._outcomes = dict(outcomes)
        reasons = {cell: reason_of(outcome) for cell, outcome in self._outcomes.items()}
        self.cells = [cell for cell, reason in reasons.items() if reason is None]
        self._ranked = frozenset(self.cells)
        self.errors = {**{cell: reason for cell, reason in reasons.items() if reason is not None}, **errors}
        self.missing = list(missing)
        self.bounds = {benchmark: self._bounds_of(benchmark) for benchmark in self.benchmarks}

    def _bounds_of(self, benchmark: str) -> tuple[float, float]:
        own = [outcome for cell, outcome in self._outcomes.items() if cell.benchmark == benchmark]
        best = [outcome["best"][-1] for outcome in own if outcome["best"]]
        worst = [outcome["worst"] for outcome in own if outcome["worst"] is not None]
        known = own[0]["bounds"] if own else [None, None]
        best += [known[0]] if known[0] is not None else []
        worst += [known[1]] if known[1] is not None else []
        return max(best, default=math.nan), min(worst, default=math.nan)

    def digest(self, cell: Cell) -> str:
        """The digest of a cell's schedule and objectives: the same on every backend and in every order."""
        return str(self._outcome(cell)["digest"])

    def trajectory(self, cell: Cell) -> dict[str, list[float]]:
        """The improvements of a cell, in the order of time.

        Returns:
            ``time`` (virtual seconds), ``evaluations`` (how many had ended), ``best`` (the objective, larger is
            better), ``regret``, ``normalised_regret``.
        """
        outcome = self._outcome(cell)
        found = {name: list(outcome[name]) for name in ("time", "evaluations", "best")}
        found["regret"] = [self.bounds[cell.benchmark][0] - value for value in found["best"]]
        found["normalised_regret"] = [self._normalised(cell.benchmark, value) for value in found["regret"]]
        return found

    def _outcome(self, cell: Cell) -> Mapping[str, Any]:
        try:
            return self._outcomes[cell]
        except KeyError:
            raise BadArgument(
                f"There is no result of {cell}; {self.errors.get(cell, 'the comparison lacks it.')}"
            ) from None

    def _normalised(self, benchmark: str, regret: float) -> float:
        best, worst = self.bounds[benchmark]
        return regret / (best - worst) if best > worst else 0.0

    def final(self, cell: Cell) -> float:
        """The normalised regret at the end of a cell: 0 to 1; 1 if none of its evaluations counts."""
        return self.trajectory(cell)["normalised_regret"][-1] if self._outcome(cell)["best"] else 1.0

    # Tables.

    COLUMNS = (*Cell._fields, "evaluations", "failures", "first_failure", "stopped_early", "retried", "makespan",
               "utilisation", "best", "regret", "normalised_regret", "digest", "error")  # fmt: skip
    """Of `rows` and `to_dataframe`."""

    def rows(self) -> list[dict[str, Any]]:
        """Return a dict per cell with the names in `COLUMNS`; one that failed has those of the cell, and its error.

        One whose evaluations all failed has the others, too, as far as they are known.
        """
        rows: list[dict[str, Any]] = []
        for cell, outcome in self._outcomes.items():
            found = self.trajectory(cell)
            rows.append(
                {
                    **cell._asdict(),
                    "evaluations": outcome["count"],
                    "failures": outcome["failures"],
                    "first_failure": outcome["first_failure"],
                    "stopped_early": outcome["stopped_early"],
                    "retried": outcome["retried"],
                    "makespan": outcome["makespan"],
                    "utilisation": outcome["utilisation"],
                    "best": found["best"][-1] if found["best"] else math.nan,
                    "regret": found["regret"][-1] if found["best"] else math.nan,
                    "normalised_regret": math.nan if cell in self.errors else self.final(cell),
                    "digest": outcome["digest"],
                    "error": self.errors.get(cell),
                }
            )
        raised = [(cell, error) for cell, error in self.errors.items() if cell not in self._outcomes]
        return rows + [{**cell._asdict(), "error": error} for cell, error in raised]

    def to_dataframe(self) -> Any:
        """Return a `pandas.DataFrame` with a row per cell, also of those that failed.

        Columns: search, benchmark, workers, seed; evaluations and failures, how many; first_failure; stopped_early, how
        many evaluations a stopper ended; retried, how many attempts were run again; makespan, virtual seconds;
        utilisation, 0 to 1, without attempts that were run again; best, larger is better; regret; normalised_regret;
        digest; error, why there is no result.

        Raises:
            MissingExtra: pandas is not installed.
        """
        return _frame(self.rows(), list(self.COLUMNS))

    def trajectories(self) -> Any:
        """Return a `pandas.DataFrame` with a row per improvement of each cell: the cell, and columns of `trajectory`.

        This is regret over virtual time and over evaluations. Raises `MissingExtra` without pandas.
        """
        columns = ("time", "evaluations", "best", "regret", "normalised_regret")
        rows = []
        for cell in self.cells:
            found = self.trajectory(cell)
            for values in zip(*(found[name] for name in columns), strict=True):
                rows.append({**cell._asdict(), **dict(zip(columns, values, strict=True))})
        return _frame(rows, [*Cell._fields, *columns])

    def summary(self, confidence: float = 0.95) -> Any:
        """Return a `pandas.DataFrame` with a row per number of workers and search.

        Columns: workers, search; rank, the average rank over benchmarks (1 is the best), with rank_low and rank_high,
        the ends of its confidence interval under other seeds; normalised_regret, the mean over benchmarks of the mean
        over seeds; utilisation, the mean; benchmarks, how many were ranked: those on which every search has a result
        for a common seed; failed, how many cells have no result.

        Raises:
            BadArgument: `confidence` is not from 0 to 1.
            MissingExtra: pandas is not installed.
        """
        columns = ["workers", "search", "rank", "rank_low", "rank_high", "normalised_regret", "utilisation",
                   "benchmarks", "failed"]  # fmt: skip
        return _frame(self.summary_rows(confidence), columns)

    def summary_rows(self, confidence: float = 0.95) -> list[dict[str, Any]]:
        """Return the rows of `summary` as dicts, which need no pandas."""
        if not is_number(confidence) or not 0 <= confidence <= 1:
            raise BadArgument(f"confidence is {confidence!r}; give a share from 0 to 1, as 0.95.")
        return [row for workers in self.workers for row in self._summary(workers, confidence)]

    def _summary(self, workers: int, confidence: float) -> list[dict[str, Any]]:
        runs = list(self._runs(workers).values())
        nothing = np.full(len(self.searches), math.nan)
        rank = low = high = regret = nothing
        if runs:
            rank, low, high = mean_ranks(runs, confidence=confidence, seed=seed_from("ranks", workers))
            regret = np.mean([mean_costs(costs) for costs in runs], axis=0)
        rows = []
        for place, search in enumerate(self.searches):
            own = [cell for cell in self.cells if (cell.search, cell.workers) == (search, workers)]
            busy = [self._outcomes[cell]["utilisation"] for cell in own]
            rows.append(
                {
                    "workers": workers,
                    "search": search,
                    "rank": float(rank[place]),
                    "rank_low": float(low[place]),
                    "rank_high": float(high[place]),
                    "normalised_regret": float(regret[place]),
                    "utilisation": math.fsum(busy) / len(busy) if busy else math.nan,
                    "benchmarks": len(runs),
                    "failed": sum((cell.search, cell.workers) == (search, workers) for cell in self.errors),
                }
            )
        return rows

    def _runs(self, workers: int) -> dict[str, Any]:
        """Benchmark -> float array (n seeds, n searches) of final normalised regrets, of the seeds that all have."""
        found = {}
        for benchmark in self.benchmarks:
            costs = []
            for seed in self.seeds:
                cells = [Cell(search, benchmark, workers, seed) for search in self.searches]
                if self._ranked.issuperset(cells):
                    costs.append([self.final(cell) for cell in cells])
            if costs:
                found[benchmark] = np.array(costs)
        return found

    # Statistics.

    def critical_difference(
        self, workers: int | None = None, *, alpha: float = 0.05, blocks: str = "benchmarks"
    ) -> CriticalDifference:
        """Say which searches differ, by Friedman's test and Nemenyi's critical difference (Demšar 2006, 3.2.2).

        Args:
            workers: of the cells that are compared; None if there is only one number of workers.
            alpha: the level, 0.05 or 0.1.
            blocks: what is ranked: ``"benchmarks"``, the means over their seeds, as Demšar does with data sets; or
                ``"runs"``, each seed of each benchmark. Runs on one benchmark are alike, so the distance is then too
                small for a statement about other benchmarks.

        Raises:
            BadArgument: an argument is unknown, or there are fewer than two searches or blocks with results of all.
        """
        if blocks not in BLOCKS:
            raise BadArgument(f"blocks is {blocks!r}; give one of {', '.join(map(repr, BLOCKS))}.")
        runs = list(self._runs(self.check_workers(workers)).values())
        parts = [costs if blocks == "runs" else mean_costs(costs)[None] for costs in runs]
        costs = np.concatenate(parts) if parts else np.empty((0, len(self.searches)))
        return critical_difference(self.searches, costs, alpha)

    def performance_profile(
        self, workers: int | None = None, *, target: float = 0.05, over: str = "time"
    ) -> PerformanceProfile:
        """Say how often each search is within how many times the cost of the fastest (Dolan and Moré 2002).

        A problem is a benchmark with a seed. It is solved at the first evaluation whose normalised regret is at most
        `target` (Moré and Wild 2009, 2.2).

        Args:
            workers: as for `critical_difference`.
            target: normalised regret, 0 to 1.
            over: ``"time"``: the cost is virtual seconds; ``"evaluations"``: how many had ended.

        Raises:
            BadArgument: an argument has a wrong value.
        """
        if over not in OVER:
            raise BadArgument(f"over is {over!r}; give one of {', '.join(map(repr, OVER))}.")
        if not is_number(target) or not 0 <= target <= 1:
            raise BadArgument(f"target is {target!r}; give a normalised regret from 0 to 1.")
        workers = self.check_workers(workers)
        costs = []
        for benchmark in self.benchmarks:
            for seed in self.seeds:
                cells = [Cell(search, benchmark, workers, seed) for search in self.searches]
                if self._ranked.issuperset(cells):
                    costs.append([self._cost(cell, target, over) for cell in cells])
        return performance_profile(self.searches, costs)

    def _cost(self, cell: Cell, target: float, over: str) -> float:
        found = self.trajectory(cell)
        pairs = zip(found[over], found["normalised_regret"], strict=True)
        return next((float(cost) for cost, regret in pairs if regret <= target), math.inf)

    def check_workers(self, workers: int | None) -> int:
        """Return a number of workers of the comparison; the only one, if None is given. Raises `BadArgument`."""
        if workers is None and len(self.workers) == 1:
            return self.workers[0]
        if workers not in self.workers:
            raise BadArgument(f"workers is {workers!r}; give one of {', '.join(map(str, self.workers))}.")
        return workers

    def __repr__(self) -> str:
        errors = f", {len(self.errors)} failed" if self.errors else ""
        missing = f", {len(self.missing)} missing" if self.missing else ""
        return (
            f"<Comparison of {len(self.searches)} searches on {len(self.benchmarks)} benchmarks: "
            f"{len(self.cells)} cells{errors}{missing}>"
        )


def _frame(rows: list[dict[str, Any]], columns: list[str]) -> Any:
    try:
        import pandas
    except ImportError as error:
        raise MissingExtra.of("Data frames need pandas", "pandas") from error
    return pandas.DataFrame(rows, columns=columns)
