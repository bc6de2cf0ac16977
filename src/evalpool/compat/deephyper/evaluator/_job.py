"""The job as the caller sees it: deephyper's attributes over a job of evalpool's, or by hand over a storage."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from evalpool.compat.deephyper.evaluator._running_job import KEPT_FAILURES, KEPT_VALUE, RunningJob, holds_objective
from evalpool.compat.deephyper.evaluator._status import JobStatus, status_of

if TYPE_CHECKING:
    import evalpool

__all__ = ["HPOJob", "Job", "JobContext"]

KEPT = frozenset({KEPT_FAILURES, KEPT_VALUE})
NOTED_BY_EVALPOOL = frozenset({"worker", "host", "pid"}) | KEPT
"""Metadata that deephyper does not have: a table of a search has a column for each. A run-function may give its own."""
TIMES_OF_PROFILE = frozenset({"timestamp_start", "timestamp_end"})
"""Metadata that deephyper has of profiled run-functions only."""


class JobContext:
    """What a job knows of its surroundings."""

    search: Any = None


class Job:
    """One evaluation of one configuration; `output` is what the run-function returned.

    Args:
        id: ``"<search>.<n>"``.
        args: the configuration.
        run_function: which evaluates it.
        storage: where the job is kept.
    """

    def __init__(self, id: str, args: dict[str, Any], run_function: Callable[..., Any] | None, storage: Any) -> None:
        self.id = id
        self.args = {k: copy.deepcopy(v) if isinstance(v, (list, dict, set)) else v for k, v in args.items()}
        self.run_function = run_function
        self.output: Any = None
        self.metadata: dict[str, Any] = {}
        self.context = JobContext()
        self.storage = storage
        self._evaluated: evalpool.Job[Any] | None = None
        self._running: evalpool.RunningJob | None = None
        self._status: JobStatus | None = None

    @property
    def status(self) -> JobStatus:
        """Where the job stands: as its evaluator says, or by hand as the storage does."""
        if self._status is not None:
            return self._status
        if self._evaluated is not None:
            return status_of(self._evaluated.status)
        if self.storage is None:
            return JobStatus.READY
        stored = self.storage.load_job_status(self.id)
        return JobStatus(stored) if isinstance(stored, int) else status_of(stored)

    @status.setter
    def status(self, status: JobStatus) -> None:
        if self._evaluated is None and self.storage is not None:
            self.storage.store_job_status(self.id, status.name)
        else:  # records of its jobs are the evaluator's to write
            self._status = status

    @property
    def error(self) -> str | None:
        """evalpool's: the traceback or the reason of a failure."""
        return None if self._evaluated is None else self._evaluated.error

    def set_output(self, output: Any) -> None:
        """Take what a run-function returned; of a dict with "metadata" apart, its "output"."""
        if isinstance(output, dict) and isinstance(output.get("metadata"), dict):
            self.metadata.update(output["metadata"])
            output = output.get("output")
        self.output = output

    def create_running_job(self, stopper: Any = None) -> RunningJob:
        """The job as its run-function sees it; under an evaluator it records to that, which has the stopper."""
        if self._running is not None:
            return RunningJob._of(self._running)
        stopper = copy.deepcopy(stopper)
        job = RunningJob(self.id, self.args, self.storage, stopper)
        if hasattr(stopper, "job"):
            stopper.job = job
        return job

    def _settle(self, evaluated: evalpool.Job[Any], is_profiled: bool) -> None:
        """Take the outcome of evalpool's job."""
        metadata = dict(evaluated.metadata)
        self._evaluated, self._running, self._status = evaluated, None, None
        if self.status is not JobStatus.CANCELLED:
            self._take_output(evaluated)
        elif KEPT_VALUE in metadata and self._holds(metadata[KEPT_VALUE]):
            self.set_output(metadata[KEPT_VALUE])
        else:
            self._take_nothing()
        left_out = NOTED_BY_EVALPOOL if is_profiled else NOTED_BY_EVALPOOL | TIMES_OF_PROFILE
        gathered = metadata.pop("timestamp_gather", None)  # the last, as the columns of tables come in this order
        own = {key: value for key, value in evaluated.own_metadata.items() if key not in KEPT}
        for key, value in metadata.items():
            if key in own or key not in left_out:
                self.metadata[key] = own[key] if key in left_out else value
        self.metadata["timestamp_gather"] = gathered

    def _take_output(self, evaluated: evalpool.Job[Any]) -> None:
        self.output = evaluated.output

    def _take_nothing(self) -> None:
        """It was cancelled, and returned nothing."""

    def _holds(self, output: Any) -> bool:
        """Is this an output of such a job?"""
        return True

    def __repr__(self) -> str:
        return f"Job(id={self.id}, status={self.status}, args={self.args})"


class HPOJob(Job):
    """A job of a search: its output is a dict with an objective, and it unpacks as ``(args, objective)``."""

    @property
    def objective(self) -> Any:
        """A number, several of them, or a text that begins with F."""
        return self.output["objective"]

    @staticmethod
    def standardize_output(output: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """``(output with "objective", metadata)`` of what a run-function returned.

        Raises:
            TypeError: of a type that holds no objective.
            ValueError: a dict without "objective".
        """
        metadata: dict[str, Any] = {}
        if isinstance(output, dict) and "output" in output:
            metadata.update(output.get("metadata") or {})
            output = output["output"]
        if isinstance(output, dict):
            if "objective" not in output:
                raise ValueError(f"a run-function returned a dict with {sorted(output)}, without 'objective'.")
            metadata.update(output.get("metadata") or {})
            return {key: value for key, value in output.items() if key != "metadata"}, metadata
        if isinstance(output, (str, tuple, list)):
            return {"objective": output}, metadata
        if np.isscalar(output) and np.isreal(output):
            return {"objective": float(output)}, metadata  # type: ignore[arg-type]
        raise TypeError(f"a run-function returned {output!r} of type {type(output).__name__}, which is no objective.")

    def set_output(self, output: Any) -> None:
        self.output, metadata = self.standardize_output(output)
        self.metadata.update(metadata)

    def _take_output(self, evaluated: evalpool.Job[Any]) -> None:
        output = evaluated.output
        self.output = dict(output) if isinstance(output, dict) and "objective" in output else {"objective": output}
        if KEPT_FAILURES in evaluated.metadata:
            self.output["objective"] = evaluated.metadata[KEPT_FAILURES]

    def _take_nothing(self) -> None:
        self.output = {"objective": "F_CANCELLED"}

    def _holds(self, output: Any) -> bool:
        return holds_objective(output)

    def __getitem__(self, index: Any) -> Any:
        return (copy.deepcopy(self.args), self.objective)[index]
