"""What `simulate` returns: the schedule, which results were told when, and how the search ended."""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Callable, Sequence, Set
from functools import cached_property
from typing import Any

from evalpool.errors import MissingExtra
from evalpool.outcomes import Outcome, last_line
from evalpool.simulation._trace import TraceRow, digest

__all__ = ["JobColumns", "SimulationResult"]


class JobColumns:
    """What a search keeps of each job besides the kernel's trace, as columns, so that a million jobs fit into memory.

    Attributes:
        configurations: by job, what the run-function saw.
        ask_start: by job, when the decision for it began.
        measured: by job, the real seconds that the decision took; in a batch, those of all its decisions.
        known: by job, how many results had been told when it was asked for.
        told: the jobs that were told, in that order.
        objectives: of the jobs in `told`.
        first_failure: the outcome of the first of these that failed; None if none did.
    """

    __slots__ = ("ask_start", "configurations", "first_failure", "known", "measured", "objectives", "told")

    def __init__(self) -> None:
        self.configurations: list[dict[str, Any]] = []
        self.ask_start = array("d")
        self.measured = array("d")
        self.known = array("q")
        self.told = array("q")
        self.objectives: list[Any] = []
        self.first_failure: Outcome | None = None


class SimulationResult:
    """A simulated search that has ended.

    Times are seconds of virtual time since the search began: sums of the runtimes and overheads that were given.

    Attributes:
        makespan: when the last reported job ended; 0.0 if there is none.
        over: what ended the search: ``"max_evals"``, ``"max_submits"``, ``"max_time"``, or ``"search_stopped"`` for a
            callback.
        objectives: of `completions`, in the same order; the objective of a failure is its text.
        configurations: by job number, what the run-function saw.
        first_error: the error of the first job that was told as a failure, in one line; None if it has none, as a
            function that returns ``"F_memory"``, or if no job failed.
    """

    def __init__(
        self,
        rows: Callable[[], list[TraceRow]],
        diary: JobColumns,
        makespan: float,
        over: str,
        again: Sequence[tuple[float, float]] = (),
        lost: Set[int] = frozenset(),
    ) -> None:
        self._rows = rows
        self._again = again  # start and end of attempts that failed and were run again; a row is the last attempt
        self._lost = lost  # jobs whose last attempt was lost with its worker
        self._diary = diary
        self.makespan = makespan
        self.over = over
        self.objectives = diary.objectives
        self.configurations = diary.configurations
        first = diary.first_failure
        self.first_error = last_line(first.error) if first is not None and first.error else None

    @cached_property
    def trace(self) -> list[dict[str, Any]]:
        """One row per job, in the order of submission; made at the first use.

        Keys: ``job``, its number; ``worker``; ``ask_start``, when the decision for it began; ``start`` and ``end``,
        None if that did not happen before the search was over; ``status``: DONE, FAILED, CENSORED (would have ended
        after `max_time`), DROPPED (ran when `max_evals` was reached), or CANCELLED; ``charged``, seconds on its worker;
        ``resumed_from``, the fidelity that it continued, or None; ``told_before``, the jobs that were told after the
        previous job was asked for, in order.
        """
        known = told = 0
        rows, diary = [], self._diary
        for row, ask_start, known in zip(self._rows(), diary.ask_start, diary.known, strict=True):
            rows.append(
                {
                    "job": row.job,
                    "worker": row.worker,
                    "ask_start": ask_start,
                    "start": row.start,
                    "end": row.end,
                    "status": row.status,
                    "charged": row.charged,
                    "resumed_from": row.resumed,
                    "told_before": diary.told[told:known].tolist(),
                }
            )
            told = known
        return rows

    @cached_property
    def completions(self) -> list[dict[str, Any]]:
        """The rows of `trace` for the jobs that were reported to the optimiser, in the order of the reports."""
        return [self.trace[job] for job in self._diary.told]

    @cached_property
    def not_reported(self) -> list[int]:
        """The numbers of the jobs that ran or waited when the search was over."""
        return sorted(set(range(len(self.configurations))).difference(self._diary.told))

    @cached_property
    def busy_time(self) -> float:
        """Virtual seconds that the workers were busy until the makespan, in all; of a job that ran on, the part before.

        Time in which a worker runs an attempt that is lost with it is not busy; that of an attempt that raised, and was
        run again, is. Divided by the number of workers and the makespan it is their utilisation.
        """
        span, lost = self.makespan, self._lost
        ran = (
            (row.start, span if row.end is None else row.end)
            for row in self._rows()
            if row.start is not None and row.job not in lost
        )
        return math.fsum(min(span, end) - start for start, end in itertools.chain(ran, self._again) if start < span)

    @property
    def measured_overhead(self) -> list[float]:
        """By job, the real seconds that its decision took, whatever was charged; in a batch, of the whole batch."""
        return self._diary.measured.tolist()

    def trace_digest(self) -> str:
        """Return a hash of the schedule, for regression tests. It does not depend on backend, real workers or load."""
        return digest(iter(self._rows()))

    def to_dataframe(self) -> Any:
        """Return a `pandas.DataFrame`: one row per job, with the columns of `trace`, its objectives, and its
        configuration as ``p:<name>``. A job that was not reported has no objective.

        Raises:
            MissingExtra: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingExtra.of("Data frames need pandas", "pandas") from error
        objectives = dict(zip(self._diary.told, self.objectives, strict=True))
        several = max((len(value) for value in self.objectives if isinstance(value, tuple)), default=0)
        names = [f"objective_{number}" for number in range(several)] or ["objective"]
        rows = []
        for row, configuration in zip(self.trace, self.configurations, strict=True):
            value = objectives.get(row["job"])
            values = value if isinstance(value, tuple) else (value,) * len(names)  # a failure fills every column
            rows.append({**row, **dict(zip(names, values, strict=False)), **_prefixed(configuration)})
        columns = [*_COLUMNS, *names]
        columns += sorted({name for row in rows for name in row}.difference(columns))
        return pandas.DataFrame(rows, columns=columns)

    def __repr__(self) -> str:
        return (
            f"SimulationResult({len(self._diary.told)} of {len(self.configurations)} jobs reported, "
            f"makespan={self.makespan!r}, over={self.over!r})"
        )


_COLUMNS = ("job", "worker", "ask_start", "start", "end", "status", "charged", "resumed_from", "told_before")


def _prefixed(configuration: dict[str, Any]) -> dict[str, Any]:
    return {f"p:{name}": value for name, value in configuration.items()}
