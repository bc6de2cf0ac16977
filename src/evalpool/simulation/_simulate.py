"""The second face of simulated time: `simulate`, for optimisers that ask and tell."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

from evalpool._checks import check_number, is_whole
from evalpool.errors import BadArgument, SimulationError
from evalpool.evaluator import _settings
from evalpool.evaluator._evaluator import Evaluator
from evalpool.evaluator._registry import EVALUATORS
from evalpool.jobs._seeds import fresh_seed
from evalpool.search._optimize import _announce, _can_stop
from evalpool.simulation._checkpoints import check_continuation
from evalpool.simulation._curves import check_curve_key
from evalpool.simulation._kernel import Kernel
from evalpool.simulation._local_search import LocalSearch
from evalpool.simulation._runtimes import check_has_runtimes, check_runtime_key
from evalpool.simulation._search import EvaluatorSearch, SimulatedSearch
from evalpool.simulation._seconds import check_overhead, check_runtime
from evalpool.simulation._simulated import SimulatedEvaluator, simulated
from evalpool.simulation._worker_model import check_worker_model

if TYPE_CHECKING:
    from evalpool.callbacks import Callback
    from evalpool.models import Retries
    from evalpool.simulation._result import SimulationResult
    from evalpool.simulation._worker_model import WorkerModel
    from evalpool.storage import Storage

__all__ = ["simulate"]

OVERHEADS = ("none", "measured", "cpu")


def simulate(
    optimizer: Any,
    run_function: Callable[..., Any] | None,
    num_workers: int | None = None,
    max_evals: int | None = None,
    max_submits: int | None = None,
    max_time: float | None = None,
    overhead: Literal["none", "measured", "cpu"] | float | Callable[[int, int], float] = "none",
    sampling: Literal["serial", "parallel"] = "serial",
    tell: Literal["asap", "warmup", "fill"] = "asap",
    batch_size: int | None = None,
    continual_max_fidel: int | None = None,
    fidel_key: str | None = None,
    runtime: str | Callable[[Any, Any], Any] = "runtime",
    seed: int | None = None,
    evaluator: str | type[Evaluator] | Evaluator | None = None,
    callbacks: Iterable[Callback] | None = None,
    storage: Storage | str | None = None,
    stopper: Any = None,
    curve: str | None = "curve",
    worker_model: WorkerModel | None = None,
    retries: int | Retries = 0,
) -> SimulationResult:
    """Run a search in simulated time: as if each job lasted the runtime that it declares.

    Idle workers get jobs in the order in which they became idle. Before a decision that begins at t, all results of
    jobs that ended at or before t are told, in order. With the same optimiser, run-function, seed and declared
    overhead, the result is the same on every backend.

    >>> from evalpool import RandomSearch
    >>> def run(job):
    ...     return {"objective": -job["x"], "runtime": 60.0 * job["x"]}
    >>> result = simulate(RandomSearch({"x": [1, 2, 4]}, seed=0), run, num_workers=2, max_evals=4)
    >>> [(row["job"], row["worker"], row["start"], row["end"]) for row in result.completions]
    [(1, 1, 0.0, 120.0), (0, 0, 0.0, 240.0), (2, 1, 120.0, 240.0), (3, 0, 240.0, 300.0)]

    Args:
        optimizer: with `ask` and `tell`, as for `optimize`: ``ask()`` returns a configuration, or ``(configuration,
            fidels)``, or ``(configuration, fidels, config_id)``; ``tell(job)``, ``tell(configuration, objective)`` or
            ``tell(eval_config, results, *, fidels, config_id)``, where the results hold the runtime as it was charged.
        run_function: ``f(job)``, sync or async; returns an objective and the seconds that the job would have taken:
            ``{"objective": 0.9, "runtime": 3600.0}``. A failure that took time is ``{"objective": "F_oom", "metadata":
            {"runtime": 20.0}}``. None: use the run-function of the `evaluator`, if that is an object.
        num_workers: virtual workers; -1 for as many as there are usable CPUs. None: those of the `evaluator`, or 1.
        max_evals: the search ends when this many jobs have been told, failures included; jobs that run then are
            dropped.
        max_submits: this many jobs are asked for; all of them are told.
        max_time: seconds of virtual time. A job that ends exactly then is told; one that ends later is censored. No job
            is asked for at this time or later.
        overhead: virtual seconds of a decision: ``"none"``; ``"measured"``, the wall time that the optimiser takes from
            one proposal to the next, including its `tell`; ``"cpu"``, the same in this thread's CPU time; a number; or
            a function of ``(jobs asked, jobs told)``. With a declared overhead the search is reproducible.
        sampling: ``"serial"``: there is one search thread, and decisions wait for each other; ``"parallel"``: each
            worker decides for itself.
        tell: which results a decision may know. ``"asap"``: all that ended before; ``"warmup"``: none until every
            worker has been given a job; ``"fill"``: results are told only when no worker is idle.
        batch_size: synchronous batches: this many proposals, whose overhead is charged before the batch; then a
            barrier; then all results in the order of their ends.
        continual_max_fidel: a job continues an earlier one of the same configuration and lower fidelity, up to this
            fidelity, and is charged the difference. The runtime that it declares is that from scratch.
        fidel_key: the name of the fidelity for `continual_max_fidel`; both or none must be given.
        runtime: where to find the runtime: a key of the output or its metadata, or a function of (job, output).
        seed: the seeds of jobs derive from it; None for a random one.
        evaluator: its backend evaluates the jobs. A method's name, such as ``"process"``; an evaluator class; or an
            evaluator in simulated time without any job so far, ``simulated(ProcessPoolEvaluator)(run, num_workers=8)``,
            which you must close yourself. None: the jobs are evaluated in this thread. Jobs are evaluated in parallel
            if no decision between them must know their ends: in batches, with ``tell="warmup"`` or ``"fill"``, and
            with a `runtime_before` of the evaluator.
        callbacks: as in an evaluator; they see virtual times. A callback whose `search_stopped` is true ends the
            search.
        storage: as in an evaluator, or its URL; a client that is opened here is closed here.
        stopper: ends jobs early, from their intermediate results, each at the virtual time at which it happens; see
            `evalpool.evaluator.Stopper`. None: no job is ended.
        curve: the key of the output that holds a job's learning curve, points ``(budget, objective, runtime from
            scratch up to there)``, if it returns one instead of recording its intermediate results.
        worker_model: how virtual workers start, crash and are taken away, in virtual time; None: they are there from 0
            on for ever. A decision is for a worker that is there; if that is taken away before the decision ends, its
            job begins when the worker is there again.
        retries: as in an evaluator: how often a job is run again whose worker was lost, or that raised. A job that is
            run again comes before new ones.

    Returns:
        The schedule, the objectives in the order in which they were told, and the makespan. It keeps about a hundred
        bytes per job, and the configurations.

    Raises:
        BadArgument: an argument has a wrong type or value, two contradict, or nothing would end the search. Also if a
            declared overhead is not a number of seconds, or a `config_id` comes back with another configuration.
        SimulationError: the search cannot end, because its jobs take no time and `max_time` is its only limit. Errors
            of the optimiser are not caught.
    """
    watchers = _settings.check_callbacks(callbacks)
    if isinstance(evaluator, SimulatedEvaluator):
        _check_not_given(callbacks=callbacks, storage=storage, stopper=stopper, retries=retries or None)
        num_workers = _check_own(evaluator, run_function, num_workers, seed, runtime, fidel_key, curve, worker_model)
        watchers, runtime = evaluator.callbacks, evaluator._timeline.runtime
    _check_limits(max_evals, max_submits, max_time, watchers)
    batch_size = _check_batches(batch_size, sampling, tell)
    check_continuation(continual_max_fidel, fidel_key)
    check_curve_key(curve)
    own = evaluator._timeline.kernel if isinstance(evaluator, SimulatedEvaluator) else None
    kernel = Kernel(
        1 if num_workers is None else _settings.check_workers(num_workers),
        sampling=sampling,
        tell=tell,
        continual_max_fidel=continual_max_fidel,
        failure_runtime=0.0 if own is None else own.failure_runtime,
        job_timeout=None if own is None else own.job_timeout,
        stops=stopper is not None or (isinstance(evaluator, SimulatedEvaluator) and evaluator._stopper is not None),
        worker_model=check_worker_model(worker_model) if own is None else own.worker_model,
        max_evals=max_evals,
        max_submits=max_submits,
        max_time=max_time,
    )
    settings: dict[str, Any] = {
        "overhead": _check_overheads(overhead),
        "fidel_key": fidel_key,
        "batch_size": batch_size,
        "runtime": check_runtime_key(runtime),
        "endless": max_evals is None and max_submits is None,
    }
    if run_function is not None:
        check_has_runtimes(run_function, settings["runtime"])
    base = fresh_seed() if seed is None else check_number("seed", seed, 0)
    with contextlib.ExitStack() as stack:
        search: SimulatedSearch
        plain = worker_model is None and retries == 0 and stopper is None
        if evaluator is None and not watchers and storage is None and plain:
            search = LocalSearch(kernel, _settings.check_run_function(run_function), base, **settings)
        else:
            if not isinstance(evaluator, SimulatedEvaluator):
                its_own = {
                    "runtime": runtime, "curve": curve, "stopper": stopper, "worker_model": worker_model,
                    "retries": retries, "callbacks": watchers, "storage": storage, "seed": base,
                }  # fmt: skip
                made = _class_of(evaluator)(run_function, num_workers=kernel.num_workers, **its_own)
                evaluator = stack.enter_context(made)
            assert isinstance(evaluator, SimulatedEvaluator)
            search = _search_on(evaluator, kernel, max_evals, settings)
        return search.run(optimizer)


def _search_on(
    evaluator: SimulatedEvaluator, kernel: Kernel, max_evals: int | None, settings: dict[str, Any]
) -> EvaluatorSearch:
    """Make the search whose jobs this evaluator runs."""
    if not evaluator.is_master:
        raise SimulationError(
            "This rank has served the root, which searches. Make the evaluator first, and call simulate on the root "
            "only: with simulated(MPICommEvaluator)(run_function, num_workers=8) as evaluator: if "
            "evaluator.is_master: simulate(..., evaluator=evaluator)."
        )
    if max_evals is not None:
        _announce(evaluator, max_evals)
    return EvaluatorSearch(kernel, evaluator, **settings)


def _class_of(evaluator: Any) -> Any:
    """Return the class in simulated time for the argument `evaluator`."""
    if evaluator is None:
        evaluator = "serial"
    if isinstance(evaluator, str):
        evaluator = EVALUATORS[evaluator]
    if isinstance(evaluator, type) and issubclass(evaluator, Evaluator):
        return evaluator if issubclass(evaluator, SimulatedEvaluator) else simulated(evaluator)
    if isinstance(evaluator, Evaluator):
        name = type(evaluator).__name__
        raise BadArgument(
            f"evaluator is {evaluator!r}, in real time, so its callbacks and its storage would see real times. Give "
            f"the class, evaluator={name}, or one in simulated time, evaluator=simulated({name})(run_function, ...)."
        )
    raise BadArgument(
        f"evaluator is {evaluator!r} of type {type(evaluator).__name__}; give a method's name such as 'process', an "
        "evaluator class, an evaluator in simulated time, or None."
    )


def _check_not_given(**given: Any) -> None:
    """Refuse arguments that are the evaluator's own."""
    if any(value is not None for value in given.values()):
        *most, last = given
        raise BadArgument(
            f"{', '.join(most)} and {last} are the evaluator's own; give them where you make the evaluator."
        )


