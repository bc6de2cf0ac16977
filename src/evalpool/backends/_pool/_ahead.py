"""Jobs ahead of workers that run them elsewhere: the same rules for processes and for MPI ranks.

Several jobs are in flight per worker, so that it never waits for us, and more the shorter they are: as many
as fill `AHEAD` seconds by the longest recent duration. Short ones share a message. A job that was sent ahead
to a worker which then turns out to be busy for long is withdrawn and given to an idle one. Blame stays with
one job: a worker runs its jobs in the order in which they were sent, so the first in flight is the one that
runs. Jobs are assigned by whichever thread pumps; the lock guards the assignment, never a call into the evaluator.

One thread does the I/O for all workers: the caller that waits for results, if there is one, else our own (see
`_lead`). What an engine adds is how bytes are sent and how one waits for them: the abstract methods.
"""

from __future__ import annotations

import abc
import math
import pickle
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from evalpool._clock import monotonic
from evalpool._guard import Guard, describe, guarded_thread
from evalpool._interrupts import SLICE, Opened, Shielded, from_a_handler
from evalpool._log import get_logger
from evalpool.backends._pool import _logs, _wire
from evalpool.backends._pool._lead import Lead
from evalpool.backends._pool._shortage import Shortage
from evalpool.backends._remote import on_our_clock
from evalpool.jobs._job import Job
from evalpool.outcomes import FailureKind, JobStatus, Outcome, Worker, failed
from evalpool.worker._pickling import unpicklable

if TYPE_CHECKING:
    from evalpool.evaluator._evaluator import Evaluator
    from evalpool.jobs._inbox import Inbox

__all__ = ["Ahead", "Entry", "Seat", "encode", "load_outcome"]

logger = get_logger()

DONE = JobStatus.DONE
STATUS = {status.value: status for status in JobStatus}
KIND = {kind.value: kind for kind in FailureKind}
_ENDS = frozenset({_wire.FAST_OUTCOME, _wire.OUTCOME, _wire.LENT})
"""Frames by which a job ends."""

LEAST_IN_FLIGHT = 2
"""One runs, one waits in the worker: measured 1.6 to 2.6 times the rate of one alone; a third adds little."""
MOST_IN_FLIGHT = 256
AHEAD = 0.002
"""Seconds of work that may be in flight per worker."""
DEAF_AFTER = 0.25
"""Seconds without an answer to a withdrawal after which a worker is called deaf."""
STUCK_AFTER = 0.02
"""A worker busy with one job for so long is sent one job ahead and no more."""
RECALL_AFTER = 0.002
"""A worker busy with one job for so long gives the jobs behind it to idle workers."""


class Entry:
    """A job that was sent to a worker: its place in the order of sending, and which attempt it is."""

    __slots__ = ("attempt", "job", "place", "source")

    def __init__(self, job: Job[Any], attempt: int, place: int, source: Any) -> None:
        self.job = job
        self.attempt = attempt
        self.place = place
        self.source = source  # what it was encoded as: it may have to be sent to another worker


class Pickled(NamedTuple):
    """A job that was encoded by itself. Once: a value may pickle one time only (a token, an iterator)."""

    kind: int
    job: tuple[int, int]  # its number and attempt
    payload: bytes
    buffers: list[memoryview]


Encoded = tuple[Job[Any], Any, Any]
"""A job, what it was encoded as, and what is to be sent of it; None if that is to be made anew."""


class Seat:
    """One worker and the jobs it has. Guarded by the lock of its `Ahead`."""

    __slots__ = (
        "asked",
        "deaf",
        "elsewhere",
        "held",
        "hungry",
        "idle",
        "in_flight",
        "index",
        "places",
        "ready",
        "recalled",
        "refused",
        "since",
        "worker",
    )

    def __init__(self, index: int, worker: Worker, elsewhere: bool = False) -> None:
        self.index = index
        self.worker = worker
        self.elsewhere = elsewhere  # on another host, with a clock of its own
        self.ready = False  # it has started up
        self.held = False  # it is about to go, and is sent nothing more
        self.hungry = False  # it stands in the queue of workers with room
        self.idle = False  # it stands in the queue of workers without a job
        self.recalled = False  # an answer to a withdrawal is due
        self.deaf = False  # it has not answered for long
        self.asked = (0, 0, 0.0)  # for which range, and when
        self.in_flight: dict[int, Entry] = {}  # by job number, in the order of sending
        self.places = 0  # jobs sent so far
        self.since = monotonic()  # when its first job in flight began, as far as seen from here
        self.refused = 0.0  # when it last had nothing to give back

    def head(self) -> Entry | None:
        """The job that runs."""
        return next(iter(self.in_flight.values()), None)

    def add(self, job: Job[Any], source: Any) -> None:
        """A job is about to be sent."""
        if not self.in_flight:
            self.since = monotonic()
        self.in_flight[job.number] = Entry(job, job.attempts, self.places, source)
        self.places += 1


