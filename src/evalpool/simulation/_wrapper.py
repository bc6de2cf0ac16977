"""`ObjectiveFuncWrapper`: simulated time for optimisers that call the objective from their own workers.

The interface, the file names and the errors are those of mfhpo-simulator 1.2.1 (S. Watanabe, arXiv 2305.17595), so that
its programs run unchanged. How callers wait for their virtual ends is different: see `_coordinator`.
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
import os
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from evalpool._clock import perf_counter
from evalpool.errors import RunExists, SimulationError, WrongMode
from evalpool.simulation._callers import Run
from evalpool.simulation._files import RESULTS, SAMPLES, LogReader, Progress, column_files, how_it_ended, publish
from evalpool.simulation._host import Host
from evalpool.simulation._interface import ObjectiveFuncType
from evalpool.simulation._objective import Objective
from evalpool.simulation._options import WrapperOptions, directory_of, is_shared
from evalpool.simulation._run import Over, Result
from evalpool.simulation._session import CallerSession
from evalpool.simulation._thinking import Overhead, Thinking
from evalpool.simulation._wrapper_loop import AskTellRun

__all__ = ["ObjectiveFuncWrapper"]

Self = TypeVar("Self", bound="ObjectiveFuncWrapper")

SENTINEL = float(1 << 30)
"""What a call gets for each objective and for the runtime when the run is over: worse than any loss."""


class ObjectiveFuncWrapper:
    """Wraps an objective so that the calls of several workers return in the order of their virtual ends.

    Call it from as many threads or processes as there are workers: threads, forked or spawned processes, pools, or
    programs that are launched separately and share `save_dir_name`. A call evaluates the objective at once and returns
    when no other worker can end before it any more; equal ends are ordered by worker. So each worker must continue to
    call until the calls return the sentinel, ``2**30``, for every objective and the runtime. Then `n_evals` evaluations
    have completed, and the objective is not called any more.

    >>> import tempfile
    >>> def objective(eval_config, fidels=None, seed=None):
    ...     return {"loss": eval_config["x"], "runtime": 3600.0}
    >>> with ObjectiveFuncWrapper(
    ...     objective, n_workers=1, n_evals=2, n_actual_evals_in_opt=3, overhead="none", tmp_dir=tempfile.mkdtemp()
    ... ) as wrapper:
    ...     losses = [wrapper({"x": x})["loss"] for x in (0.5, 0.25, 0.125)]
    >>> losses
    [0.5, 0.25, 1073741824.0]
    >>> wrapper.get_results()["cumtime"]
    [3600.0, 7200.0]

    If the runtime is not a number of seconds, the output lacks a key, or the objective raises, the caller gets the
    error at the virtual end of its call, and a failure is recorded; the other callers continue.

    Args:
        obj_func: ``f(eval_config, fidels=None, seed=None, **data_to_scatter)`` returning a dict.
        launch_multiple_wrappers_from_user_side: each worker makes its own wrapper, in programs that share only
            `save_dir_name`; a wrapper is then one worker.
        ask_and_tell: this wrapper is not called; it runs an optimiser with `simulate`.
        save_dir_name: the name of the directory for the results, below ``mfhpo-simulator-info``.
        n_workers: the number of callers; or, with `batch_size` or `ask_and_tell`, the number of virtual workers.
        n_actual_evals_in_opt: how many calls the optimiser will make: at least `n_evals` and one more per worker,
            because each worker must make one last call.
        n_evals: the exact number of completions at the end.
        fidel_keys: names of the fidelities; None for none.
        obj_keys: names of the objectives; None for ``["loss"]``.
        runtime_key: name of the runtime in the objective's results: seconds from scratch.
        seed: the seeds of evaluations derive from it and their numbers; None for a random one.
        continual_max_fidel: an evaluation at a higher fidelity continues one of the same configuration at a lower, up
            to this one, and is charged the difference.
        max_waiting_time: seconds that a call waits for other callers before it gives up on the run with an error that
            says which they are. With infinity, there is only a warning after ten seconds.
        check_interval_time: seconds for which the coordinator polls for the next call of another process before it
            sleeps, if there are more usable CPUs than such processes; above a millisecond, it does not poll.
        store_config: keep configuration, fidelities and seed of every evaluation among the results.
        store_actual_cumtime: keep the real seconds since the start of the run, too: ``actual_cumtime``.
        allow_parallel_sampling: workers decide at the same time; else decisions are made one after the other.
        config_tracking: refuse a `config_id` that stood for another configuration.
        worker_index: which worker this wrapper is, with `launch_multiple_wrappers_from_user_side`.
        max_total_eval_time: the end of virtual time. Evaluations that would end later are not reported.
        expensive_sampler: decisions take so long, against evaluations, that results must be seen while others are still
            thinking: a result is released as soon as those have been thinking beyond its end. The workers wait for
            each other's decisions in real time, so the waiting is in what is measured. `simulate` knows the ends
            without it.
        tmp_dir: where ``mfhpo-simulator-info`` is; None for the working directory.
        batch_size: synchronous batches: one caller makes this many evaluations, which `n_workers` virtual workers run.
            Their ends are ordered among them; calls return at once.
        overhead: virtual seconds that a decision takes: ``"measured"``, the wall time since the caller's last call
            returned, and since the wrapper was made for a worker's first; ``"cpu"``, its thread's CPU time since then,
            0 for a first call; ``"none"``; or a function of ``(worker_index, number of that worker's call)``, charged
            to that caller alone, which makes a run reproducible.
        on_lost: how to treat the evaluation of a caller that dies. ``"fail"``: it is a failure, and the others
            continue; ``"leave"``: it is ignored; ``"raise"``: the run stops, and all calls raise `MemberLost`.

    Raises:
        BadArgument: an argument has a wrong value or type, or two contradict. It is a `ValueError`.
        RunExists: the directory exists already. It is a `FileExistsError`.
    """

    def __init__(
        self,
        obj_func: ObjectiveFuncType | Callable[..., dict[str, Any]],
        launch_multiple_wrappers_from_user_side: bool = False,
        ask_and_tell: bool = False,
        save_dir_name: str | None = None,
        n_workers: int = 4,
        n_actual_evals_in_opt: int = 105,
        n_evals: int = 100,
        fidel_keys: list[str] | None = None,
        obj_keys: list[str] | None = None,
        runtime_key: str = "runtime",
        seed: int | None = None,
        continual_max_fidel: int | None = None,
        max_waiting_time: float = math.inf,
        check_interval_time: float = 1e-4,
        store_config: bool = False,
        store_actual_cumtime: bool = False,
        allow_parallel_sampling: bool = False,
        config_tracking: bool = True,
        worker_index: int | None = None,
        max_total_eval_time: float = math.inf,
        expensive_sampler: bool = False,
        tmp_dir: str | None = None,
        batch_size: int | None = None,
        *,
        overhead: Overhead = "measured",
        on_lost: Literal["fail", "leave", "raise"] = "fail",
    ) -> None:
        options = WrapperOptions(
            launched=launch_multiple_wrappers_from_user_side,
            ask_and_tell=ask_and_tell,
            save_dir_name=save_dir_name,
            n_actual_evals_in_opt=n_actual_evals_in_opt,
            worker_index=worker_index,
            tmp_dir=tmp_dir,
            n_workers=n_workers,
            n_evals=n_evals,
            fidel_keys=fidel_keys,
            obj_keys=["loss"] if obj_keys is None else obj_keys,
            runtime_key=runtime_key,
            seed=seed,
            continual_max_fidel=continual_max_fidel,
            max_waiting_time=max_waiting_time,
            check_interval_time=check_interval_time,
            store_config=store_config,
            store_actual_cumtime=store_actual_cumtime,
            allow_parallel_sampling=allow_parallel_sampling,
            config_tracking=config_tracking,
            max_total_eval_time=max_total_eval_time,
            expensive_sampler=expensive_sampler,
            batch_size=batch_size,
            overhead=overhead,
            on_lost=on_lost,
        )
        self._settings = settings = options.settings()
        self._objective = Objective(obj_func, settings)
        self._thinking = Thinking(overhead)
        self._n_actual_evals_in_opt = n_actual_evals_in_opt
        self._dir_name = directory_of(save_dir_name, tmp_dir)
        self._path = os.path.abspath(self._dir_name)
        self._log = LogReader(self._path)
        self._run: Run | None = None
        self._loop: AskTellRun | None = None
        self._begin(options)
        self._made = perf_counter()

    def _begin(self, options: WrapperOptions) -> None:
        """Create the directory, and open what the calls of this wrapper need."""
        settings, path = self._settings, self._path
        if options.launched:
            os.makedirs(path, exist_ok=True)
            if how_it_ended(path) is not None or not is_shared(path):
                raise self._exists()
            self._run = Run(settings, path, host=None, worker=options.worker_index, one_worker=True)
            return
        try:
            os.makedirs(path)
        except FileExistsError:
            raise self._exists() from None
        if options.ask_and_tell:
            self._loop = AskTellRun(settings, path)
        else:
            one_worker = settings.batch_size is not None
            self._run = Run(settings, path, host=Host(settings, path), worker=None, one_worker=one_worker)

    def _exists(self) -> RunExists:
        return RunExists(f"The directory `{self._dir_name}` already exists. Remove it or give another save_dir_name.")

    @property
    def dir_name(self) -> str:
        """The directory of the results."""
        return self._dir_name

    @property
    def result_file_path(self) -> str:
        """The file that `get_results` reads."""
        return os.path.join(self._dir_name, RESULTS)

    @property
    def optimizer_overhead_file_path(self) -> str:
        """The file that `get_optimizer_overhead` reads."""
        return os.path.join(self._dir_name, SAMPLES)

    @property
    def obj_keys(self) -> list[str]:
        """Names of the objectives."""
        return list(self._settings.obj_keys)

    @property
    def runtime_key(self) -> str:
        """Name of the runtime."""
        return self._settings.runtime_key

    @property
    def fidel_keys(self) -> list[str]:
        """Names of the fidelities."""
        return list(self._settings.fidel_keys or ())

    @property
    def n_actual_evals_in_opt(self) -> int:
        """How many calls the optimiser will make, as given."""
        return self._n_actual_evals_in_opt

    @property
    def n_workers(self) -> int:
        """How many workers there are."""
        return self._settings.n_workers

    def get_results(self) -> dict[str, list[Any]]:
        """Return the columns of ``results.json``, one value per completion in the order of virtual time.

        During the run, this returns the completions so far, and writes the column files with them. A failure has its
        text in every objective. It may be called in any process. Costs the size of the log.

        Raises:
            SimulationError: no run has begun in this directory.
        """
        results: dict[str, list[Any]] = self._column_file(RESULTS)
        return results

    def get_optimizer_overhead(self) -> dict[str, list[float]]:
        """Return ``before_sample`` and ``after_sample``: when each decision began and ended, in virtual time."""
        samples: dict[str, list[float]] = self._column_file(SAMPLES)
        return samples

    def column_files(self) -> dict[str, dict[str, Any]]:
        """Return the contents of the column files by name, as they would be now. Writes nothing.

        Decisions have a column ``worker_index``, which their file has not. For subclasses that keep files of their own.
        May be called from any process. Costs what there is to read.

        Raises:
            SimulationError: no run has begun in this directory.
        """
        return column_files(self._path)

    def completed_after(self, number: int) -> Progress:
        """Return what the column files would have beyond the first `number` completions. Writes nothing.

        For subclasses that keep files of their own. May be called from any thread and process. Costs what is new since
        the last call in this process, and what is returned.

        Returns:
            The columns `results` of these completions, and `decisions`, the decision of each; `states` as they are now;
            and `is_over`, whether the run has ended.

        Raises:
            SimulationError: no run has begun in this directory.
        """
        return self._log.after(number)

    def _column_file(self, name: str) -> Any:
        if how_it_ended(self._path) is None:
            publish(self._path)
            if how_it_ended(self._path) is not None:
                publish(self._path)  # the run has ended meanwhile, and our files may have replaced its final ones
        with open(os.path.join(self._path, name), encoding="utf-8") as file:
            return json.load(file)

    def simulate(self, opt: Any) -> None:
        """Run an optimiser with `ask` and `tell` until `n_evals` evaluations are completed, in this thread.

        Nothing is told before every worker has been given its first evaluation. From then on a decision knows
        everything that had ended when it began.

        Args:
            opt: see `AbstractAskTellOptimizer`. Errors of the optimiser or the objective are not caught.

        Raises:
            WrongMode: the wrapper was not made with ``ask_and_tell=True``. It is a `NotImplementedError`.
            SimulationError: it has run already.
            BadArgument: `opt` lacks a method.
        """
        if self._loop is None:
            raise WrongMode(
                "This wrapper was made for workers to call; to use simulate(opt), make it with ask_and_tell=True."
            )
        self._loop.run(opt, self._objective, self._thinking)

    def close(self) -> None:
        """Leave the run, and end it if it was made in this process. Results stay. A second call does nothing."""
        if self._run is not None:
            self._run.close()

    def __enter__(self) -> ObjectiveFuncWrapper:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(
        self,
        eval_config: dict[str, Any],
        *,
        fidels: dict[str, int | float] | None = None,
        config_id: int | None = None,
        **data_to_scatter: Any,
    ) -> dict[str, Any]:
        """Evaluate and wait for the virtual end; returns the objectives and the runtime that was charged.

        Args:
            eval_config: the configuration.
            fidels: fidelity name -> value.
            config_id: identifies the configuration across fidelities; without, its content does.
            data_to_scatter: passed to the objective.

        Raises:
            BadArgument: fidelities or `config_id` are wrong; nothing was evaluated.
            WrongKeys: fidelities, or the objective's results, have other keys than those given at construction.
            WaitedTooLong: this call gave up on the run after `max_waiting_time`. It is a `TimeoutError`.
            MemberLost: others died or did not come, and the run cannot go on. It is an `InterruptedError`.
            TooManyCallers: this caller is one too many. It is a `ProcessLookupError`.
            WrongMode: the wrapper was made with ``ask_and_tell=True``. It is a `NotImplementedError`.
            SimulationError: there is no coordinator.
        """
        if self._run is None:
            raise WrongMode(
                "This wrapper was made with ask_and_tell=True: call simulate(opt), or make it with ask_and_tell=False "
                "to call it as a function."
            )
        session = self._run.session()
        if session is None:
            return self._sentinel()
        with session.busy:
            try:
                results = self._call(session, eval_config, fidels, config_id, data_to_scatter)
                self.after_evaluation()
                return results
            finally:
                self._thinking.returned(session)

    def after_evaluation(self) -> None:
        """For subclasses: called at the end of each call, in its thread, before its next decision is measured."""

    def _call(
        self,
        session: CallerSession,
        eval_config: dict[str, Any],
        fidels: dict[str, Any] | None,
        config_id: Any,
        data: dict[str, Any],
    ) -> dict[str, Any]:
        since = session.returned if session.returned is not None else self._made if session.first else None
        wall = 0.0 if since is None else max(0.0, perf_counter() - since)
        fidelity = self._objective.check_fidels(fidels)
        session.look()
        if session.over:
            return self._sentinel()
        overhead: float | None = self._thinking.of_call(session, wall)
        seed = session.seed
        if fidelity is not None or (config_id is not None and self._settings.config_tracking):
            begun = session.call(overhead or 0.0, wall, self._objective.identify(eval_config, config_id, fidelity))
            if isinstance(begun, Over):
                session.over = True
                return self._sentinel()
            seed, overhead = begun.seed, None
        elif self._settings.expensive_sampler:
            session.started(overhead or 0.0, wall)
            overhead = None
        session.calls += 1
        session.evaluating(1)
        try:
            results, runtime, text = self._objective.evaluate(eval_config, fidels, seed, data)
        except Exception as error:
            failure = Result(math.nan, True, self._objective.failure(error, eval_config, fidels))
            with contextlib.suppress(SimulationError):  # the caller shall see the error of the objective
                self._finish(session, overhead, wall, failure)
            raise
        except BaseException:
            self._leave()  # an interrupt, or the end of the process, does not wait for the virtual end
            raise
        charged = self._finish(session, overhead, wall, Result(runtime, False, text))
        if charged is None:
            return self._sentinel()
        return self._objective.reported(results, charged)

    def _finish(self, session: CallerSession, overhead: float | None, wall: float, result: Result) -> float | None:
        """Wait for the virtual end; return the charged seconds, or None if the run was over before."""
        try:
            reply = session.finish(overhead, wall, result)
        except SimulationError:
            raise
        except BaseException:
            self._leave()  # interrupted while it waited: no call will take the reply
            raise
        if isinstance(reply, Over):
            session.over = True
            return None
        session.seed, session.over = reply.seed, reply.over
        return reply.charged

    def _sentinel(self) -> dict[str, Any]:
        return dict.fromkeys((*self._settings.obj_keys, self._settings.runtime_key), SENTINEL)

    def _leave(self) -> None:
        if self._run is not None:
            self._run.leave()

    def per_caller(self: Self) -> list[Self]:
        """This wrapper for each of its callers alone, worker by worker; with `batch_size` there is one caller.

        Raises:
            WrongMode: it is not called, or is one worker already. It is a `NotImplementedError`.
        """
        host = None if self._run is None else self._run.host
        if host is None:
            raise WrongMode(
                "This wrapper is not of several callers: make it in this process, without ask_and_tell and "
                "launch_multiple_wrappers_from_user_side."
            )
        wrappers = []
        for worker in range(self._settings.num_callers):
            wrappers.append(copy.copy(self))
            wrappers[-1]._run = Run(self._settings, self._path, host=host, worker=worker, one_worker=True)
        return wrappers
