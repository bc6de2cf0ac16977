"""The ask-and-tell loop of the simulated wrapper. It has no coordinator, because there are no other callers."""

from __future__ import annotations

from typing import Any, NamedTuple

from evalpool._clock import unix_time
from evalpool.errors import BadArgument, SimulationError
from evalpool.jobs._job import Job
from evalpool.jobs._options import NO_OPTIONS
from evalpool.jobs._seeds import Seeds, fresh_seed
from evalpool.outcomes import JobStatus, Outcome
from evalpool.search._asktell import Asked
from evalpool.simulation._checkpoints import Configurations
from evalpool.simulation._files import CompletionLog, completion
from evalpool.simulation._kernel import Kernel
from evalpool.simulation._loop import NO_JOB, Loop
from evalpool.simulation._objective import Objective
from evalpool.simulation._run import RunSettings
from evalpool.simulation._thinking import Thinking

__all__ = ["AskTellRun"]


class _Evaluated(NamedTuple):
    asked: Asked
    results: dict[str, Any]
    runtime: float
    text: bytes
    seed: int
    resumed: int | None


class AskTellRun(Loop):
    """One run of `ObjectiveFuncWrapper.simulate`."""

    def __init__(self, settings: RunSettings, directory: str) -> None:
        kernel = Kernel(
            settings.n_workers,
            sampling=settings.sampling,
            tell="warmup",
            continual_max_fidel=settings.continual_max_fidel,
            max_evals=settings.n_evals,
            max_time=settings.max_total_eval_time,
        )
        configurations = Configurations(settings.config_tracking)
        super().__init__(kernel, configurations, settings.batch_size, uses_cpu=settings.overhead == "cpu")
        self._settings = settings
        self._directory = directory
        self._seed = fresh_seed() if settings.seed is None else settings.seed
        self._seed_of = Seeds(self._seed)
        self._log = CompletionLog(directory, new=True)
        self._log.begin(settings.as_json(), self._seed)
        self._asked: dict[int, Asked] = {}
        self._decisions: dict[int, tuple[float, float, float]] = {}  # before, after, wall
        self._evaluated: dict[int, _Evaluated] = {}
        self._calls = [0] * settings.n_workers
        self._began = False

    def run(self, opt: Any, objective: Objective, thinking: Thinking) -> None:
        """See `ObjectiveFuncWrapper.simulate`."""
        if self._began:
            raise SimulationError("This wrapper has simulated an optimizer already; make a new one for another.")
        self._take(opt)
        self._began = True
        self._objective, self._thinking = objective, thinking
        self._started = unix_time()
        try:
            self._run()
            left = [
                {"job": job, "worker": self._kernel.worker_of(job), "before": before, "after": after}
                for job, (before, after, _) in self._decisions.items()
            ]
            self._log.end(self._kernel.over or "", left, self._directory)
        finally:
            self._log.close()

    def _charge(self, wall: float, cpu: float, batch: int | None) -> float:
        if batch is not None:
            return self._thinking.of_decision(wall, cpu, 0, batch)
        worker = self._kernel.next_worker
        call = self._calls[worker]
        self._calls[worker] += 1
        return self._thinking.of_decision(wall, cpu, worker, call)

    def _fidelity(self, asked: Asked) -> int | None:
        if asked.options is not NO_OPTIONS:
            raise BadArgument(
                f"ask() returned a Submission with {asked.options.chosen()!r}, but jobs of ObjectiveFuncWrapper have "
                "no options. Return only its configuration, or use evalpool.simulate."
            )
        return self._objective.check_fidels(asked.fidels)

    def _note(self, job: int, asked: Asked, before: float, after: float, wall: float) -> None:
        self._asked[job] = asked
        self._decisions[job] = (before, after, wall)

    def _evaluate(self, job: int) -> None:
        kernel, asked = self._kernel, self._asked[job]
        checkpoint = kernel.resumed(job)
        seed = self._seed_of(job)
        if checkpoint is not None and checkpoint.seed is not None:
            seed = checkpoint.seed
        results, runtime, text = self._objective.evaluate(asked.eval_config, asked.fidels, seed, {})
        kernel.finish(job, runtime, seed=seed)
        resumed = checkpoint.job if checkpoint is not None else None
        self._evaluated[job] = _Evaluated(asked, results, runtime, text, seed, resumed)

    def _complete(self, job: int) -> None:
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
                actual=unix_time() - self._started if settings.store_actual_cumtime else None,
                resumed=done.resumed,
                left=left,
            )
        )
        results = {**done.results, **self._objective.reported(done.results, charged)}
        self._tell(_job(job, asked, results, settings) if self._wants_job else NO_JOB, asked, results)


def _job(number: int, asked: Asked, results: dict[str, Any], settings: RunSettings) -> Job[Any]:
    """Make a job for optimisers that take one; its objective is what the objective function returned."""
    values = [results[key] for key in settings.obj_keys]
    job: Job[Any] = Job(None, None, "simulated", number, asked.configuration, "hpo", 0.0)
    objective = values[0] if len(values) == 1 else tuple(values)
    job._outcome, job._status = Outcome(JobStatus.DONE, objective, results), JobStatus.DONE
    return job