class Ahead(abc.ABC):
    """The jobs in flight of one evaluator, and the thread that does its workers' I/O."""

    def __init__(self, owner: Evaluator, name: str) -> None:
        self._owner = owner
        self._watched = owner._watches_starts
        self._decides = owner._stopper is not None
        self._lock = threading.Lock()
        self._seats: dict[int, Any] = {}
        self._idle: deque[Any] = deque()  # workers without a job, and some that had none and have one now
        self._hungry: deque[Any] = deque()  # workers with room
        self._homeless: dict[int, Encoded] = {}  # by job number: dispatched, and no worker has room
        self._torn: set[Any] = set()  # workers with whom something went wrong
        self._guard = Guard("The thread that hears workers", self._mend, self._give_up_all)
        self._window = LEAST_IN_FLIGHT
        self._duration = 0.0  # of recent jobs: rises at once, falls slowly
        self._balance_at: float | None = None
        self._unheard = False  # all jobs behind one that does not stop are wanted back, and there is no answer yet
        self._hopeless = ""  # why no worker can be had, if none can
        self._commands: deque[Callable[[], Any]] = deque()
        self._lead = Lead(self._wake)
        self._shortage = Shortage(self)
        self._reports: list[tuple[Job[Any], Outcome]] = []
        self._slots = 0  # change of the evaluator's slots that is to be told
        self._stopping = False
        self._thread = guarded_thread(name, self._guard, self._run)

    _hears_between_jobs: ClassVar[bool] = False
    """Workers look for withdrawals before they begin another job after a long one."""

    # What an engine adds.

    @abc.abstractmethod
    def _run(self) -> bool:
        """The I/O thread, from its first to its last act. Returns False."""

    @abc.abstractmethod
    def _wake(self) -> None:
        """Let `_poll` return; from any thread."""

    @abc.abstractmethod
    def _poll(self, timeout: float | None) -> Any:
        """Wait for something to happen, or until `_rest`; returns what `_handle_events` takes."""

    @abc.abstractmethod
    def _handle_events(self, events: Any) -> None:
        """See to all that happened, then call `_conclude_turn`."""

    @abc.abstractmethod
    def _send(self, seat: Any, pieces: list[bytes | memoryview]) -> None:
        """Send the pieces of frames to a worker without waiting. Under the lock."""

    @abc.abstractmethod
    def _tell(self, seat: Any, pieces: list[bytes | memoryview]) -> None:
        """Send a small frame that does not wait behind jobs, without blocking. Under the lock."""

    @abc.abstractmethod
    def _force(self, seat: Any, entry: Any) -> bool:
        """Stop by force the job that runs, if this engine can. Under the lock."""

    @abc.abstractmethod
    def _on_other(self, seat: Any, kind: int, payload: memoryview) -> None:
        """A worker's frame that is no outcome and no record."""

    @abc.abstractmethod
    def _describe_shortage(self) -> str:
        """Why no worker takes jobs, as far as can be seen: what is missing, and who has it. In any thread."""

    def _framed(self, kind: int, job: tuple[int, int], payload: bytes, buffers: list[memoryview]) -> Any:
        """What is sent for a `Pickled`; an engine with another way for large arrays overrides this. No lock is held."""
        return _wire.frame(kind, payload, buffers)

    def _message(self, source: Any) -> Any:
        return source if type(source) is tuple else self._framed(*source)

    def _borrow(self, seat: Any, head: memoryview) -> _wire.Frame:
        """The frame that a worker has lent, for an engine with a way to do so. Raises `OSError` if it can't be had."""
        raise OSError("this engine lends nothing")

    # From the evaluator's threads.

    def dispatch(self, jobs: list[Job[Any]]) -> None:
        """Send jobs to workers with room; unpicklable ones are reported at once."""
        if self._hopeless:
            for job in jobs:
                self._owner._report(job, failed(FailureKind.WORKER_DIED, self._hopeless))
            return
        encoded: list[Encoded] = []
        for job in jobs:
            try:
                source = encode(job)
                encoded.append((job, source, self._message(source)))
            except BaseException as error:  # a configuration's own code may raise anything
                if from_a_handler(error):
                    raise
                self._owner._report(job, failed(FailureKind.UNPICKLABLE, unpicklable(error)))
        begun: list[tuple[Job[Any], Worker]] = []
        with self._lock:
            self._assign(encoded, begun)
        self._note_begun(begun)

    def ask_to_stop(self, job: Job[Any]) -> None:
        """Tell the worker that has the job; one that has not begun it gives it back."""
        with self._lock:
            seat, entry = self._find(job)
            if seat is None or entry is None:
                return
            self._tell(seat, _wire.frame(_wire.STOP, _wire.JOB.pack(job.number, entry.attempt)))
            self._tell(seat, _wire.frame(_wire.WITHDRAW, _wire.RANGE.pack(entry.place, entry.place)))

    def interrupt(self, job: Job[Any]) -> bool:
        """Stop the job that runs by force, if this engine can. One that waits behind another is just given up."""
        with self._lock:
            seat, entry = self._find(job)
            if seat is None or entry is None:
                if self._homeless.pop(job.number, None) is None:
                    return False
            elif seat.head() is entry:
                return self._force(seat, entry)
            # Its worker is deaf (C code that holds the GIL): a late outcome finds nobody who waits for it.
            else:
                del seat.in_flight[job.number]
        self._owner._report(job, failed(FailureKind.CANCELLED, "cancelled before it ran"))
        return True

    def lead(self, inbox: Inbox, size: int, deadline: float | None) -> bool:
        """Do the I/O in this thread until `inbox` has what is waited for; False if another thread does it."""
        with Shielded():  # what has been read from a worker is nowhere else
            if self._stopping or not self._lead.take():
                return False
            watcher = self._wake_leader
            try:
                while True:
                    inbox.watchers.append(watcher)  # while this thread may sleep: what it reads itself wakes nobody
                    try:
                        if len(inbox.done) >= inbox.needed(size) or self._stopping:
                            break
                        rest = None if deadline is None else deadline - monotonic()
                        if rest is not None and rest <= 0:
                            break
                        with Opened():
                            events = self._poll(SLICE if rest is None else min(SLICE, rest))
                    except OSError as error:
                        if from_a_handler(error) or not self._guard.caught(error):
                            raise
                        continue
                    finally:
                        inbox.watchers.remove(watcher)
                    self._handle_events(events)
            finally:
                self._lead.give_back_if_leading()
        return True

    def _wake_leader(self) -> None:
        """A job ended by other means than a worker's word: the caller that leads does not see that by itself."""
        if self._lead.leader != threading.get_ident():
            self._wake()

    def _find(self, job: Job[Any]) -> tuple[Seat | None, Any]:
        for seat in self._seats.values():
            entry = seat.in_flight.get(job.number)
            if entry is not None and entry.job is job:
                return seat, entry
        return None, None

    def _command(self, action: Callable[[], Any]) -> None:
        """Have something done by the I/O thread."""
        self._commands.append(action)
        self._wake()

    # Assignment; under the lock.

    def _assign(self, encoded: list[Encoded], begun: list[tuple[Job[Any], Worker]]) -> None:
        """Send encoded jobs, to idle workers first, then evenly; those without a worker wait here."""
        batches: dict[Seat, list[Any]] = {}
        try:
            self._assign_to(batches, encoded, begun)
        except BaseException as error:
            self._torn.update(batches)  # how much of it they have been sent is not known
            self._command(partial(self._guard.caught, error))
            raise

    def _assign_to(
        self, batches: dict[Seat, list[Any]], encoded: list[Encoded], begun: list[tuple[Job[Any], Worker]]
    ) -> None:
        hungry, window = self._hungry, self._window
        watched = self._watched or self._owner._has_deadlines
        now = monotonic()
        for job, source, message in encoded:
            idle = self._first_idle() if self._idle else None
            if idle is None:
                while hungry and not self._takes_more(hungry[0], window, now):
                    hungry.popleft().hungry = False
                if not hungry:
                    self._homeless[job.number] = job, source, message
                    continue
            seat = idle or hungry[0]
            if watched and not seat.in_flight:
                begun.append((job, seat.worker))
            batch = batches.get(seat)
            if batch is None:
                batch = batches[seat] = []
            seat.add(job, source)
            if idle is not None:
                self._idle.popleft().idle = False
            elif len(seat.in_flight) >= window:
                hungry.popleft()
                seat.hungry = False
            else:
                hungry.rotate(-1)
            if type(message) is tuple:
                batch.append(message)
                continue
            if batch:
                self._send(seat, _jobs_frame(batch))
                batch.clear()
            self._send(seat, message)
        for seat, batch in batches.items():
            if batch:
                self._send(seat, _jobs_frame(batch))

    def _feed(self, seat: Seat) -> None:
        """A worker has room again."""
        if not seat.ready or seat.held:
            return
        if not seat.hungry and len(seat.in_flight) < self._window:
            seat.hungry = True
            self._hungry.append(seat)
        if not seat.in_flight and not seat.idle:
            seat.idle = True
            self._idle.append(seat)

    @staticmethod
    def _takes_more(seat: Seat, window: int, now: float) -> bool:
        """Has a worker room for a job? One that is busy with a long job takes one ahead and no more."""
        count = len(seat.in_flight)
        if not seat.ready or seat.deaf or count >= window:
            return False
        return count < LEAST_IN_FLIGHT or now - seat.since < STUCK_AFTER

    def _first_idle(self) -> Any:
        """A worker without a job, or None; a job is put behind another one only if there is none."""
        idle = self._idle
        while idle and idle[0].in_flight:
            idle.popleft().idle = False
        return idle[0] if idle else None

    def _forget(self, seat: Seat) -> list[Entry]:
        """Under the lock: a worker is gone; returns the jobs it had, the one that ran first."""
        del self._seats[seat.index]
        for queue in (self._hungry, self._idle):
            if seat in queue:
                queue.remove(seat)
        seat.hungry = seat.idle = False
        entries = list(seat.in_flight.values())
        seat.in_flight.clear()
        if seat.ready:
            self._slots -= self._window
            if not any(other.ready for other in self._seats.values()):
                self._shortage.begin()
        return entries

    # Whoever does the I/O.

    def _rest(self, timeout: float | None) -> float | None:
        """How long to wait at the most: until `timeout`, or the next look at the balance."""
        if self._balance_at is not None:
            rest = max(0.0, self._balance_at - monotonic())
            timeout = rest if timeout is None else min(rest, timeout)
        return timeout

    def _serve(self) -> None:
        """Be the I/O thread until the end: whenever no caller leads."""
        lead = self._lead
        self._shortage.begin()
        while not self._stopping:
            try:
                lead.follow()
                while not (self._stopping or lead.wanted):
                    self._handle_events(self._poll(None))
                if not self._stopping:
                    lead.let_go()
            except BaseException as error:  # noqa: BLE001  this thread has no caller
                if not self._guard.caught(error):
                    self._stopping = True
                    lead.give_up()

    def _conclude_turn(self) -> None:
        """What follows on whatever happened."""
        while True:
            try:
                for _ in range(len(self._commands)):  # what they command in turn waits for the next
                    self._commands.popleft()()
                self._tell_owner()
                if self._idle or self._unheard:
                    self._balance()
                else:
                    self._balance_at = None  # it is over: a moment that has passed would let nobody rest
                return
            except BaseException as error:  # noqa: BLE001  ours; the caller that leads could do nothing about it
                if not self._went_wrong(None, error):
                    return

    # When something goes wrong.

    def _went_wrong(self, seat: Any, error: BaseException) -> bool:
        """Whoever does the I/O met an error of our own, with this worker if it is known; returns whether to go on.

        What is no `Exception` is the caller's where a caller leads (an interrupt that came past the shield).
        """
        if seat is not None:
            self._torn.add(seat)
        go_on = self._guard.caught(error)
        if not isinstance(error, Exception) and threading.current_thread() is not self._thread:
            raise error
        return go_on

    def _mend(self, error: BaseException) -> None:
        """Make whole what an error has torn: the workers concerned, the queues, the slots, jobs that are nowhere."""
        torn, self._torn = self._torn, set()
        for seat in torn:
            if self._seats.get(seat.index) is seat:
                self._discard(seat, f"evalpool could not go on with this worker.\n{describe(error)}")
        self._balance_at = None
        with self._lock:
            self._hungry.clear()
            self._idle.clear()
            for seat in self._seats.values():
                seat.hungry = seat.idle = seat.recalled = False
                self._feed(seat)
            self._slots = 0
            capacity = self._window * sum(seat.ready for seat in self._seats.values())
        if self._hopeless:
            capacity += self._owner._num_workers
        self._owner._end_lost(self._has, capacity, error)
        self._wake()  # what is to be reported now waits for no worker's word

    def _has(self) -> set[int]:
        """The numbers of the jobs that are somewhere here."""
        with self._lock:
            numbers = {number for seat in self._seats.values() for number in seat.in_flight}
            return numbers.union(self._homeless, (job.number for job, _ in self._reports))

    def _discard(self, seat: Any, text: str) -> None:
        """What a worker has been sent or has said is in doubt: its jobs end with this text. Engines replace it."""
        with self._lock:
            entries = list(seat.in_flight.values())
            seat.in_flight.clear()
        now = monotonic()
        for entry in entries:
            outcome = failed(FailureKind.WORKER_DIED, text, start=seat.since, end=now, worker=seat.worker)
            self._reports.append((entry.job, outcome))

    def _give_up_all(self, error: BaseException) -> None:
        """This cannot go on: all jobs end with the reason, now and from now on."""
        self._hopeless = f"evalpool cannot go on with these workers.\n{describe(error)}"
        with self._lock:
            for seat in self._seats.values():
                seat.in_flight.clear()
            self._homeless.clear()
            self._reports = []
        self._owner._end_lost(set, self._owner._num_workers, error)

    def _tell_owner(self) -> None:
        """Report what was read in this turn, in one go: one lock and one look for the next jobs."""
        if self._homeless:  # they were dispatched before those that a report lets follow
            self._house()
        if self._slots:
            change, self._slots = self._slots, 0
            self._owner._set_slots(change)
            pump = True
        else:
            pump = False
        if self._reports:
            reports, self._reports = self._reports, []
            self._owner._report_all(reports)
        elif pump:
            self._owner._pump()
        if self._homeless:
            self._house()

    def _house(self) -> None:
        """Give jobs that wait here to workers that have room by now."""
        if self._hopeless:
            with self._lock:
                waiting, self._homeless = list(self._homeless.values()), {}
            for job, _, _ in waiting:
                self._owner._report(job, failed(FailureKind.WORKER_DIED, self._hopeless))
            return
        begun: list[tuple[Job[Any], Worker]] = []
        with self._lock:
            waiting = list(self._homeless.values())
        encoded = [
            (job, source, self._message(source) if message is None else message) for job, source, message in waiting
        ]
        with self._lock:  # what was cancelled meanwhile is not there any more
            self._assign([each for each in encoded if self._homeless.pop(each[0].number, None) is not None], begun)
        self._note_begun(begun)

    def _note_begun(self, jobs: list[tuple[Job[Any], Worker]]) -> None:
        for job, worker in jobs:
            self._owner._started(job, worker)

    # What workers say.

    def _started_up(self, seat: Seat) -> None:
        """A worker is ready for jobs."""
        with self._lock:
            seat.ready = True
            self._shortage.end()
            self._slots += self._window
            self._feed(seat)

    def _take(self, seat: Seat, frames: list[_wire.Frame]) -> None:
        """Outcomes and records from one worker."""
        now = monotonic()
        longest = 0.0
        reports = self._reports
        ended: list[Any] = []
        for kind, payload, buffers in frames:
            try:
                if kind == _wire.FAST_OUTCOME:
                    number, attempt, objective, start, end = _wire.FAST.unpack(payload)
                    outcome = Outcome(DONE, objective, None, None, None, None, start, end, seat.worker)
                elif kind == _wire.OUTCOME:
                    number, attempt = _wire.JOB.unpack_from(payload)
                    outcome = load_outcome(kind, payload, buffers, seat)
                    start, end = outcome.start or now, outcome.end or now
                elif kind == _wire.RECORD:
                    self._on_record(seat, payload, buffers)
                    continue
                elif kind == _wire.LOG:
                    _logs.show(payload, seat.worker)
                    continue
                elif kind == _wire.LENT:
                    number, attempt = _wire.JOB.unpack_from(payload)
                    outcome = self._borrowed_outcome(seat, payload)
                    start, end = outcome.start or now, outcome.end or now
                else:
                    self._on_other(seat, kind, payload)
                    continue
            except Exception as error:
                if kind not in _ENDS:
                    raise
                number, attempt = _wire.JOB.unpack_from(payload)
                text = f"The outcome could not be taken.\n{describe(error)}"
                outcome = failed(FailureKind.WORKER_DIED, text, start=seat.since, end=now, worker=seat.worker)
                start, end = seat.since, now
            if seat.elsewhere:
                outcome = on_our_clock(outcome)
            if end - start > longest:
                longest = end - start
            ended.append((number, attempt, outcome))
        if not ended:
            return
        begins: Job[Any] | None = None
        with self._lock:
            in_flight = seat.in_flight
            for number, attempt, outcome in ended:
                entry = in_flight.pop(number, None)
                if entry is not None and entry.attempt == attempt:
                    reports.append((entry.job, outcome))
            seat.since = now
            seat.deaf = False
            if in_flight and (self._watched or self._owner._has_deadlines):
                head = seat.head()
                begins = head.job if head is not None else None
            self._learn(longest)
            self._feed(seat)
        if begins is not None:
            self._owner._started(begins, seat.worker)

    def _borrowed_outcome(self, seat: Seat, head: memoryview) -> Outcome:
        try:
            kind, payload, buffers = self._borrow(seat, head)
        except OSError as error:
            text = f"The result could not be taken over from the worker: {error}"
            return failed(FailureKind.UNPICKLABLE, text, start=seat.since, end=monotonic(), worker=seat.worker)
        return load_outcome(kind, payload, buffers, seat)

    def _learn(self, longest: float) -> None:
        """Under the lock: adapt the number of jobs in flight to how long jobs take."""
        self._duration = max(longest, 0.9 * self._duration + 0.1 * longest)
        wanted = min(MOST_IN_FLIGHT, LEAST_IN_FLIGHT + int(AHEAD / (self._duration + 5e-6)))
        # In steps of two, so that it does not change at every turn.
        if wanted >= 2 * self._window or 2 * wanted <= self._window:
            ready = sum(seat.ready for seat in self._seats.values())
            self._slots += (wanted - self._window) * ready
            self._window = wanted
            for seat in self._seats.values():
                self._feed(seat)

    def _on_record(self, seat: Seat, payload: memoryview, buffers: list[memoryview]) -> None:
        number, attempt = _wire.JOB.unpack_from(payload)
        try:
            budget, objective, count = _wire.load(payload[_wire.JOB.size :], buffers)
        except BaseException as error:  # a value's own code may raise anything
            if from_a_handler(error):
                raise
            logger.error("A record of job %d could not be unpickled; it is left out.", number, exc_info=error)
            return
        stop = self._owner._recorded(number, attempt, budget, objective)
        if self._decides or stop:
            with self._lock:
                self._tell(seat, _wire.frame(_wire.DECIDED, _wire.DECISION.pack(number, attempt, count, stop)))

    def _given_back(self, seat: Seat, ranges: list[tuple[int, int]]) -> None:
        """A worker has answered: the jobs of these ranges it had not begun."""
        cancelled = []
        with self._lock:
            self._balance_at = None  # it was for those that do not answer; the next look at the balance says when anew
            for low, high in ranges:
                seat.recalled = seat.deaf = False
                if low > high:
                    seat.refused = monotonic()  # it has begun them; ask again only after a while
                    continue
                given_back = [e for e in seat.in_flight.values() if low <= e.place <= high]
                for entry in given_back:
                    del seat.in_flight[entry.job.number]
                    if entry.job._stop is None:
                        self._homeless[entry.job.number] = entry.job, entry.source, None
                    else:
                        cancelled.append(entry.job)
            self._feed(seat)
        for job in cancelled:
            self._reports.append((job, failed(FailureKind.CANCELLED, "cancelled before it ran")))

    # Balance.

    def _balance(self) -> None:
        """Withdraw jobs that wait behind a long one while another worker is idle."""
        now = monotonic()
        if self._balance_at is not None and now < self._balance_at:
            return
        self._balance_at = None
        with self._lock:
            if self._hears_between_jobs:
                for seat in self._seats.values():
                    if seat.recalled:
                        self._take_from_the_deaf(seat, now)
                self._unheard = self._unheard and any(seat.recalled for seat in self._seats.values())
            if self._first_idle() is not None:
                self._recall_for_the_idle(now)
        if self._homeless:
            self._house()

    def _recall_for_the_idle(self, now: float) -> None:
        """Under the lock: ask for a share of the jobs behind long ones."""
        idle = sum(seat.ready and not seat.in_flight for seat in self._seats.values())
        for seat in self._seats.values():
            waiting = len(seat.in_flight) - 1
            if waiting < 1 or seat.recalled or not seat.ready:
                continue
            if now - max(seat.since, seat.refused) < RECALL_AFTER:
                self._balance_at = now + RECALL_AFTER
                continue
            self._recall(seat, waiting if seat.deaf else max(1, waiting * idle // (idle + 1)), now)

    def _recall(self, seat: Seat, count: int, now: float) -> None:
        """Under the lock: ask for the last `count` jobs that were sent."""
        seat.recalled = True
        places = [entry.place for entry in seat.in_flight.values()][-count:]
        seat.asked = places[0], places[-1], now
        if self._hears_between_jobs:
            self._balance_at = min(self._balance_at or math.inf, now + DEAF_AFTER)
        self._tell(seat, _wire.frame(_wire.WITHDRAW, _wire.RANGE.pack(places[0], places[-1])))

    def _expect_nothing_of(self, seat: Seat) -> None:
        """Under the lock: its job does not stop and cannot be stopped. Jobs behind it go elsewhere, also if all others
        are busy, and until it says something nothing more is sent there."""
        seat.deaf = True
        waiting = len(seat.in_flight) - 1
        if waiting > 0 and not seat.recalled:
            self._recall(seat, waiting, monotonic())
        self._unheard = seat.recalled
        self._wake()

    def _take_from_the_deaf(self, seat: Seat, now: float) -> None:
        """Under the lock: a worker that has not answered for long is in C code that holds its GIL.

        It still runs the job it ran when it was asked, and will see the withdrawal before it begins another one; so
        the jobs behind can be had without its answer.
        """
        low, high, when = seat.asked
        if now - when < DEAF_AFTER or seat.since > when:
            self._balance_at = min(self._balance_at or math.inf, max(when, seat.since) + DEAF_AFTER)
            return
        for entry in [e for e in seat.in_flight.values() if low <= e.place <= high]:
            del seat.in_flight[entry.job.number]
            if entry.job._stop is None:
                self._homeless[entry.job.number] = entry.job, entry.source, None
        seat.recalled, seat.deaf = False, True


_PLAIN = frozenset({int, float, str, bool, type(None)})


def encode(job: Job[Any]) -> Any:
    """A tuple that goes into a batch; or a `Pickled`, for a job whose pickle may fail or hold large arrays."""
    configuration, extra = job.args, job._extra
    if not extra and _PLAIN.issuperset(map(type, configuration.values())):
        return job.number, job.attempts, configuration, None
    payload, buffers = _wire.dump((configuration, extra or None))
    identity = job.number, job.attempts
    return Pickled(_wire.ONE_JOB, identity, _wire.JOB.pack(*identity) + payload, buffers)


def _jobs_frame(batch: list[Any]) -> list[bytes | memoryview]:
    return _wire.frame(_wire.JOBS, pickle.dumps(batch, 5))


def load_outcome(kind: int, payload: memoryview, buffers: list[memoryview], seat: Seat) -> Outcome:
    """The outcome in a worker's frame; a result that cannot be unpickled is a failure."""
    if kind == _wire.FAST_OUTCOME:
        _, _, objective, start, end = _wire.FAST.unpack(payload)
        return Outcome(DONE, objective, None, None, None, None, start, end, seat.worker)
    try:
        facts = _wire.load(payload[_wire.JOB.size :], buffers)
        status, objective, output, metadata, error, failure, start, end, stopped_early = facts
    except BaseException as problem:  # noqa: BLE001  a result's own code may raise anything
        from evalpool.worker._call import describe_exception

        text = f"The result could not be unpickled here: {describe_exception(problem, problem.__traceback__)}"
        return failed(FailureKind.UNPICKLABLE, text, start=seat.since, end=monotonic(), worker=seat.worker)
    why = KIND.get(failure)
    return Outcome(STATUS[status], objective, output, metadata, error, why, start, end, seat.worker, stopped_early)
