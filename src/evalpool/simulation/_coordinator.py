"""Decides which caller of a simulated objective is next in virtual time.

::

    caller                 coordinator                                                   kernel
    call, evaluate ──► result ──► is it the next decision?           ──► place, finish
         wait                     which end can nothing precede?     ◄── release
    return      ◄── Released ◄──  a line in the log               ──► turn
    think ...

One lock guards the coordinator. Every entry takes it, changes the state, and then does everything that is possible now
(`_pump`). So the thread that brings a result also releases the callers that are next because of it. Callers in threads
of this process enter directly; those in other processes through a server. Nothing here waits. The cost of an
evaluation depends neither on the number of earlier ones nor on the number of callers.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from evalpool._clock import monotonic, unix_time
from evalpool._log import get_logger
from evalpool.errors import MemberLost, SimulationError, WaitedTooLong
from evalpool.jobs._seeds import Seeds
from evalpool.simulation._caller import Call, Caller, again, failure_text, ignore
from evalpool.simulation._checkpoints import Configurations
from evalpool.simulation._entry import Entered
from evalpool.simulation._exchange import Exchange
from evalpool.simulation._files import CompletionLog
from evalpool.simulation._kernel import NOTHING, WAIT, Kernel
from evalpool.simulation._places import Places
from evalpool.simulation._run import Begun, Joined, Over, Released, Result, RunSettings
from evalpool.simulation._turns import CallerKernel
from evalpool.simulation._waiting import WaitingCalls

__all__ = ["Coordinator"]

logger = get_logger()


class Coordinator:
    """The coordinator of one run; see the module. Every public method may be called from any thread.

    Args:
        settings: of the run.
        directory: of the run's log.
        seed: the seeds of jobs derive from it.
        state: the `state` of an earlier coordinator of this run, to continue from; or None.
    """

    def __init__(
        self, settings: RunSettings, directory: str, seed: int, *, state: dict[str, Any] | None = None
    ) -> None:
        self.settings = settings
        self.directory = directory
        self.seed = seed
        self.lock = threading.Lock()
        self.on_change: Callable[[], None] = ignore  # the deadline may have come nearer
        self.began: float | None = None  # when the decisions of callers that have not joined began, by monotonic clock
        self._log = CompletionLog(directory, new=state is None)
        self._configurations = Configurations(settings.config_tracking)
        self._places = Places(settings.num_callers)
        self._calls: dict[int, Call] = {}  # all calls by job, from their first message to their release
        self._held: dict[int, Call] = {}  # the calls whose decision is not placed yet
        self._to_claim: dict[int, Call] = {}  # the calls that may still find a checkpoint
        self._waiting = WaitingCalls(settings)  # the calls that wait for a reply
        self._departed: deque[tuple[Caller, bool, bool]] = deque()
        self._failure: SimulationError | None = None
        self._seed_of = Seeds(seed)
        if state is None:
            self._started = unix_time()
            self._log.begin(settings.as_json(), seed)
        else:
            self._started, self._places.brought = state["started"], list(state["brought"])
            self._configurations.restore(state["configurations"])
        self._set_up(state)

    def _set_up(self, state: dict[str, Any] | None) -> None:
        self._kernel: Kernel
        self._exchange: Exchange | None = None
        if state is None:
            self._kernel = self._callers = CallerKernel(
                self.settings.n_workers,
                sampling=self.settings.sampling,
                continual_max_fidel=self.settings.continual_max_fidel,
                max_evals=self.settings.n_evals,
                max_time=self.settings.max_total_eval_time,
            )
            for worker in range(self.settings.num_callers):
                self._reserve(worker)
        else:
            self._kernel = self._callers = CallerKernel.restore(state["kernel"])
            self._places.reserved, self._places.finished = dict(state["reserved"]), set(state["finished"])
        if self.settings.continual_max_fidel is None and not self.settings.expensive_sampler:
            parts = (self._places, self._log, self._seed_of, self._started, self._calls, self._waiting.calls)
            self._exchange = Exchange(self.settings, self._callers, *parts)

    # What callers do.

    def join(self, caller: Caller, worker: int | None = None) -> None:
        """Let a caller join the run; the reply is `Joined` or `Over`.

        Raises:
            SimulationError: all workers have callers.
            MemberLost: the run was stopped before.
        """
        with Entered(self):
            self._check()
            if self._is_over():
                caller.deliver(Over())
                return
            caller.worker = self._places.choose(caller, worker, self.settings.n_workers)
            if caller.worker in self._places.finished:
                caller.deliver(Over())
                return
            if caller.worker in self._places.orphaned:
                self._places.orphaned.discard(caller.worker)
                self._places.successors[caller.worker] = caller
                return
            self._places.callers[caller.worker] = caller
            if caller.worker in self._places.reserved:
                job = self._places.reserved.pop(caller.worker)
            else:
                self._places.vacant.discard(caller.worker)
                job = self._arrive(caller.worker)
            self._welcome(caller, job)

    def call(self, caller: Caller, overhead: float, wall: float, fields: dict[str, Any]) -> None:
        """Take a caller's question whether it may evaluate; the reply is `Begun` or `Over`.

        Args:
            overhead: seconds of virtual time that its decision took.
            wall: seconds of real time that its decision took.
            fields: ``key`` identifies the configuration; ``eval_config`` is given if it must be compared with the
                earlier configuration of this key; ``fidelity`` is given with continuation.

        Raises:
            BadArgument: a field is wrong; the call has no effect, and the caller's decision continues.
        """
        with Entered(self):
            if not self._goes_on(caller):
                return
            call = Call(caller, overhead, wall, caller.seed)
            call.key = self._configurations.asked(fields)
            self._accept(call, caller)
            self._waiting.add(caller.job, call)

    def started(self, caller: Caller, overhead: float, wall: float) -> None:
        """Hear that a caller has decided and begins to evaluate; there is no reply."""
        with Entered(self):
            if self._failure is None and not self._is_over() and caller.job != NOTHING:
                self._accept(Call(caller, overhead, wall, caller.seed), caller)

    def finish(self, caller: Caller, overhead: float | None, wall: float, result: Result) -> bool:
        """Take the result of an evaluation; the reply is `Released` at its virtual end, or `Over`.

        Args:
            overhead: of the decision; None if `call` or `started` gave it before.

        Returns:
            Whether it is certain that all callers wait for the one that was released by this.
        """
        if overhead is not None and self._finish_shortly(caller, overhead, wall, result):
            self.handle_departures()
            return True
        with Entered(self):
            if not self._goes_on(caller):
                return False
            job = caller.job
            if overhead is not None:
                call = Call(caller, overhead, wall, caller.seed)
                call.result = result
                self._accept(call, caller)
                self._waiting.add(job, call)
                return False
            call = self._calls[job]
            call.result = result
            self._waiting.add(job, call)
            if job not in self._held:
                self._finish(job, call)
        return False

    def leave(self, caller: Caller, *, clean: bool, evaluating: bool = False) -> None:
        """Hear that a caller has left (`clean`) or died; `evaluating` if its objective was running then.

        It may be called in a destructor: if another thread holds the lock, that thread handles the departure.
        """
        self._departed.append((caller, clean, evaluating))
        self.handle_departures()

    def tick(self) -> None:
        """Act on the real time: defer slow callers where that is allowed, and end the run if a call waited too long."""
        with Entered(self):
            if self._failure is None and not self._is_over():
                lost = self._waiting.look(monotonic(), self._awaited)
                if lost is not None:
                    self._break(lost)

    def deadline(self) -> float:
        """Return when to call `tick` next, by the monotonic clock; infinity for never. Under the lock."""
        return self._waiting.deadline()

    # Methods for the owner.

    @property
    def over(self) -> bool:
        """Whether the run is over or has failed, so that every further call returns the sentinel or raises."""
        return self._is_over() or self._failure is not None

    def state(self) -> dict[str, Any]:
        """Return the state as JSON, for the next coordinator. Only while there is no caller."""
        with self.lock:
            return {
                "kernel": self._kernel.state(),
                "reserved": list(self._places.reserved.items()),
                "brought": self._places.brought,
                "finished": sorted(self._places.finished),
                "configurations": self._configurations.state(),
                "started": self._started,
            }

    def close(self) -> None:
        """Close the log. Calls that still wait get an error."""
        with self.lock:
            if not self.over:
                self._break(SimulationError("The simulated objective was closed."), quietly=True)
            self._log.close()

    # The machinery, under the lock.

    def _finish_shortly(self, caller: Caller, overhead: float, wall: float, result: Result) -> bool:
        """Take a result by the short way; False if that is not enough."""
        with self.lock:
            exchange = self._exchange
            if exchange is None or self._failure is not None or self._departed or self._held:
                return False
            try:
                return exchange.take(caller, overhead, wall, result)
            except BaseException as error:
                if not self._stop_by(error):
                    raise
        return True

    def _is_over(self) -> bool:
        return self._kernel.over is not None

    def _check(self) -> None:
        if self._failure is not None:
            raise again(self._failure)

    def _goes_on(self, caller: Caller) -> bool:
        """Whether this caller may call. If not, it gets its reply here."""
        self._check()
        if self._is_over() or caller.job == NOTHING:
            caller.deliver(Over())
            return False
        return True

    def _welcome(self, caller: Caller, job: int) -> None:
        """Begin the first decision of a caller."""
        if job == NOTHING:
            caller.deliver(Over())
            return
        self._think(caller, job)
        first = self._begins_with_the_run(job)
        if first and self.began is not None:
            caller.thinks_since = self.began
        caller.deliver(Joined(caller.worker, caller.seed, self._places.brought[caller.worker], first))

    def _begins_with_the_run(self, job: int) -> bool:
        """Whether this is the first job of a caller that all others wait for from the start."""
        return job < self.settings.num_callers

    def _think(self, caller: Caller, job: int) -> None:
        caller.job, caller.seed = job, self._seed_of(job)
        caller.thinks_since = monotonic()

    def _reserve(self, worker: int) -> None:
        """Reserve a place in virtual time for the caller of this worker, which all others wait for."""
        if (job := self._arrive(worker)) != NOTHING:
            self._places.reserved[worker] = job

    def _arrive(self, worker: int) -> int:
        """Return the number of the first job of a caller that becomes this worker now."""
        return self._callers.arrive(worker)

    def _accept(self, call: Call, caller: Caller) -> None:
        self._calls[caller.job] = self._held[caller.job] = call
        self._places.brought[caller.worker] += 1

    def run_pump(self) -> None:
        """Do everything that is possible now, and handle the departures of callers."""
        try:
            while True:
                if self._failure is None and not self._is_over():
                    self._pump()
                if not self._departed:
                    break
                self._depart(*self._departed.popleft())
        except BaseException as error:
            if not self._stop_by(error):
                raise
        if self._places.all_have_gone():
            # All have left: the next caller is the first of a new set of callers, and waits for the others.
            for worker in sorted(self._places.vacant):
                self._reserve(worker)
            self._places.vacant.clear()

    def _stop_by(self, error: BaseException) -> bool:
        """Stop the run by an exception; True if it is only that the log cannot be written."""
        if isinstance(error, OSError):
            self._break(SimulationError(f"The log of the run in {self.directory} cannot be written: {error}."))
            return True
        # An interrupt of this thread, or a fault of ours: the state may be inconsistent, so the run ends.
        self._break(SimulationError(f"The run in {self.directory} was interrupted by {type(error).__name__}."))
        return False

    def handle_departures(self) -> None:
        """Handle callers that left while another thread held the lock."""
        while self._departed and self.lock.acquire(blocking=False):
            try:
                self.run_pump()
            finally:
                self.lock.release()

    def _pump(self) -> None:
        kernel = self._callers
        while True:
            while self._held and (job := kernel.next_turn(self._held)) != NOTHING:
                self._place(job, self._held.pop(job))
            job = kernel.release()
            if job >= 0:
                self._complete(job)
                if not kernel.over:
                    continue
            elif kernel.over:
                self._end_run()
            elif (job == WAIT and self._let_claim()) or self._passes_in_time():
                continue
            return

    def _place(self, job: int, call: Call) -> None:
        """Place a call, whose decision is the next one in virtual time."""
        overhead = call.overhead
        if self._begins_with_the_run(job):
            # First decisions are all measured from the same moment. The time that an earlier one took is in both.
            overhead = max(0.0, overhead - self._callers.decided)
        call.before, call.after = self._callers.place(job, overhead)
        if call.result is not None:
            self._finish(job, call)
        elif self._callers.is_censored(job):
            self._censor(job, call)
        elif call.key is not None:
            self._to_claim[job] = call
        else:
            self._waiting.answer(job, call, Begun(call.seed, None))

    def _let_claim(self) -> bool:
        job = self._callers.claimable() if self._to_claim else NOTHING
        call = self._to_claim.pop(job, None)
        if call is None:
            return False
        assert call.key is not None
        checkpoint = self._callers.claim(job, *call.key)
        fidelity = None
        if checkpoint is not None:
            call.resumed, fidelity = checkpoint.job, checkpoint.fidelity
            call.seed = checkpoint.seed if checkpoint.seed is not None else call.seed
        self._waiting.answer(job, call, Begun(call.seed, fidelity))
        return True

    def _finish(self, job: int, call: Call) -> None:
        assert call.result is not None
        self._kernel.finish(job, call.result.runtime, failed=call.result.failed, seed=call.seed)
        if self._callers.is_censored(job):
            self._censor(job, call)

    def _censor(self, job: int, call: Call) -> None:
        """End the run for a caller whose job will end too late to be reported."""
        if call.caller is not None:
            call.caller.job = NOTHING
        self._waiting.answer(job, call, Over())

    def _passes_in_time(self) -> bool:
        """Let others pass a slow caller, if the real time of a decision counts while it lasts."""
        expensive = self.settings.expensive_sampler
        return expensive and self._waiting.let_pass(self._callers, self._calls, self._thinks_since, self.on_change)

    def _thinks_since(self, job: int) -> float | None:
        """Return since when the caller of a turn decides, by the monotonic clock; None if it has not joined yet."""
        thinker = self._places.callers.get(self._kernel.worker_of(job))
        return thinker.thinks_since if thinker is not None else self.began if self._begins_with_the_run(job) else None

    def _complete(self, job: int) -> None:
        """Log a released job, and reply to its caller."""
        call = self._calls.pop(job)
        charged, worker, caller = self._kernel.charged(job), self._kernel.worker_of(job), call.caller
        self._log.write(call.line(job, self._kernel, self.settings, self._started))
        if self._is_over():
            self._end_run((job, call, charged))
        elif caller is None:
            self._inherit(worker)
        else:
            turn = caller.job = self._callers.turn(worker)
            if turn == NOTHING:
                self._waiting.answer(job, call, Released(charged, 0, True))
            else:
                self._think(caller, turn)
                self._waiting.answer(job, call, Released(charged, caller.seed, False))

    def _inherit(self, worker: int) -> None:
        """Give a worker to its next caller, after the last job of its dead caller has ended."""
        successor = self._places.inherit(worker)
        if successor is not None:
            self._welcome(successor, self._callers.turn(worker))

    def _end_run(self, last: tuple[int, Call, float] | None = None) -> None:
        """End the run. The files are written before the replies, so that a caller with a reply finds them."""
        not_reported = [
            call.not_reported(job, self._kernel.worker_of(job))
            for job, call in self._calls.items()
            if job not in self._held
        ]
        self._log.end(self._kernel.over or "", not_reported, self.directory)
        for successor in self._places.successors.values():
            successor.deliver(Over())
        if last is not None:
            job, call, charged = last
            if call.caller is not None:
                call.caller.job = NOTHING
            self._waiting.answer(job, call, Released(charged, 0, True))
        for job, call in list(self._waiting.calls.items()):
            if call.caller is not None:
                call.caller.job = NOTHING
            self._waiting.answer(job, call, Over())
        for caller in self._places.callers.values():
            if caller.job != NOTHING:
                caller.job = NOTHING
                caller.deliver(Over())  # a notice that its next call will see

    def _depart(self, caller: Caller, clean: bool, evaluating: bool) -> None:
        """Handle the departure of a caller. Its unfinished job is treated as `on_lost` says; a result is kept."""
        if not self._places.leave(caller):
            return
        if self._failure is not None or self._is_over():
            return
        if caller.job == NOTHING:
            self._places.finished.add(caller.worker)
            return
        job, call = caller.job, self._calls.get(caller.job)
        unfinished = call.result is None if call is not None else evaluating
        doing = "while its objective ran" if unfinished else "between calls" if call is None else "while it waited"
        text = f"Worker {caller.worker} ({caller.name}) {'left' if clean else 'died'} {doing}"
        if self.settings.on_lost == "raise" and (unfinished or not clean):
            self._break(MemberLost(f"{text}. The run was stopped because on_lost is 'raise'."))
            return
        if call is not None or unfinished:
            logger.warning("%s; the others continue because on_lost is %r.", text, self.settings.on_lost)
        self._waiting.calls.pop(job, None)
        if not unfinished and call is not None:
            call.caller = None  # it completes at its virtual end; there is no caller to reply to
            self._places.orphaned.add(caller.worker)
        elif unfinished and self.settings.on_lost == "fail":
            self._fail(job, call, text)
        else:
            for calls in (self._calls, self._held, self._to_claim):
                calls.pop(job, None)
            self._callers.cancel(job)
            self._places.vacant.add(caller.worker)

    def _fail(self, job: int, call: Call | None, text: str) -> None:
        """Make the job of a dead caller a failure with runtime 0, since its real runtime cannot be known."""
        if call is None:
            call = self._calls[job] = self._held[job] = Call(None, 0.0, 0.0, self._seed_of(job))
        self._places.orphaned.add(self._kernel.worker_of(job))
        call.caller = None
        call.result = Result(math.nan, True, failure_text("F_worker_died", text))
        if job not in self._held:
            self._to_claim.pop(job, None)
            self._finish(job, call)

    def _awaited(self, now: float) -> str:
        return self._places.awaited(now, self._waiting.calls, self._calls)

    def _break(self, error: SimulationError, quietly: bool = False) -> None:
        """Stop the run with an error, which all callers get."""
        self._failure = MemberLost(*error.args) if isinstance(error, WaitedTooLong) else error  # others do not wait
        if not quietly:
            logger.error("%s", error)
        waiting = list(self._waiting.calls.items())
        told = {call.caller for _, call in waiting}
        for job, call in waiting:
            self._waiting.answer(job, call, again(error))
        for caller in self._places.everybody():
            if caller not in told:
                caller.deliver(again(self._failure))
