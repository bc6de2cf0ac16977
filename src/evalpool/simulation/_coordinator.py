"""Decides whose virtual turn has come among the callers of a simulated objective.

::

    caller                 coordinator                                                   kernel
    call, evaluate ──► result ──► the next decision in line?      ──► place, finish
         wait                     whose end can nothing precede?  ◄── release
    return      ◄── Released ◄──  a line in the log               ──► turn
    think ...

One lock guards it. Every entry takes it, changes what is known, and lets happen all that can happen (`_pump`): so
whichever thread brings the news also releases those whose turn it makes. Callers that are threads of this process
enter directly; those in other processes through a server. Nothing here waits, and the cost of an evaluation depends
neither on how many there were nor on the number of callers.
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
from evalpool.simulation._checkpoints import Configurations, check_fidelity
from evalpool.simulation._entry import Entered
from evalpool.simulation._files import CompletionLog
from evalpool.simulation._kernel import NOTHING, WAIT, Kernel
from evalpool.simulation._places import Places
from evalpool.simulation._run import Begun, Joined, Over, Released, Result, RunSettings
from evalpool.simulation._turns import CallerKernel
from evalpool.simulation._waiting import WaitingCalls

__all__ = ["Coordinator"]

logger = get_logger()


class Coordinator:
    """See the module. Every public method may be called from any thread.

    Args:
        settings: of the run.
        directory: where its log is, or will be.
        seed: that the seeds of jobs derive from.
        state: of a coordinator that was here before, to go on from.
    """

    def __init__(
        self, settings: RunSettings, directory: str, seed: int, *, state: dict[str, Any] | None = None
    ) -> None:
        self.settings = settings
        self.directory = directory
        self.seed = seed
        self.lock = threading.Lock()
        self.on_change: Callable[[], None] = ignore  # the deadline may have come nearer
        self.began: float | None = None  # since when, on the monotonic clock, callers think that have not come yet
        self._log = CompletionLog(directory, new=state is None)
        self._configurations = Configurations(settings.config_tracking)
        self._places = Places(settings.num_callers)
        self._calls: dict[int, Call] = {}  # by job, from its first news to its release
        self._held: dict[int, Call] = {}  # of these, those whose decision is not placed yet
        self._to_claim: dict[int, Call] = {}  # of these, those that may yet find a checkpoint
        self._waiting = WaitingCalls(settings)  # of these, those that wait for a reply
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
            self._places.reserved = dict(state["reserved"])

    # What callers do.

    def join(self, member: Caller, worker: int | None = None) -> None:
        """A caller comes; the reply is `Joined` or `Over`.

        Raises:
            SimulationError: there is no place for it.
            MemberLost: the run broke before.
        """
        with Entered(self):
            self._check()
            if self._is_over():
                member.deliver(Over())
                return
            member.worker = self._places.choose(member, worker, self.settings.n_workers)
            if member.worker in self._places.orphaned:
                self._places.orphaned.discard(member.worker)
                self._places.successors[member.worker] = member
                return
            self._places.members[member.worker] = member
            if member.worker in self._places.reserved:
                job = self._places.reserved.pop(member.worker)
            else:
                self._places.vacant.discard(member.worker)
                job = self._arrive(member.worker)
            self._welcome(member, job)

    def call(self, member: Caller, overhead: float, wall: float, fields: dict[str, Any]) -> None:
        """A caller asks whether it may evaluate; the reply is `Begun` or `Over`.

        Args:
            overhead: seconds of virtual time that its decision took.
            wall: seconds of real time that it took.
            fields: ``key``, what identifies the configuration; ``eval_config``, if that is to be compared with what
                the key stood for; ``fidelity``, with continuation.

        Raises:
            BadArgument: one of them is wrong; the caller goes on thinking.
        """
        with Entered(self):
            if not self._goes_on(member):
                return
            call = Call(member, overhead, wall, member.seed)
            call.key = self._key_of(fields)
            self._accept(call, member)
            self._waiting.add(member.job, call)

    def started(self, member: Caller, overhead: float, wall: float) -> None:
        """A caller has decided and evaluates from now on; it gets no reply."""
        with Entered(self):
            if self._failure is None and not self._is_over() and member.job != NOTHING:
                self._accept(Call(member, overhead, wall, member.seed), member)

    def finish(self, member: Caller, overhead: float | None, wall: float, result: Result) -> None:
        """An evaluation has its result; the reply is `Released` when its turn has come, or `Over`.

        Args:
            overhead: of the decision; None if `call` or `started` told it.
        """
        with Entered(self):
            if not self._goes_on(member):
                return
            job = member.job
            if overhead is not None:
                call = Call(member, overhead, wall, member.seed)
                call.result = result
                self._accept(call, member)
                self._waiting.add(job, call)
                return
            call = self._calls[job]
            call.result = result
            self._waiting.add(job, call)
            if job not in self._held:
                self._finish(job, call)

    def leave(self, member: Caller, *, clean: bool, evaluating: bool = False) -> None:
        """A caller is gone: cleanly, or it died; `evaluating` if it died while its objective ran.

        May be called from a destructor: if the lock is taken, whoever holds it sees to this before it goes.
        """
        self._departed.append((member, clean, evaluating))
        self.see_off()

    def tick(self) -> None:
        """Time has passed: let pass whom it lets pass, and end the run if somebody has waited for too long."""
        with Entered(self):
            if self._failure is None and not self._is_over():
                lost = self._waiting.look(monotonic(), self._awaited)
                if lost is not None:
                    self._break(lost)

    def deadline(self) -> float:
        """When to `tick` next, on the monotonic clock; infinity for never. Under the lock."""
        return self._waiting.deadline()

    # What its owner does.

    @property
    def over(self) -> bool:
        """Has every call from now on the sentinel or an error?"""
        return self._is_over() or self._failure is not None

    def state(self) -> dict[str, Any]:
        """As JSON, for the next coordinator. Only while nobody is here."""
        with self.lock:
            return {
                "kernel": self._kernel.state(),
                "reserved": list(self._places.reserved.items()),
                "brought": self._places.brought,
                "configurations": self._configurations.state(),
                "started": self._started,
            }

    def close(self) -> None:
        """Close the log. Whoever still waits is told."""
        with self.lock:
            if not self.over:
                self._break(SimulationError("The simulated objective was closed."), quietly=True)
            self._log.close()

    # The machinery, under the lock.

    def _is_over(self) -> bool:
        return self._kernel.over is not None

    def _check(self) -> None:
        if self._failure is not None:
            raise again(self._failure)

    def _goes_on(self, member: Caller) -> bool:
        """May this caller call? If not, it has its reply."""
        self._check()
        if self._is_over() or member.job == NOTHING:
            member.deliver(Over())
            return False
        return True

    def _key_of(self, fields: dict[str, Any]) -> tuple[str, int] | None:
        if fields.get("eval_config") is not None:
            self._configurations.key(fields["eval_config"], fields["key"])
        if fields.get("fidelity") is None:
            return None
        return fields["key"], check_fidelity(fields["fidelity"])

    def _welcome(self, member: Caller, job: int) -> None:
        """The caller's first turn begins."""
        if job == NOTHING:
            member.deliver(Over())
        else:
            self._think(member, job)
            first = self._begins_with_the_run(job)
            if first and self.began is not None:
                member.thinks_since = self.began
            member.deliver(Joined(member.worker, member.seed, self._places.brought[member.worker], first))

    def _begins_with_the_run(self, job: int) -> bool:
        """Is this the first job of a caller that is waited for from the start?"""
        return job < self.settings.num_callers

    def _think(self, member: Caller, job: int) -> None:
        member.job, member.seed = job, self._seed_of(job)
        member.thinks_since = monotonic()

    def _reserve(self, worker: int) -> None:
        """Wait for a caller of this worker before anybody passes it."""
        job = self._arrive(worker)
        if job != NOTHING:
            self._places.reserved[worker] = job

    def _arrive(self, worker: int) -> int:
        """The number of the first job of who comes as this worker now."""
        return self._callers.arrive(worker)

    def _accept(self, call: Call, member: Caller) -> None:
        self._calls[member.job] = self._held[member.job] = call
        self._places.brought[member.worker] += 1

    def run_pump(self) -> None:
        """Let happen all that can happen, and see off who has left."""
        try:
            while True:
                if self._failure is None and not self._is_over():
                    self._pump()
                if not self._departed:
                    break
                self._depart(*self._departed.popleft())
        except OSError as error:
            self._break(SimulationError(f"The log of the run in {self.directory} cannot be written: {error}."))
        except BaseException as error:
            # An interrupt of the thread that is here, or a fault of ours: half of a change is worse than an end.
            self._break(SimulationError(f"The run in {self.directory} was interrupted by {type(error).__name__}."))
            raise
        if self._places.all_have_gone():
            # All have gone: who comes next is the first of a new set of callers, and waits for the others.
            for worker in sorted(self._places.vacant):
                self._reserve(worker)
            self._places.vacant.clear()

    def see_off(self) -> None:
        """See to those who left while somebody held the lock."""
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
        """The call's decision is the next in line."""
        overhead = call.overhead
        if self._begins_with_the_run(job):
            # All callers' first decisions are measured from the same moment: what is behind another is in both.
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
        """It will end too late to be reported: the run is over for this caller."""
        if call.member is not None:
            call.member.job = NOTHING
        self._waiting.answer(job, call, Over())

    def _passes_in_time(self) -> bool:
        """Somebody waits for a caller that has been thinking in real time, beyond that one's end: let it pass."""
        if not self.settings.expensive_sampler:
            return False
        self._waiting.wake_at = math.inf
        blocker = self._callers.blocker()
        if blocker is None or blocker[1] in self._calls:
            return False
        end, job = blocker
        worker = self._kernel.worker_of(job)
        thinker = self._places.members.get(worker)
        since = thinker.thinks_since if thinker is not None else self.began if self._begins_with_the_run(job) else None
        if since is None:
            return False  # it is waited for, but is not here
        now = monotonic()
        bound = self._callers.idle_since(worker) + (now - since)
        if bound > end:
            self._callers.defer(job, bound)
            return True
        self._waiting.wake_at = now + (end - bound) + 1e-6
        for call in self._waiting.calls.values():
            if call.member is not None:
                call.member.nudge()
                break
        self.on_change()
        return False

    def _complete(self, job: int) -> None:
        """A job has been released."""
        call = self._calls.pop(job)
        charged, worker, member = self._kernel.charged(job), self._kernel.worker_of(job), call.member
        self._log.write(self._line(job, call))
        if self._is_over():
            self._end_run((job, call, charged))
        elif member is None:
            self._inherit(worker)
        else:
            turn = member.job = self._callers.turn(worker)
            if turn == NOTHING:
                self._waiting.answer(job, call, Released(charged, 0, True))
            else:
                self._think(member, turn)
                self._waiting.answer(job, call, Released(charged, member.seed, False))

    def _inherit(self, worker: int) -> None:
        """The last job of a caller that has died has ended."""
        successor = self._places.inherit(worker)
        if successor is not None:
            self._welcome(successor, self._callers.turn(worker))

    def _line(self, job: int, call: Call) -> bytes:
        kernel, settings = self._kernel, self.settings
        actual = unix_time() - self._started if settings.store_actual_cumtime else None
        return call.line(
            job,
            worker=kernel.worker_of(job),
            end=kernel.end_of(job),
            charged=kernel.charged(job),
            limit=settings.continual_max_fidel,
            actual=actual,
        )

    def _end_run(self, last: tuple[int, Call, float] | None = None) -> None:
        """No completion follows. Files first, then replies: who has one finds the files."""
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
            if call.member is not None:
                call.member.job = NOTHING
            self._waiting.answer(job, call, Released(charged, 0, True))
        for job, call in list(self._waiting.calls.items()):
            if call.member is not None:
                call.member.job = NOTHING
            self._waiting.answer(job, call, Over())
        for member in self._places.members.values():
            if member.job != NOTHING:
                member.job = NOTHING
                member.deliver(Over())  # a notice, for its next call

    def _depart(self, member: Caller, clean: bool, evaluating: bool) -> None:
        """A caller is gone. What it has under way is seen to as `on_lost` says; a result that is there is kept."""
        if not self._places.leave(member):
            return
        if self._failure is not None or self._is_over() or member.job == NOTHING:
            return
        job, call = member.job, self._calls.get(member.job)
        unfinished = call.result is None if call is not None else evaluating
        doing = "while its objective ran" if unfinished else "between calls" if call is None else "while it waited"
        text = f"Worker {member.worker} ({member.name}) {'left' if clean else 'died'} {doing}"
        if self.settings.on_lost == "raise" and (unfinished or not clean):
            self._break(MemberLost(f"{text}. The run was stopped, for on_lost is 'raise'."))
            return
        if call is not None or unfinished:
            logger.warning("%s; the others go on, for on_lost is %r.", text, self.settings.on_lost)
        self._waiting.calls.pop(job, None)
        if not unfinished and call is not None:
            call.member = None  # it completes at its time, though nobody is told
            self._places.orphaned.add(member.worker)
        elif unfinished and self.settings.on_lost == "fail":
            self._fail(job, call, text)
        else:
            for calls in (self._calls, self._held, self._to_claim):
                calls.pop(job, None)
            self._callers.cancel(job)
            self._places.vacant.add(member.worker)

    def _fail(self, job: int, call: Call | None, text: str) -> None:
        """A job whose caller died is a failure that ends as it begins: nobody knows how long it would have taken."""
        if call is None:
            call = self._calls[job] = self._held[job] = Call(None, 0.0, 0.0, self._seed_of(job))
        self._places.orphaned.add(self._kernel.worker_of(job))
        call.member = None
        call.result = Result(math.nan, True, failure_text("F_worker_died", text))
        if job not in self._held:
            self._to_claim.pop(job, None)
            self._finish(job, call)

    def _awaited(self, now: float) -> str:
        return self._places.awaited(now, self._waiting.calls, self._calls)

    def _break(self, error: SimulationError, quietly: bool = False) -> None:
        """The run cannot go on: everybody is told."""
        self._failure = MemberLost(*error.args) if isinstance(error, WaitedTooLong) else error  # others do not wait
        if not quietly:
            logger.error("%s", error)
        waiting = list(self._waiting.calls.items())
        told = {call.member for _, call in waiting}
        for job, call in waiting:
            self._waiting.answer(job, call, again(error))
        for member in self._places.everybody():
            if member not in told:
                member.deliver(again(self._failure))
