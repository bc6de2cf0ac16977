"""What the run-function receives here, and the run-function as evalpool calls it.

::

    evalpool's worker                   here
      Adapted(f)(running job) ──► f(RunningJob): deephyper's names, `JobStatus` and records
                       value ◄──  what f returned, made an objective where a search asks for one
"""

from __future__ import annotations

import copy
import inspect
import math
import numbers
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import evalpool
from evalpool.compat.deephyper.evaluator._in_workers import AsHere
from evalpool.compat.deephyper.evaluator._status import JobStatus, status_of
from evalpool.compat.deephyper.evaluator.storage import MemoryStorage
from evalpool.worker._call import release

__all__ = [
    "KEPT_FAILURES",
    "KEPT_VALUE",
    "Adapted",
    "RunningJob",
    "adapted",
    "as_objective",
    "as_task",
    "holds_objective",
]

KEPT_VALUE = "_returned_when_cancelled"
"""Metadata that hold what a run-function returned that was asked to end. evalpool drops the value of a job that was
stopped, and keeps its metadata."""
KEPT_FAILURES = "_returned_failures"
"""Metadata that hold the objectives of a job with several, if one is a failure, which is the job's for evalpool."""


class RunningJob(MutableMapping[str, Any]):
    """One evaluation as its run-function sees it: a mapping over the configuration.

    By hand it has, as deephyper's, a storage of its own with one job, whose id is its id.

    Args:
        id: of the job in `storage`; without a storage it is not used.
        parameters: the configuration.
        storage: where the job is kept.
        stopper: asked by `stopped`.
    """

    _seen: Any = None

    def __init__(
        self,
        id: str | None = None,
        parameters: dict[str, Any] | None = None,
        storage: Any = None,
        stopper: Any = None,
    ) -> None:
        if storage is None:
            storage = MemoryStorage().connect()
            id = storage.create_new_job(storage.create_new_search())
        self._core = evalpool.RunningJob(id, parameters, storage, stopper)
        if getattr(stopper, "job", None) is self._core:
            stopper.job = self
        self._by_hand = True
        self._told = False

    @classmethod
    def _of(cls, core: evalpool.RunningJob, stopper: Any = None) -> RunningJob:
        """The running job of an evaluator of evalpool's, which has the stopper that decides."""
        job = cls.__new__(cls)
        job._core = core
        job._by_hand = job._told = False
        if stopper is not None:
            job._seen = copy.deepcopy(stopper)
            job._seen.job = job
        return job

    @property
    def id(self) -> str:
        """``"<search>.<n>"``."""
        return self._core.id

    @property
    def parameters(self) -> dict[str, Any]:
        """The configuration."""
        return self._core.parameters

    @property
    def storage(self) -> Any:
        """The storage of the search."""
        return self._core.storage

    @property
    def stopper(self) -> Any:
        """The stopper. Under an evaluator the one that decides lives beside that: this is one to look at, with what
        was recorded; of a stopper of evalpool's there is none."""
        return self._core.stopper if self._seen is None else self._seen

    @property
    def metadata(self) -> dict[str, Any]:
        """evalpool's: what is set here joins the job's metadata."""
        return self._core.metadata

    @property
    def seed(self) -> int:
        """evalpool's: this job's seed."""
        return self._core.seed

    @property
    def status(self) -> JobStatus:
        """RUNNING; CANCELLING once the time budget is spent, or the evaluator or a stopper asks to stop."""
        if self._by_hand:
            stored = self.storage.load_job_status(self.id)
            return JobStatus(stored) if isinstance(stored, int) else status_of(stored)
        return JobStatus.CANCELLING if self.stopped() else JobStatus.RUNNING

    def record(self, budget: float, objective: Any) -> None:
        """Tell an intermediate result."""
        self._core.record(budget, objective)
        if self._seen is not None:
            self._seen.observed_budgets.append(budget)
            self._seen.observed_objectives.append(self._seen.transform_objective(objective))

    def stopped(self) -> bool:
        """Shall the job end now?"""
        self._told = self._core.stopped()
        return self._told

    @property
    def objective(self) -> Any:
        """The stopper's view of the objective, else what was recorded last."""
        if self._seen is not None and self._seen.observed_objectives:
            return self._seen.objective
        return self._core.objective

    def __getitem__(self, key: str) -> Any:
        return self._core["job_id"] if key == "job_id" else self._core.parameters[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if key == "job_id":
            raise KeyError("'job_id' is the number of the job; it cannot be set.")
        self._core.parameters[key] = value

    def __delitem__(self, key: str) -> None:
        del self._core.parameters[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._core.parameters)

    def __len__(self) -> int:
        return len(self._core.parameters)

    def __repr__(self) -> str:
        return f"RunningJob(id={self.id}, status={self.status}, parameters={self.parameters})"


class Adapted:
    """A run-function of here as evalpool calls it.

    Args:
        function: f(job, **kwargs).
        convert: what is made of what it returns; None: nothing.
        stopper: of deephyper's form; each running job has a copy to look at.
        has_stopper: does the evaluator ask a stopper, of any form?
    """

    def __init__(
        self,
        function: Callable[..., Any],
        convert: Callable[[Any], Any] | None = None,
        stopper: Any = None,
        has_stopper: bool = True,
    ) -> None:
        self.function, self.convert, self.stopper, self.has_stopper = function, convert, stopper, has_stopper

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (AsHere(), type(self), self.function, self.convert, self.stopper, self.has_stopper)

    def __call__(self, core: Any, **kwargs: Any) -> Any:
        job = RunningJob._of(core, self.stopper)
        return self._result(job, self.function(job, **kwargs))

    def _result(self, job: RunningJob, value: Any) -> Any:
        if self.convert is as_objective and (several := _objectives_with_failures(value)) is not None:
            job.metadata[KEPT_FAILURES] = several
        if self.convert is not None:
            value = self.convert(value)
        # A stopper that is asked now, after the last step, would say that it ended the job.
        if job._told or (not self.has_stopper and job.stopped()):
            job.metadata[KEPT_VALUE] = value
        return value

    def __repr__(self) -> str:
        return repr(self.function)  # by which messages name the run-function

    def _evalpool_release(self) -> None:
        """The evaluator calls the function no more."""
        release(self.function)


class AdaptedAsync(Adapted):
    """As `Adapted`, of a coroutine function."""

    async def __call__(self, core: Any, **kwargs: Any) -> Any:
        job = RunningJob._of(core, self.stopper)
        return self._result(job, await self.function(job, **kwargs))


def _arrived(_: None, cls: type[Adapted], *arguments: Any) -> Adapted:
    """In a worker."""
    return cls(*arguments)


def adapted(
    function: Callable[..., Any],
    convert: Callable[[Any], Any] | None = None,
    stopper: Any = None,
    has_stopper: bool = True,
) -> Adapted:
    """The one that fits: for a function or an object, sync or async."""
    call = getattr(function, "__call__", None)  # noqa: B004  of an object, which may be async
    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)
    return (AdaptedAsync if is_async else Adapted)(function, convert, stopper, has_stopper)


