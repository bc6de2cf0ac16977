"""The ask-and-tell loop over virtual workers: it asks, evaluates and tells in the order that the kernel gives.

::

    kernel.poll ─► ASK   ─► ask the optimiser, charge its time, kernel.ask ─► evaluate
                ─► BEGIN ─► evaluate what was asked for earlier
                ─► n     ─► job n has ended: tell the optimiser

Both `simulate` and the wrapper use it; they differ in how a job is evaluated, and in what is kept of it.
"""

from __future__ import annotations

import abc
import inspect
from typing import TYPE_CHECKING, Any

from evalpool._clock import perf_counter, thread_time
from evalpool.errors import SimulationError
from evalpool.jobs._job import Job
from evalpool.search._asktell import Asked, AskTell
from evalpool.simulation._checkpoints import Configurations
from evalpool.simulation._kernel import ASK, BEGIN, NOTHING, Kernel
from evalpool.simulation._seconds import check_overhead

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["NO_JOB", "Key", "Loop", "Proposals"]

NO_JOB: Job[Any] = Job(None, None, "simulated", -1, {}, "hpo", 0.0)
"""A placeholder for optimisers that do not take jobs: to make a job for each result would cost a tenth of the time."""

Key = tuple["str | None", "int | None"]
"""A configuration's key and fidelity, for the kernel; both None if the kernel does not need them."""

Proposals = list[tuple[Asked, Key]]


