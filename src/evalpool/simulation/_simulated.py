"""The first face of simulated time: an evaluator whose completions come in the order of virtual time.

It is an evaluator of any class that has a timeline; see `VirtualTime`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evalpool._checks import check_seconds
from evalpool.batch._cpus import usable_cpus
from evalpool.errors import BadArgument
from evalpool.evaluator import _settings
from evalpool.evaluator._evaluator import Evaluator
from evalpool.simulation._checkpoints import check_continuation
from evalpool.simulation._curves import check_curve_key
from evalpool.simulation._kernel import Kernel
from evalpool.simulation._runtimes import check_has_runtimes, check_runtime_key
from evalpool.simulation._virtual_time import VirtualTime
from evalpool.simulation._worker_model import WorkerModel, check_worker_model

__all__ = ["SimulatedEvaluator", "simulated"]


def simulated(evaluator_class: type[Evaluator]) -> type[SimulatedEvaluator]:
    """Make an evaluator class in simulated time, ``Simulated<Evaluator>``; see `SimulatedEvaluator`.

    >>> from evalpool import SerialEvaluator
    >>> def run(job):
    ...     return {"objective": job["x"], "runtime": 3600.0 * job["x"]}
    >>> with simulated(SerialEvaluator)(run, num_workers=2) as evaluator:
    ...     _ = evaluator.submit([{"x": 3}, {"x": 1}, {"x": 1}])
    ...     [(job.objective, job.metadata["virtual_end"]) for job in evaluator.gather("ALL")]
    [(1, 3600.0), (1, 7200.0), (3, 10800.0)]

    Raises:
        BadArgument: not an evaluator class, or one that is simulated already.
    """
    if not (isinstance(evaluator_class, type) and issubclass(evaluator_class, Evaluator)):
        raise BadArgument(f"simulated takes an evaluator class, such as SerialEvaluator; got {evaluator_class!r}.")
    if issubclass(evaluator_class, SimulatedEvaluator):
        raise BadArgument(f"{evaluator_class.__name__} is simulated already.")
    name = f"Simulated{evaluator_class.__name__}"
    doc = f"A `{evaluator_class.__name__}` in simulated time; see `evalpool.simulated`."
    made: Any = type(name, (SimulatedEvaluator, evaluator_class), {"__doc__": doc, "__module__": __name__})
    return made  # type: ignore[no-any-return]


class SimulatedEvaluator(Evaluator):
    """What `simulated` adds to an evaluator class.

    Each run-function really runs, on the backend, and declares how long it would have lasted. `gather` returns jobs in
    the order in which they would have ended. Timestamps, `timeout`, `job_timeout` and all times that callbacks, tables
    and storages see are virtual seconds since the start.

    Args:
        num_workers: virtual workers.
        real_workers: workers of the backend; None for the smaller of the number of usable CPUs and `num_workers`.
        runtime: where to find a job's runtime: a key of its output or its metadata, or a function of (job, output).
        runtime_before: a function of the configuration, for runtimes that are known before the evaluation; then jobs
            whose end is never reached are never evaluated.
        failure_runtime: seconds that are charged to a job without a valid runtime.
        continual_max_fidel: jobs continue earlier ones of the same configuration and lower fidelity, up to this one.
        fidel_key: the name of the fidelity in the configuration, for `continual_max_fidel`.
        curve: the key of the output that holds the job's learning curve, if it returns one instead of recording its
            intermediate results: points ``(budget, objective, runtime from scratch up to there)``. Stoppers and
            callbacks hear of each at its virtual time; a job that is stopped there returns what it had there.
        worker_model: how virtual workers start and fail; None: they are there from 0 on for ever. What is lost with its
            worker is retried as `retries` say.
    """

    def __init__(
        self,
        run_function: Callable[..., Any],
        *,
        num_workers: int = 1,
        real_workers: int | None = None,
        runtime: str | Callable[[Any, Any], Any] = "runtime",
        runtime_before: Callable[[dict[str, Any]], float] | None = None,
        failure_runtime: float = 0.0,
        continual_max_fidel: int | None = None,
        fidel_key: str | None = None,
        curve: str | None = "curve",
        job_timeout: float | None = None,
        worker_model: WorkerModel | None = None,
        **kwargs: Any,
    ) -> None:
        workers = _settings.check_workers(num_workers)
        if real_workers is None:
            real_workers = min(usable_cpus(), workers)
        real_workers = _settings.check_workers(real_workers, "real_workers")
        if runtime_before is not None and not callable(runtime_before):
            raise BadArgument(f"runtime_before is {runtime_before!r}; give a function of the configuration.")
        if runtime_before is not None and kwargs.get("stopper") is not None:
            raise BadArgument(
                "A stopper decides from what jobs record while they run, and with runtime_before they are evaluated at "
                "their ends; leave runtime_before out, and let the run-function return its runtime."
            )
        where = check_runtime_key(runtime)
        check_has_runtimes(run_function, where, runtime_before)
        check_continuation(continual_max_fidel, fidel_key)
        kernel = Kernel(
            workers,
            continual_max_fidel=continual_max_fidel,
            failure_runtime=failure_runtime,
            job_timeout=check_seconds("job_timeout", job_timeout),
            stops=kwargs.get("stopper") is not None,
            worker_model=check_worker_model(worker_model),
        )
        self._timeline: VirtualTime = VirtualTime(kernel, where, runtime_before, fidel_key, check_curve_key(curve))
        super().__init__(run_function, num_workers=real_workers, **kwargs)

    @property
    def now(self) -> float:
        """The current virtual time, in seconds."""
        return self._timeline.kernel.clock

    def advance(self, seconds: float) -> None:
        """Declare `seconds` of think time: virtual time passes, and jobs end meanwhile.

        Raises:
            BadArgument: `seconds` is negative or not a number.
        """
        self._timeline.advance(seconds)

    def trace(self) -> list[dict[str, Any]]:
        """Return one row per submitted job, in the order of submission, also for jobs that have not ended.

        Keys: job, worker, submit, start, end, charged, resumed, status.
        """
        with self._timeline.lock:
            return [row._asdict() for row in self._timeline.kernel.trace()]

    def trace_digest(self) -> str:
        """Return a hash of the trace. It does not depend on backend, number of real workers or load."""
        with self._timeline.lock:
            return self._timeline.kernel.trace_digest()