def _check_own(
    evaluator: SimulatedEvaluator,
    run_function: Any,
    num_workers: Any,
    seed: Any,
    runtime: Any,
    fidel_key: Any,
    curve: Any,
    worker_model: Any,
) -> int:
    """Check that the other arguments agree with the evaluator; return its number of workers."""
    time = evaluator._timeline
    kernel = time.kernel
    if kernel.num_submitted or kernel.clock:
        raise BadArgument(f"{evaluator!r} has had jobs already, and virtual time must begin at 0: make a new one.")
    if evaluator.timeout is not None:
        raise BadArgument(f"The evaluator has a timeout of {evaluator.timeout!r} s; give simulate max_time instead.")
    facts = {
        "run_function": (run_function, evaluator.run_function, None),
        "num_workers": (num_workers, evaluator.num_workers, None),
        "seed": (seed, evaluator.seed, None),
        "runtime": (runtime, time.runtime, "runtime"),
        "fidel_key": (time.fidel_key, fidel_key, None),
        "curve": (curve, time.curve, "curve"),
        "worker_model": (worker_model, kernel.worker_model, None),
    }
    for name, (given, other, left_out) in facts.items():
        if given not in (left_out, other):
            raise BadArgument(
                f"{name} is {given!r} and {other!r}, of simulate and of its evaluator; give both the same."
            )
    return evaluator.num_workers