class Loop(abc.ABC):
    """One run of an optimiser. In this thread.

    Args:
        kernel: a new one.
        configurations: gives keys to configurations.
        batch_size: jobs of a synchronous batch; None for asynchronous workers.
        uses_cpu: whether CPU time is charged. To read it costs more than the rest of the loop, so it is read only then.
    """

    def __init__(
        self, kernel: Kernel, configurations: Configurations, batch_size: int | None, *, uses_cpu: bool
    ) -> None:
        self._kernel = kernel
        self._configurations = configurations
        self._batch_size = batch_size
        self._uses_cpu = uses_cpu
        self._told_in = self._told_in_cpu = 0.0  # seconds that `tell` took since the last decision
        self._stopped = False  # whether the run shall end

    def _take(self, opt: Any) -> None:
        """Set the optimiser. Raises `BadArgument` if `opt` is not one."""
        self._optimizer, self._wants_job = asktell(opt)

    def _run(self) -> None:
        """Run until the run is over. Errors of the optimiser are not caught."""
        if self._batch_size is None:
            self._asynchronous()
        else:
            self._in_batches(self._batch_size)

    # Where the faces differ.

    @abc.abstractmethod
    def _charge(self, wall: float, cpu: float, batch: int | None) -> float:
        """Return the virtual seconds of the decision that is due, or of a batch's decision."""

    @abc.abstractmethod
    def _fidelity(self, asked: Asked) -> int | None:
        """Return the fidelity for continuation; None without continuation. Raises if it is wrong."""

    @abc.abstractmethod
    def _note(self, job: int, asked: Asked, before: float, after: float, wall: float) -> None:
        """Note that job `job` was asked for, by a decision from `before` to `after`, and of `wall` real seconds."""

    @abc.abstractmethod
    def _evaluate(self, job: int) -> None:
        """Evaluate a job that starts, now or soon, and tell the kernel."""

    @abc.abstractmethod
    def _complete(self, job: int) -> None:
        """Tell the optimiser of a job whose virtual end has come."""

    def _enter(self, asked: Asked, overhead: float, key: Key) -> int:
        """Make a job of a proposal; return its number."""
        return self._kernel.ask(overhead, *key, asked.options)

    def _enter_batch(self, proposals: Proposals) -> Sequence[int]:
        """As `_enter`, for jobs that wait for workers."""
        return [self._kernel.submit(*key, asked.options) for asked, key in proposals]

    def _run_batch(self) -> list[int]:
        """Run the waiting jobs; return those that ended, in order."""
        kernel = self._kernel
        ended: list[int] = []
        while True:
            while (job := kernel.startable()) >= 0:
                kernel.start()
                self._evaluate(job)
            if (job := kernel.step()) < 0:
                return ended
            ended.append(job)

    def _meanwhile(self, answer: int) -> None:
        """Handle an answer of the kernel that occurs only if jobs are evaluated elsewhere."""
        raise SimulationError(f"The kernel answered {answer}, and every job has been evaluated; this is a bug.")

    # What is the same for all faces.

    def _asynchronous(self) -> None:
        kernel = self._kernel
        poll = kernel.poll
        while (answer := poll()) != NOTHING and not self._stopped:
            if answer >= 0:
                self._complete(answer)
            elif answer == ASK:
                before = kernel.decision
                assert before is not None
                asked, wall, cpu = self._ask()
                job = self._enter(asked, self._charge(wall, cpu, None), self._key(asked))
                self._note(job, asked, before, kernel.start_of(job), wall)
                if not kernel.begins_later:
                    self._evaluate(job)
            elif answer == BEGIN:
                self._evaluate(kernel.marked)
            else:
                self._meanwhile(answer)

    def _in_batches(self, size: int) -> None:
        """For each batch: proposals, one overhead, evaluations, a barrier; then all results are told in order."""
        kernel, batch = self._kernel, 0
        while not self._stopped and (count := min(size, kernel.room)):
            before, wall, cpu = kernel.clock, 0.0, 0.0
            proposals: Proposals = []
            for _ in range(count):
                asked, one_wall, one_cpu = self._ask()
                proposals.append((asked, self._key(asked)))
                wall, cpu = wall + one_wall, cpu + one_cpu
            after = before + check_overhead(self._charge(wall, cpu, batch))
            kernel.advance(after)
            batch += 1
            for job, (asked, _) in zip(self._enter_batch(proposals), proposals, strict=True):
                self._note(job, asked, before, after, wall)
            for job in self._run_batch():
                self._complete(job)
        if not self._stopped:
            kernel.conclude()

    def _ask(self) -> tuple[Asked, float, float]:
        """Return a proposal, and the real and CPU seconds that the optimiser has used since the last one."""
        began, began_cpu = perf_counter(), thread_time() if self._uses_cpu else 0.0
        asked = self._optimizer.ask()
        wall = perf_counter() - began + self._told_in
        cpu = thread_time() - began_cpu + self._told_in_cpu if self._uses_cpu else 0.0
        self._told_in = self._told_in_cpu = 0.0
        return asked, wall, cpu

    def _tell(self, job: Any, asked: Asked, results: dict[str, Any] | None) -> None:
        """Tell the optimiser a result, and note how long that took."""
        began, began_cpu = perf_counter(), thread_time() if self._uses_cpu else 0.0
        self._optimizer.tell(job, asked, results)
        self._told_in += perf_counter() - began
        if self._uses_cpu:
            self._told_in_cpu += thread_time() - began_cpu

    def _key(self, asked: Asked) -> Key:
        fidelity = self._fidelity(asked)
        if fidelity is None and (asked.config_id is None or not self._configurations.tracking):
            return None, None
        return self._configurations.key(asked.eval_config, asked.config_id), fidelity


def asktell(opt: Any) -> tuple[AskTell, bool]:
    """Return the optimiser, and whether its `tell` may take a job.

    A `tell` with ``*args`` accepts anything; such an optimiser gets results, not jobs.
    """
    tell = getattr(opt, "tell", None)
    if callable(tell) and callable(getattr(opt, "ask", None)):
        parameters = inspect.signature(tell).parameters
        kinds = {parameter.kind for parameter in parameters.values()}
        if inspect.Parameter.VAR_POSITIONAL in kinds:
            named = type(type(opt).__name__, (_TakesAnything,), {})  # errors name the class of the optimiser
            return AskTell(named(opt, inspect.Parameter.VAR_KEYWORD in kinds)), False
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
