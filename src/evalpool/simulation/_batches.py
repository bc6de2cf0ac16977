"""Synchronous batches: one caller submits the jobs of a batch one after the other, and many virtual workers run them.

::

    calls      |b b b b|          return at once, each with its own results
    worker-0   |think|0-|3------|
    worker-1         |1------|  a barrier
    worker-2         |2--|      |think|4 ...

A batch begins when all jobs of the previous one have ended, and after the decision for it, which is charged once. The
completions of a batch are logged together, in the order of their ends.
"""

from __future__ import annotations

import math
from typing import Any

from evalpool.errors import BadArgument, MemberLost
from evalpool.simulation._caller import Call, Caller, failure_text
from evalpool.simulation._coordinator import Coordinator
from evalpool.simulation._entry import Entered
from evalpool.simulation._kernel import NOTHING, Kernel
from evalpool.simulation._run import Begun, Over, Released, Result
from evalpool.simulation._seconds import check_overhead

__all__ = ["BatchCoordinator"]


class BatchCoordinator(Coordinator):
    """As `Coordinator`, for one caller whose calls never wait. A job that dies with its caller is a failure."""

    def _set_up(self, state: dict[str, Any] | None) -> None:
        settings = self.settings
        if settings.batch_size is None:
            raise BadArgument("batch_size is None; give the number of jobs in a batch.")
        self._size = settings.batch_size
        self._filled = 0  # how many jobs the current batch has
        self._before = self._after = 0.0  # begin and end of its decision
        self._ended: list[int] = []  # its jobs that have ended already, in order
        self._under_way: Call | None = None
        if state is None:
            self._kernel = Kernel(
                settings.n_workers,
                continual_max_fidel=settings.continual_max_fidel,
                max_evals=settings.n_evals,
                max_time=settings.max_total_eval_time,
            )
            self._places.reserved = {0: 0}
        else:
            self._kernel = Kernel.restore(state["kernel"])
            self._places.reserved = dict(state["reserved"])

    def _arrive(self, worker: int) -> int:
        return self._kernel.num_submitted

    def _pump(self) -> None:
        """Do nothing: no caller of a batch ever waits."""

    def call(self, caller: Caller, overhead: float, wall: float, fields: dict[str, Any]) -> None:
        with Entered(self):
            if self._goes_on(caller):
                call = self._start(caller, overhead, wall, self._configurations.asked(fields))
                checkpoint = self._kernel.resumed(caller.job)
                if call is not None:
                    caller.deliver(Begun(call.seed, checkpoint.fidelity if checkpoint is not None else None))

    def started(self, caller: Caller, overhead: float, wall: float) -> None:
        with Entered(self):
            if self._failure is None and not self._is_over() and caller.job != NOTHING:
                self._start(caller, overhead, wall, None)

    def finish(self, caller: Caller, overhead: float | None, wall: float, result: Result) -> bool:
        with Entered(self):
            if not self._goes_on(caller):
                return False
            call = self._under_way if overhead is None else self._start(caller, overhead, wall, None)
            if call is None:
                return False
            job, caller.job = caller.job, NOTHING  # the caller gets its reply below, also if this ends the run
            self._end(job, call, result)
            charged = self._kernel.charged(job)
            if self._is_over():
                caller.deliver(Released(charged, 0, True))
            else:
                self._think(caller, self._kernel.num_submitted)
                caller.deliver(Released(charged, caller.seed, False))
        return False

    def _start(self, caller: Caller, overhead: float, wall: float, key: tuple[str, int] | None) -> Call | None:
        """Run the virtual workers until this job starts. If that is too late, reply `Over` and return None."""
        kernel = self._kernel
        if self._filled == 0:
            self._before = kernel.clock
            self._after = kernel.clock + check_overhead(overhead)
            if self._before >= self.settings.max_total_eval_time:
                kernel.over = "max_time"
            else:
                kernel.advance(self._after)
        call = Call(caller, overhead, wall, caller.seed)
        call.before, call.after, call.key = self._before, self._after, key
        if kernel.over is None:
            job = kernel.submit(*key) if key is not None else kernel.submit()
            self._calls[job] = call
            self._places.brought[0] += 1
            while kernel.startable() != job and self._step():
                pass
        if kernel.over is not None:
            self._close_batch()
            caller.job = NOTHING
            caller.deliver(Over())
            return None
        kernel.start()
        checkpoint = kernel.resumed(job)
        if checkpoint is not None:
            call.resumed = checkpoint.job
            call.seed = checkpoint.seed if checkpoint.seed is not None else call.seed
        self._under_way = call
        return call

    def _end(self, job: int, call: Call, result: Result) -> None:
        self._under_way = None
        call.result = result
        self._kernel.finish(job, result.runtime, failed=result.failed, seed=call.seed)
        self._filled += 1
        if self._filled == self._size or self._kernel.num_submitted == self.settings.n_evals:
            self._close_batch()

    def _step(self) -> bool:
        job = self._kernel.step()
        if job >= 0:
            self._ended.append(job)
        return job >= 0

    def _close_batch(self) -> None:
        """Let all jobs of the batch end, and log them: the barrier."""
        while self._step():
            pass
        for job in self._ended:
            call = self._calls.pop(job)
            self._log.write(call.line(job, self._kernel, self.settings, self._started))
        self._ended.clear()
        self._filled = 0
        if self._is_over():
            self._end_run()

    def _depart(self, caller: Caller, clean: bool, evaluating: bool) -> None:
        if not self._places.leave(caller):
            return
        if self._failure is not None or self._is_over():
            return
        text = f"The caller of a batch ({caller.name}) {'left' if clean else 'died'}"
        unfinished = self._under_way is not None or evaluating
        if self.settings.on_lost == "raise" and (unfinished or not clean):
            self._break(MemberLost(f"{text}. The run was stopped because on_lost is 'raise'."))
            return
        if self._under_way is not None:
            failure = Result(math.nan, True, failure_text("F_worker_died", text))
            self._end(caller.job, self._under_way, failure)
        self._close_batch()
        if not self._is_over():
            self._places.vacant.add(caller.worker)
