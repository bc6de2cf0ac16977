"""The ask-and-tell loop of the simulated wrapper: one thread, an optimiser, and virtual workers.

Asking, evaluating and telling in the order that the kernel gives; no coordinator, because there is nobody to wait for.
"""

from __future__ import annotations

import inspect
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from evalpool._asktell import Asked, AskTell
from evalpool.errors import SimulationError
from evalpool.evaluator._job import Job
from evalpool.evaluator._seeds import fresh_seed
from evalpool.outcomes import JobStatus, Outcome
from evalpool.simulation._checkpoints import Configurations
from evalpool.simulation._files import CompletionLog, completion
from evalpool.simulation._kernel import ASK, BEGIN, NOTHING, Kernel
from evalpool.simulation._run import RunSettings
from evalpool.simulation._seeds import Seeds

if TYPE_CHECKING:
    from evalpool.simulation._wrapper import ObjectiveFuncWrapper

__all__ = ["AskTellRun"]

NO_JOB: Job[Any] = Job(None, None, "simulated", -1, {}, "hpo", 0.0)
"""For optimisers that are told results: to make a job for each would cost a tenth of the time."""


class _Evaluated(NamedTuple):
    asked: Asked
    results: dict[str, Any]
    runtime: float
    text: bytes
    seed: int
    resumed: int | None


class AskTellRun:
    """One run of `ObjectiveFuncWrapper.simulate`."""

    def __init__(self, settings: RunSettings, directory: str) -> None:
        self._settings = settings
        self._directory = directory
        self._seed = fresh_seed() if settings.seed is None else settings.seed
        self._seed_of = Seeds(self._seed)
        self._log = CompletionLog(directory, new=True)
        self._log.begin(settings.as_json(), self._seed)
        self._kernel = Kernel(
            settings.n_workers,
            sampling=settings.sampling,
            tell="asap" if settings.expensive_sampler else "warmup",
            continual_max_fidel=settings.continual_max_fidel,
            max_evals=settings.n_evals,
            max_time=settings.max_total_eval_time,
        )
        self._configurations = Configurations(settings.config_tracking)
        self._asked: dict[int, Asked] = {}
        self._decisions: dict[int, tuple[float, float, float]] = {}  # before, after, wall
        self._evaluated: dict[int, _Evaluated] = {}
        self._calls = [0] * settings.n_workers
        self._told_in = self._told_in_cpu = 0.0  # what the optimiser took to learn since its last decision
        self._began = False

    def run(self, opt: Any, wrapper: ObjectiveFuncWrapper) -> None:
        """See `ObjectiveFuncWrapper.simulate`."""
        if self._began:
            raise SimulationError("This wrapper has simulated an optimizer already; make another for the next.")
        optimizer, self._wants_job = _asktell(opt)
        self._uses_cpu = wrapper._overhead == "cpu"
        self._began = True
        self._started = time.time()
        try:
            if self._settings.batch_size is None:
                self._asynchronous(optimizer, wrapper)
            else:
                self._in_batches(optimizer, wrapper, self._settings.batch_size)
            left = [
                {"job": job, "worker": self._kernel.worker_of(job), "before": before, "after": after}
                for job, (before, after, _) in self._decisions.items()
            ]
            self._log.end(self._kernel.over or "", left, self._directory)
        finally:
            self._log.close()

    def _asynchronous(self, optimizer: AskTell, wrapper: ObjectiveFuncWrapper) -> None:
        kernel = self._kernel
        while (answer := kernel.poll()) != NOTHING:
            if answer >= 0:
                self._complete(answer, optimizer, wrapper)
            elif answer == ASK:
                asked, wall, cpu = self._ask(optimizer)
                before = kernel.decision
                assert before is not None
                worker = kernel.next_worker
                overhead = wrapper.measures(wall, cpu, worker, self._calls[worker])
                self._calls[worker] += 1
                job = kernel.ask(overhead, *self._key(asked, wrapper))
                self._asked[job] = asked
                self._decisions[job] = (before, kernel.start_of(job), wall)
                if not kernel.begins_later:
                    self._evaluate(job, wrapper)
            elif answer == BEGIN:
                self._evaluate(kernel.marked, wrapper)

    def _in_batches(self, optimizer: AskTell, wrapper: ObjectiveFuncWrapper, size: int) -> None:
        """Proposals, one overhead, all evaluations, a barrier, and everything is told in the order of ends."""
        kernel, batch = self._kernel, 0
        while not kernel.over and kernel.clock < self._settings.max_total_eval_time:
            before, wall, cpu = kernel.clock, 0.0, 0.0
            proposals = []
            for _ in range(min(size, self._settings.n_evals - kernel.num_submitted)):
                asked, one_wall, one_cpu = self._ask(optimizer)
                proposals.append(asked)
                wall, cpu = wall + one_wall, cpu + one_cpu
            keys = [self._key(asked, wrapper) for asked in proposals]
            after = before + wrapper.measures(wall, cpu, 0, batch)
            kernel.advance(after)
            batch += 1
            ended: list[int] = []
            for asked, key in zip(proposals, keys, strict=True):
                job = kernel.submit(*key)
                self._asked[job] = asked
                self._decisions[job] = (before, after, wall)
            while True:
                while (job := kernel.startable()) >= 0:
                    kernel.start()
                    self._evaluate(job, wrapper)
                if (job := kernel.step()) < 0:
                    break
                ended.append(job)
            for job in ended:
                self._complete(job, optimizer, wrapper)
        kernel.over = kernel.over or "max_time"

    def _ask(self, optimizer: AskTell) -> tuple[Asked, float, float]:
        """A proposal, and the real and CPU seconds that the optimiser has taken since the last one."""
        began, began_cpu = time.perf_counter(), self._cpu_time()
        asked = optimizer.ask()
        wall = time.perf_counter() - began + self._told_in
        cpu = self._cpu_time() - began_cpu + self._told_in_cpu
        self._told_in = self._told_in_cpu = 0.0
        return asked, wall, cpu

    def _key(self, asked: Asked, wrapper: ObjectiveFuncWrapper) -> tuple[str | None, int | None]:
        fidelity = wrapper.check_fidels(asked.fidels)
        if fidelity is None and (asked.config_id is None or not self._settings.config_tracking):
            return None, None
        return self._configurations.key(asked.eval_config, asked.config_id), fidelity

    def _evaluate(self, job: int, wrapper: ObjectiveFuncWrapper) -> None:
        kernel, asked = self._kernel, self._asked[job]
        checkpoint = kernel.resumed(job)
        seed = self._seed_of(job)
        if checkpoint is not None and checkpoint.seed is not None:
            seed = checkpoint.seed
        results, runtime, text = wrapper.evaluate(asked.eval_config, asked.fidels, seed, {})
        kernel.finish(job, runtime, seed=seed)
        resumed = checkpoint.job if checkpoint is not None else None
        self._evaluated[job] = _Evaluated(asked, results, runtime, text, seed, resumed)

    def _complete(self, job: int, optimizer: AskTell, wrapper: ObjectiveFuncWrapper) -> None:
        kernel, settings = self._kernel, self._settings
        done = self._evaluated.pop(job)
        asked = self._asked.pop(job)
        before, after, wall = self._decisions.pop(job)
        charged = kernel.charged(job)
        limit, left = settings.continual_max_fidel, None
        if limit is not None and settings.fidel_keys is not None and asked.fidels is not None:
            fidelity = asked.fidels[settings.fidel_keys[0]]
            if fidelity < limit:
                left = (self._configurations.key(asked.eval_config, asked.config_id), int(fidelity), done.runtime)
        self._log.write(
            completion(
                job=job,
                worker=kernel.worker_of(job),
                before=before,
                after=after,
                end=kernel.end_of(job),
                charged=charged,
                wall=wall,
                seed=done.seed,
                failed=False,
                text=done.text,
                actual=time.time() - self._started if settings.store_actual_cumtime else None,
                resumed=done.resumed,
                left=left,
            )
        )
        began, began_cpu = time.perf_counter(), self._cpu_time()
        results = {**done.results, **wrapper.reported(done.results, charged)}
        optimizer.tell(_job(job, asked, results, settings) if self._wants_job else NO_JOB, asked, results)
        self._told_in += time.perf_counter() - began
        self._told_in_cpu += self._cpu_time() - began_cpu

    def _cpu_time(self) -> float:
        """It costs more than all else here, so it is asked for only where it is charged."""
        return time.thread_time() if self._uses_cpu else 0.0