def _check_limits(max_evals: Any, max_submits: Any, max_time: Any, callbacks: list[Any]) -> None:
    unlimited = max_evals is None and max_submits is None and max_time in (None, float("inf"))
    if unlimited and not any(map(_can_stop, callbacks)):
        raise BadArgument("Nothing would end this search: give max_evals, max_submits or max_time.")
    if is_whole(max_evals) and is_whole(max_submits) and max_submits < max_evals:
        raise BadArgument(
            f"max_evals={max_evals!r} can never be reached with max_submits={max_submits!r}; give one, or a larger "
            "max_submits."
        )


def _check_batches(batch_size: Any, sampling: Any, tell: Any) -> int | None:
    if batch_size is None:
        return None
    size = check_number("batch_size", batch_size, 1)
    if sampling != "serial" or tell != "asap":
        raise BadArgument(
            f"batch_size={batch_size!r} contradicts sampling={sampling!r}, tell={tell!r}: a batch is one decision, and "
            "its results are told when all its jobs have ended."
        )
    return size


def _check_overheads(overhead: Any) -> Any:
    """Return the overhead as one of the choices, or as a function."""
    if callable(overhead):
        return overhead
    if isinstance(check_runtime(overhead), float):
        seconds = check_overhead(overhead)
        return lambda asked, told: seconds
    if overhead not in OVERHEADS:
        raise BadArgument(
            f"overhead is {overhead!r}; give one of {', '.join(map(repr, OVERHEADS))}, seconds of 0 or more, or a "
            "function of (jobs asked, jobs told)."
        )
    return overhead
