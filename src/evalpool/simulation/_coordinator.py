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
from types import TracebackType
from typing import Any

from evalpool._clock import monotonic, unix_time
from evalpool._json import to_json
from evalpool._log import get_logger
from evalpool.errors import MemberLost, SimulationError
from evalpool.jobs._seeds import Seeds
from evalpool.simulation._checkpoints import Configurations, check_fidelity
from evalpool.simulation._files import CompletionLog, completion
from evalpool.simulation._kernel import NOTHING, WAIT, Kernel
from evalpool.simulation._run import Begun, Joined, Over, Released, Result, RunSettings
from evalpool.simulation._turns import CallerKernel

__all__ = ["Call", "Coordinator", "Entry", "Member", "Reply", "failure_text"]

logger = get_logger()

PATIENCE = 10.0
"""Seconds that a call waits before a warning names those it waits for, as it might wait for ever."""

Reply = Joined | Begun | Released | Over | SimulationError


def _ignore() -> None:
    pass


class Member:
    """A caller, as long as it is connected.

    Args:
        name: for messages: ``"process 123, thread MainThread"``.
        deliver: takes the reply to its call, or a notice that the run has ended; called under the coordinator's
            lock, so it must not block.
        nudge: asks it to look at the coordinator's `deadline` again.
    """

    __slots__ = ("deliver", "job", "name", "nudge", "seed", "thinks_since", "worker")

    def __init__(self, name: str, deliver: Callable[[Reply], None], nudge: Callable[[], None] = _ignore) -> None:
        self.name = name
        self.deliver = deliver
        self.nudge = nudge
        self.worker = -1
        self.job = NOTHING  # the number of its turn; NOTHING when the run is over for it
        self.seed = 0  # of that job
        self.thinks_since = 0.0  # on the monotonic clock