def _asktell(opt: Any) -> tuple[AskTell, bool]:
    """The optimiser, and whether it may be told of a job.

    Of one whose `tell` takes anything it is known here what it is to be told.
    """
    tell = getattr(opt, "tell", None)
    if callable(tell) and callable(getattr(opt, "ask", None)):
        parameters = inspect.signature(tell).parameters
        kinds = {parameter.kind for parameter in parameters.values()}
        if inspect.Parameter.VAR_POSITIONAL in kinds:
            return AskTell(_TakesAnything(opt, inspect.Parameter.VAR_KEYWORD in kinds)), False
        return AskTell(opt), not parameters.keys() & {"results", "fidels", "config_id"}
    return AskTell(opt), True


class _TakesAnything:
    def __init__(self, opt: Any, keywords: bool) -> None:
        self._opt = opt
        self._keywords = keywords
        self.ask = opt.ask

    def tell(self, eval_config: Any, results: Any, *, fidels: Any, config_id: Any) -> None:
        if self._keywords:
            self._opt.tell(eval_config, results, fidels=fidels, config_id=config_id)
        else:
            self._opt.tell(eval_config, results)


def _job(number: int, asked: Asked, results: dict[str, Any], settings: RunSettings) -> Job[Any]:
    """For optimisers that are told of a job; its objective is what the objective function returned."""
    values = [results[key] for key in settings.obj_keys]
    job: Job[Any] = Job(None, None, "simulated", number, asked.configuration, "hpo", 0.0)
    objective = values[0] if len(values) == 1 else tuple(values)
    job._outcome, job._status = Outcome(JobStatus.DONE, objective, results), JobStatus.DONE
    return job