def as_task(value: Any) -> Any:
    """What a job without a search makes of a returned value: of a dict, metadata apart, and its "output"."""
    if isinstance(value, dict) and isinstance(value.get("metadata"), dict):
        return {"output": value.get("output"), "metadata": value["metadata"]}
    return value


def as_objective(value: Any) -> Any:
    """What a search of deephyper's makes of what a run-function returned: numbers become floats, and "F" where they
    are not finite; several objectives with a failure among them are one failure, the first."""
    if isinstance(value, dict):
        key = "output" if "output" in value else "objective"
        if key not in value:
            return value
        inner = as_objective(value["output"]) if key == "output" else _finite(value["objective"])
        if _objectives_with_failures(inner) is not None:
            inner = as_objective(inner)
        return {**value, key: inner}
    if (several := _objectives_with_failures(value)) is not None:
        return next(one for one in several if _is_failure(one))
    return _finite(float(value)) if isinstance(value, numbers.Real) else value


def _objectives_with_failures(value: Any) -> tuple[Any, ...] | list[Any] | None:
    """Of what a run-function returned, several objectives, if a failure is among them; evalpool has one failure."""
    while isinstance(value, dict) and ("output" in value or "objective" in value):
        value = value["output"] if "output" in value else value["objective"]
    return value if isinstance(value, (tuple, list)) and any(map(_is_failure, value)) else None


def _is_failure(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("F")


def holds_objective(value: Any) -> bool:
    """Would a search of deephyper's take this for a result?"""
    if isinstance(value, dict):
        return holds_objective(value["output"]) if "output" in value else "objective" in value
    return isinstance(value, (str, tuple, list, numbers.Real))


def _finite(value: Any) -> Any:
    """A number that is not finite is a failure; all else stays."""
    return "F" if isinstance(value, numbers.Real) and not math.isfinite(value) else value