class Call:
    """One evaluation, from its announcement or its result to its release."""

    __slots__ = ("after", "before", "key", "member", "overhead", "result", "resumed", "seed", "waits_since", "wall")

    def __init__(self, member: Member | None, overhead: float, wall: float, seed: int) -> None:
        self.member = member  # None: it has died
        self.overhead = overhead
        self.wall = wall
        self.seed = seed
        self.before = self.after = 0.0  # its decision, in virtual time
        self.key: tuple[str, int] | None = None  # configuration and fidelity, with continuation
        self.resumed: int | None = None  # the job whose checkpoint it continues
        self.result: Result | None = None
        self.waits_since: float | None = None  # for a reply, on the monotonic clock


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
        self.on_change: Callable[[], None] = _ignore  # the deadline may have come nearer
        self._log = CompletionLog(directory, new=state is None)
        self._configurations = Configurations(settings.config_tracking)
        self._members: dict[int, Member] = {}  # by worker
        self._brought = [0] * settings.num_callers  # evaluations by worker
        self._reserved: dict[int, int] = {}  # workers whose caller is waited for -> the number of their turn
        self._vacant: set[int] = set()  # workers whose caller is not waited for: it has left
        self._orphaned: set[int] = set()  # workers whose caller has died, as long as its job has not ended
        self._successors: dict[int, Member] = {}  # callers that wait to take over such a worker
        self._calls: dict[int, Call] = {}  # by job, from its first news to its release
        self._held: dict[int, Call] = {}  # of these, those whose decision is not placed yet
        self._to_claim: dict[int, Call] = {}  # of these, those that may yet find a checkpoint
        self._waiting: dict[int, Call] = {}  # of these, those that wait for a reply, the oldest first
        self._departed: deque[tuple[Member, bool, bool]] = deque()
        self._wake_at = math.inf  # when time alone lets somebody pass
        self._warned = False
        self._failure: SimulationError | None = None
        self._seed_of = Seeds(seed)
        if state is None:
            self._started = unix_time()
            self._log.begin(settings.as_json(), seed)
        else:
            self._started, self._brought = state["started"], list(state["brought"])
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
            self._reserved = dict(state["reserved"])

    # What callers do.

    def join(self, member: Member, worker: int | None = None) -> None:
        """A caller comes; the reply is `Joined` or `Over`.

        Raises:
            SimulationError: there is no place for it.
            MemberLost: the run broke before.
        """
        with Entry(self):
            self._check()
            if self._is_over():
                member.deliver(Over())
                return
            member.worker = self._place_for(member, worker)
            if member.worker in self._orphaned:
                self._orphaned.discard(member.worker)
                self._successors[member.worker] = member
                return
            self._members[member.worker] = member
            if member.worker in self._reserved:
                job = self._reserved.pop(member.worker)
            else:
                self._vacant.discard(member.worker)
                job = self._arrive(member.worker)
            self._welcome(member, job)

    def _place_for(self, member: Member, worker: int | None) -> int:
        if worker is None:
            free = self._reserved or self._vacant or self._orphaned
            if not free:
                raise SimulationError(
                    f"A caller too many: {member.name} calls an objective of n_workers={self.settings.n_workers} that "
                    f"has as many callers: {self._names()}. Set n_workers to the number of threads or processes that "
                    "call."
                )
            return min(free)
        if worker not in self._reserved and worker not in self._vacant and worker not in self._orphaned:
            taken = self._members.get(worker) or self._successors[worker]
            raise SimulationError(
                f"Worker {worker} is {taken.name} already; {member.name} needs a worker_index of its own."
            )
        return worker

    def call(self, member: Member, overhead: float, wall: float, fields: dict[str, Any]) -> None:
        """A caller asks whether it may evaluate; the reply is `Begun` or `Over`.

        Args:
            overhead: seconds of virtual time that its decision took.
            wall: seconds of real time that it took.
            fields: ``key``, what identifies the configuration; ``eval_config``, if that is to be compared with what
                the key stood for; ``fidelity``, with continuation.

        Raises:
            BadArgument: one of them is wrong; the caller goes on thinking.
        """
        with Entry(self):
            if not self._goes_on(member):
                return
            call = Call(member, overhead, wall, member.seed)
            call.key = self._key_of(fields)
            self._accept(call, member)
            self._wait(member.job, call)

    def started(self, member: Member, overhead: float, wall: float) -> None:
        """A caller has decided and evaluates from now on; it gets no reply."""
        with Entry(self):
            if self._failure is None and not self._is_over() and member.job != NOTHING:
                self._accept(Call(member, overhead, wall, member.seed), member)

    def finish(self, member: Member, overhead: float | None, wall: float, result: Result) -> None:
        """An evaluation has its result; the reply is `Released` when its turn has come, or `Over`.

        Args:
            overhead: of the decision; None if `call` or `started` told it.
        """
        with Entry(self):
            if not self._goes_on(member):
                return
            job = member.job
            if overhead is not None:
                call = Call(member, overhead, wall, member.seed)
                call.result = result
                self._accept(call, member)
                self._wait(job, call)
                return
            call = self._calls[job]
            call.result = result
            self._wait(job, call)
            if job not in self._held:
                self._finish(job, call)

    def leave(self, member: Member, *, clean: bool, evaluating: bool = False) -> None:
        """A caller is gone: cleanly, or it died; `evaluating` if it died while its objective ran.

        May be called from a destructor: if the lock is taken, whoever holds it sees to this before it goes.
        """
        self._departed.append((member, clean, evaluating))
        self._see_off()

    def tick(self) -> None:
        """Time has passed: let pass whom it lets pass, and give up on whom it makes hopeless."""
        with Entry(self):
            if self._failure is None and not self._is_over():
                self._look_at_the_time(monotonic())

    def deadline(self) -> float:
        """When to `tick` next, on the monotonic clock; infinity for never. Under the lock."""
        for call in self._waiting.values():
            assert call.waits_since is not None
            patience = self.settings.max_waiting_time
            if not self._warned:
                patience = min(patience, PATIENCE)
            return min(self._wake_at, call.waits_since + patience)  # the oldest waits longest
        return self._wake_at

    # What its owner does.

    @property
    def over(self) -> bool:
        """Has every call from now on the sentinel or an error?"""
        return self._is_over() or self._failure is not None

    @property
    def num_members(self) -> int:
        """How many callers are here."""
        return len(self._members) + len(self._successors)

    def state(self) -> dict[str, Any]:
        """As JSON, for the next coordinator. Only while nobody is here."""
        with self.lock:
            return {
                "kernel": self._kernel.state(),
                "reserved": list(self._reserved.items()),
                "brought": self._brought,
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
            raise _again(self._failure)

    def _goes_on(self, member: Member) -> bool:
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

    def _welcome(self, member: Member, job: int) -> None:
        """The caller's first turn begins."""
        if job == NOTHING:
            member.deliver(Over())
        else:
            self._think(member, job)
            member.deliver(Joined(member.worker, member.seed, self._brought[member.worker]))

    def _think(self, member: Member, job: int) -> None:
        member.job, member.seed = job, self._seed_of(job)
        member.thinks_since = monotonic()

    def _reserve(self, worker: int) -> None:
        """Wait for a caller of this worker before anybody passes it."""
        job = self._arrive(worker)
        if job != NOTHING:
            self._reserved[worker] = job

    def _arrive(self, worker: int) -> int:
        """The number of the first job of who comes as this worker now."""
        return self._callers.arrive(worker)

    def _accept(self, call: Call, member: Member) -> None:
        self._calls[member.job] = self._held[member.job] = call
        self._brought[member.worker] += 1

    def _wait(self, job: int, call: Call) -> None:
        call.waits_since = monotonic()
        self._waiting[job] = call

    def _answer(self, job: int, call: Call, reply: Reply) -> None:
        """Reply if the caller waits for it."""
        if self._waiting.pop(job, None) is not None:
            call.waits_since = None
            if call.member is not None:
                call.member.deliver(reply)

    def _run_pump(self) -> None:
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
        if self._vacant and not self._members and not self._successors:
            # All have gone: who comes next is the first of a new set of callers, and waits for the others.
            for worker in sorted(self._vacant):
                self._reserve(worker)
            self._vacant.clear()

    def _see_off(self) -> None:
        while self._departed and self.lock.acquire(blocking=False):
            try:
                self._run_pump()
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
        call.before, call.after = self._callers.place(job, call.overhead)
        if call.result is not None:
            self._finish(job, call)
        elif self._callers.is_censored(job):
            self._censor(job, call)
        elif call.key is not None:
            self._to_claim[job] = call
        else:
            self._answer(job, call, Begun(call.seed, None))

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
        self._answer(job, call, Begun(call.seed, fidelity))
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
        self._answer(job, call, Over())

    def _passes_in_time(self) -> bool:
        """Somebody waits for a caller that has been thinking in real time, beyond that one's end: let it pass."""
        if not self.settings.expensive_sampler:
            return False
        self._wake_at = math.inf
        blocker = self._callers.blocker()
        if blocker is None or blocker[1] in self._calls:
            return False
        end, job = blocker
        thinker = self._members.get(self._kernel.worker_of(job))
        if thinker is None:
            return False  # it is waited for, but is not here
        now = monotonic()
        bound = self._callers.idle_since(thinker.worker) + (now - thinker.thinks_since)
        if bound > end:
            self._callers.defer(job, bound)
            return True
        self._wake_at = now + (end - bound) + 1e-6
        for call in self._waiting.values():
            if call.member is not None:
                call.member.nudge()
                break
        self.on_change()
        return False

    def _complete(self, job: int) -> None:
        """A job has been released."""
        call = self._calls.pop(job)
        charged, worker, member = self._kernel.charged(job), self._kernel.worker_of(job), call.member
        self._log.write(self._line(job, call, worker, charged))
        if self._is_over():
            self._end_run((job, call, charged))
        elif member is None:
            self._inherit(worker)
        else:
            turn = member.job = self._callers.turn(worker)
            if turn == NOTHING:
                self._answer(job, call, Released(charged, 0, True))
            else:
                self._think(member, turn)
                self._answer(job, call, Released(charged, member.seed, False))

    def _inherit(self, worker: int) -> None:
        """The last job of a caller that has died has ended."""
        self._orphaned.discard(worker)
        successor = self._successors.pop(worker, None)
        if successor is None:
            self._vacant.add(worker)
        else:
            self._members[worker] = successor
            self._welcome(successor, self._callers.turn(worker))

    def _line(self, job: int, call: Call, worker: int, charged: float) -> bytes:
        result, limit = call.result, self.settings.continual_max_fidel
        assert result is not None
        leaves = call.key is not None and limit is not None and call.key[1] < limit and not result.failed
        return completion(
            job=job,
            worker=worker,
            before=call.before,
            after=call.after,
            end=self._kernel.end_of(job),
            charged=charged,
            wall=call.wall,
            seed=call.seed,
            failed=result.failed,
            text=result.text,
            actual=unix_time() - self._started if self.settings.store_actual_cumtime else None,
            resumed=call.resumed,
            left=(*call.key, result.runtime) if leaves and call.key is not None else None,
        )

    def _end_run(self, last: tuple[int, Call, float] | None = None) -> None:
        """No completion follows. Files first, then replies: who has one finds the files."""
        not_reported = [
            {
                "job": job,
                "worker": self._kernel.worker_of(job),
                "before": call.before,
                "after": call.after,
                "resumed": call.resumed,
            }
            for job, call in self._calls.items()
            if job not in self._held
        ]
        self._log.end(self._kernel.over or "", not_reported, self.directory)
        for successor in self._successors.values():
            successor.deliver(Over())
        if last is not None:
            job, call, charged = last
            if call.member is not None:
                call.member.job = NOTHING
            self._answer(job, call, Released(charged, 0, True))
        for job, call in list(self._waiting.items()):
            if call.member is not None:
                call.member.job = NOTHING
            self._answer(job, call, Over())
        for member in self._members.values():
            if member.job != NOTHING:
                member.job = NOTHING
                member.deliver(Over())  # a notice, for its next call

    def _depart(self, member: Member, clean: bool, evaluating: bool) -> None:
        """A caller is gone. What it has under way is seen to as `on_lost` says; a result that is there is kept."""
        if self._successors.get(member.worker) is member:
            del self._successors[member.worker]
            self._orphaned.add(member.worker)
        if self._members.get(member.worker) is not member:
            return  # it was refused, or is gone already
        del self._members[member.worker]
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
        self._waiting.pop(job, None)
        if not unfinished and call is not None:
            call.member = None  # it completes at its time, though nobody is told
            self._orphaned.add(member.worker)
        elif unfinished and self.settings.on_lost == "fail":
            self._fail(job, call, text)
        else:
            for calls in (self._calls, self._held, self._to_claim):
                calls.pop(job, None)
            self._callers.withdraw(job)
            self._vacant.add(member.worker)

    def _fail(self, job: int, call: Call | None, text: str) -> None:
        """A job whose caller died is a failure that ends as it begins: nobody knows how long it would have taken."""
        if call is None:
            call = self._calls[job] = self._held[job] = Call(None, 0.0, 0.0, self._seed_of(job))
        self._orphaned.add(self._kernel.worker_of(job))
        call.member = None
        call.result = Result(math.nan, True, failure_text("F_worker_died", text))
        if job not in self._held:
            self._to_claim.pop(job, None)
            self._finish(job, call)

    def _look_at_the_time(self, now: float) -> None:
        call = next(iter(self._waiting.values()), None)
        if call is None or call.waits_since is None:
            return
        waited = now - call.waits_since
        if waited >= self.settings.max_waiting_time:
            self._break(
                MemberLost(
                    f"A call has waited for {waited:.1f} s, longer than max_waiting_time="
                    f"{self.settings.max_waiting_time:g} s: {self._awaited(now)}. There must be n_workers="
                    f"{self.settings.n_workers} callers, and each must go on calling until it is given the sentinel."
                )
            )
        elif waited >= PATIENCE and not self._warned:
            self._warned = True
            logger.warning(
                "A call of a simulated objective has waited for %.0f s: %s. It waits for ever if that does not change; "
                "with max_waiting_time it would give up.",
                waited,
                self._awaited(now),
            )

    def _awaited(self, now: float) -> str:
        """Whom everybody waits for."""
        reasons = []
        if self._reserved:
            which = ", ".join(map(str, sorted(self._reserved)))
            reasons.append(f"worker {which} of {self.settings.num_callers} never came, {len(self._members)} did")
        for worker, member in sorted(self._members.items()):
            if member.job in self._waiting or member.job == NOTHING:
                continue
            if member.job in self._calls:
                reasons.append(f"worker {worker} ({member.name}) is still evaluating")
            else:
                thinks = now - member.thinks_since
                reasons.append(f"worker {worker} ({member.name}) has brought no result for {thinks:.1f} s")
        return "; ".join(reasons) or "nobody is missing"

    def _names(self) -> str:
        return "; ".join(f"worker {worker} is {member.name}" for worker, member in sorted(self._members.items()))

    def _break(self, error: SimulationError, quietly: bool = False) -> None:
        """The run cannot go on: everybody is told."""
        self._failure = error
        if not quietly:
            logger.error("%s", error)
        waiting = list(self._waiting.items())
        told = {call.member for _, call in waiting}
        for job, call in waiting:
            self._answer(job, call, _again(error))
        for member in (*self._members.values(), *self._successors.values()):
            if member not in told:
                member.deliver(_again(error))


class Entry:
    """Holds the lock for one entry, and lets happen what can happen before it goes."""

    __slots__ = ("_coordinator",)

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator

    def __enter__(self) -> None:
        self._coordinator.lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        coordinator = self._coordinator
        try:
            if kind is None:
                coordinator._run_pump()
        finally:
            coordinator.lock.release()
        coordinator._see_off()  # who left when the lock was taken


def _again(error: SimulationError) -> SimulationError:
    """A copy, for an exception object belongs to the thread that raises it."""
    return type(error)(*error.args)


def failure_text(objective: str, error: str) -> bytes:
    """What stands in the record of a failure, beside its times."""
    return f'"values":{to_json(objective)},"error":{to_json(error)}'.encode()
