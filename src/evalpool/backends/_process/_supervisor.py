"""Supervises worker processes: one I/O thread for all of them.

It starts workers, reads outcomes and records, replaces workers that die, and balances: a job that was sent
ahead to a worker which then turns out to be busy for long is withdrawn and given to an idle one. Jobs are
assigned by whichever thread pumps; the lock guards the assignment, never a call into the evaluator.

Several jobs are in flight per worker, so that it never waits for us, and more the shorter they are: as many
as fill `AHEAD` seconds by the longest recent duration. Blame stays with one job: a worker runs its jobs in
the order in which they were sent, so the first in flight is the one that runs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import selectors
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evalpool.backends._process import _wire
from evalpool.backends._process._ends import Reaper, kill_lock, kill_tree
from evalpool.backends._process._handle import Handle, spawn
from evalpool.backends._process._lead import Lead
from evalpool.evaluator._cpus import usable_cpus
from evalpool.evaluator._job import Job
from evalpool.outcomes import FailureKind, JobStatus, Outcome, failed

if TYPE_CHECKING:
    from evalpool.backends._process._evaluator import ProcessPoolEvaluator
    from evalpool.evaluator._inbox import Inbox

__all__ = ["Supervisor", "load_outcome"]

logger = logging.getLogger("evalpool")

DONE = JobStatus.DONE
STATUS = {status.value: status for status in JobStatus}
KIND = {kind.value: kind for kind in FailureKind}

LEAST_IN_FLIGHT = 2
"""One runs, one waits in the worker: measured 1.6 to 2.6 times the rate of one alone; a third adds little."""
MOST_IN_FLIGHT = 256
AHEAD = 0.002
"""Seconds of work that may be in flight per worker."""
RECALL_AFTER = 0.002
"""A worker busy with one job for so long gives the jobs behind it to idle workers."""
FAILED_STARTS = 3
"""Workers in a row that end before they are ready: then starting more is pointless."""
START_TIMEOUT = 300.0
"""Seconds a worker may take to import what the run-function needs."""
END_TIMEOUT = 1.0
"""Seconds an idle worker may take to end by itself."""

_supervisors: weakref.WeakSet[Supervisor] = weakref.WeakSet()


class Supervisor:
    """The workers of one evaluator."""

    def __init__(self, owner: ProcessPoolEvaluator, setup: list[bytes | memoryview]) -> None:
        self._owner = owner
        self._setup = setup
        self._count = owner._num_workers
        self._threads_per_worker = max(1, usable_cpus() // self._count)
        self._watched = owner._watches_starts
        self._decides = owner._stopper is not None
        self._lock = threading.Lock()
        self._handles: dict[int, Handle] = {}
        self._hungry: deque[Handle] = deque()  # workers with room, idle ones first
        self._homeless: deque[Job[Any]] = deque()  # dispatched, and no worker has room
        self._window = LEAST_IN_FLIGHT
        self._duration = 0.0  # of recent jobs: rises at once, falls slowly
        self._balance_at: float | None = None
        self._failed_starts = 0
        self._hopeless = ""
        self._commands: deque[Callable[[], None]] = deque()
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_in, selectors.EVENT_READ, (self._woken, None))
        self._lead = Lead(self._wake)
        self._reports: list[tuple[Job[Any], Outcome]] = []
        self._slots = 0  # change of the evaluator's slots that is to be told
        self._stopping = False
        self._reaper = Reaper()
        self._thread = threading.Thread(target=self._run, name="evalpool-process-io", daemon=True)
        _supervisors.add(self)
        self._thread.start()

    # From the evaluator's threads.

    def dispatch(self, jobs: list[Job[Any]]) -> None:
        """Send jobs to workers with room; unpicklable ones are reported at once."""
        encoded: list[tuple[Job[Any], Any]] = []
        for job in jobs:
            try:
                encoded.append((job, _encode(job)))
            except Exception as error:  # noqa: BLE001  a configuration's own code may raise anything
                text = f"The configuration could not be pickled: {type(error).__name__}: {error}"
                self._owner._report(job, failed(FailureKind.UNPICKLABLE, text))
        begun: list[Job[Any]] = []
        with self._lock:
            self._assign(encoded, begun)
        self._note_begun(begun)

    def ask_to_stop(self, job: Job[Any]) -> None:
        """Tell the worker that has the job; one that has not begun it gives it back."""
        with self._lock:
            handle, entry = self._find(job)
            if handle is None or entry is None:
                return
            handle.tell(_wire.frame(_wire.STOP, _wire.JOB.pack(job.number, entry.attempt)))
            handle.tell(_wire.frame(_wire.WITHDRAW, _wire.RANGE.pack(entry.place, entry.place)))

    def interrupt(self, job: Job[Any]) -> bool:
        """Kill the worker that runs the job. A job that waits behind another one is just given up."""
        with self._lock:
            handle, entry = self._find(job)
            if handle is None or entry is None:
                if job not in self._homeless:
                    return False
                self._homeless.remove(job)
            elif handle.head() is entry:
                self._command(lambda: self._kill(handle))
                return True
            # Its worker is deaf (C code that holds the GIL): a late outcome finds nobody who waits for it.
            else:
                del handle.in_flight[job.number]
        self._owner._report(job, failed(FailureKind.CANCELLED, "cancelled before it ran"))
        return True

    def stop(self, now: bool) -> None:
        """End all workers and the I/O thread; busy ones are killed at once with `now`."""
        if not self._stopping:
            self._command(lambda: self._begin_to_stop(now))
        if self._thread is not threading.current_thread():
            self._thread.join(10.0)

    def lead(self, inbox: Inbox, size: int, deadline: float | None) -> bool:
        """Do the I/O in this thread until `inbox` has what is waited for; False if another thread does it."""
        if self._stopping or not self._lead.take():
            return False
        watcher = self._wake_leader
        inbox.watchers.append(watcher)
        try:
            while len(inbox.done) < inbox.needed(size) and not self._stopping:
                rest = None if deadline is None else deadline - time.monotonic()
                if rest is not None and rest <= 0:
                    return True
                self._lead.uninterrupted(self._handle_events, self._poll(rest))
        finally:
            inbox.watchers.remove(watcher)
            self._lead.give_back()
        return True

    def _wake_leader(self) -> None:
        """A job ended by other means than a worker's word: the caller that leads does not see that by itself."""
        if self._lead.leader != threading.get_ident():
            self._wake()

    def _find(self, job: Job[Any]) -> tuple[Handle | None, Any]:
        for handle in self._handles.values():
            entry = handle.in_flight.get(job.number)
            if entry is not None and entry.job is job:
                return handle, entry
        return None, None

    def _command(self, action: Callable[[], None]) -> None:
        """Have something done by the I/O thread."""
        self._commands.append(action)
        self._wake()

    def _wake(self) -> None:
        # A full pipe has woken it already; a closed one has nobody left to wake.
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._wake_out, b"x")

    # Assignment; under the lock.

    def _assign(self, encoded: list[tuple[Job[Any], Any]], begun: list[Job[Any]]) -> None:
        """Send encoded jobs, to idle workers first, then evenly; those without a worker wait here."""
        hungry, window, watched = self._hungry, self._window, self._watched
        batches: dict[Handle, list[Any]] = {}
        for job, message in encoded:
            while hungry and (not hungry[0].ready or len(hungry[0].in_flight) >= window):
                hungry.popleft().hungry = False
            if not hungry:
                self._homeless.append(job)
                continue
            handle = hungry[0]
            if watched and not handle.in_flight:
                begun.append(job)
            handle.add(job)
            if len(handle.in_flight) >= window:
                hungry.popleft()
                handle.hungry = False
            else:
                hungry.rotate(-1)
            batch = batches.get(handle)
            if batch is None:
                batch = batches[handle] = []
            if type(message) is tuple:
                batch.append(message)
                continue
            if batch:
                self._send(handle, _jobs_frame(batch))
                batch.clear()
            self._send(handle, message)
        for handle, batch in batches.items():
            if batch:
                self._send(handle, _jobs_frame(batch))

    def _send(self, handle: Handle, pieces: list[bytes | memoryview]) -> None:
        if not handle.send(pieces):
            self._command(lambda: self._watch_writes(handle))

    def _feed(self, handle: Handle) -> None:
        """A worker has room again."""
        if handle.ready and not handle.hungry and len(handle.in_flight) < self._window:
            handle.hungry = True
            if handle.in_flight:
                self._hungry.append(handle)
            else:
                self._hungry.appendleft(handle)

    # The I/O thread.

    def _run(self) -> None:
        for index in range(self._count):
            self._start_worker(index)
        lead = self._lead
        try:
            while not self._stopping:
                lead.follow()
                while not (self._stopping or lead.wanted):
                    self._handle_events(self._poll(None))
                if not self._stopping:
                    lead.let_go()
            self._end_workers()
        finally:
            lead.close()
            self._selector.close()
            os.close(self._wake_in)
            os.close(self._wake_out)
            self._reaper.close()

    def _poll(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for something to happen."""
        if self._balance_at is not None:
            rest = max(0.0, self._balance_at - time.monotonic())
            timeout = rest if timeout is None else min(rest, timeout)
        return self._selector.select(timeout)

    def _handle_events(self, events: list[tuple[selectors.SelectorKey, int]]) -> None:
        """See to all that happened."""
        for key, mask in events:
            action, handle = key.data
            if handle is None or self._handles.get(handle.index) is handle:
                action(handle, mask)
        while self._commands:
            self._commands.popleft()()
        self._tell_owner()
        if self._hungry:
            self._balance()

    def _tell_owner(self) -> None:
        """Report what was read in this turn, in one go: one lock and one look for the next jobs."""
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
            while self._homeless:
                job = self._homeless.popleft()
                self._owner._report(job, failed(FailureKind.WORKER_DIED, self._hopeless))
            return
        begun: list[Job[Any]] = []
        with self._lock:
            jobs = []
            while self._homeless:
                jobs.append(self._homeless.popleft())
            self._assign([(job, _encode(job)) for job in jobs], begun)
        self._note_begun(begun)

    def _note_begun(self, jobs: list[Job[Any]]) -> None:
        for job in jobs:
            self._owner._started(job)

    def _woken(self, _: None, mask: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_in, 4096)

    def _watch_writes(self, handle: Handle) -> None:
        if self._handles.get(handle.index) is handle:
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            self._selector.modify(handle.data, both, (self._on_data, handle))

    # What workers say.

    def _on_data(self, handle: Handle, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            with self._lock:
                done = handle.flush()
            if done:
                self._selector.modify(handle.data, selectors.EVENT_READ, (self._on_data, handle))
        if mask & selectors.EVENT_READ:
            try:
                frames = handle.reader.read()
            except BlockingIOError:
                return
            if frames:
                self._take(handle, frames)
            if handle.reader.at_end:
                self._on_end(handle, mask)

    def _take(self, handle: Handle, frames: list[_wire.Frame]) -> None:
        """Outcomes and records from one worker."""
        now = time.monotonic()
        longest = 0.0
        reports = self._reports
        ended: list[Any] = []
        for kind, payload, buffers in frames:
            if kind == _wire.FAST_OUTCOME:
                number, attempt, objective, start, end = _wire.FAST.unpack(payload)
                outcome = Outcome(DONE, objective, None, None, None, None, start, end, handle.worker)
            elif kind == _wire.OUTCOME:
                number, attempt = _wire.JOB.unpack_from(payload)
                outcome = load_outcome(kind, payload, buffers, handle)
                start, end = outcome.start or now, outcome.end or now
            elif kind == _wire.RECORD:
                self._on_record(handle, payload, buffers)
                continue
            else:
                self._on_started_up(handle)
                continue
            if end - start > longest:
                longest = end - start
            ended.append((number, attempt, outcome))
        if not ended:
            return
        begins: Job[Any] | None = None
        with self._lock:
            in_flight = handle.in_flight
            for number, attempt, outcome in ended:
                entry = in_flight.pop(number, None)
                if entry is not None and entry.attempt == attempt:
                    reports.append((entry.job, outcome))
            handle.since = now
            if in_flight and self._watched:
                head = handle.head()
                begins = head.job if head is not None else None
            self._learn(longest)
            self._feed(handle)
        if begins is not None:
            self._owner._started(begins)

    def _learn(self, longest: float) -> None:
        """Under the lock: adapt the number of jobs in flight to how long jobs take."""
        self._duration = max(longest, 0.9 * self._duration + 0.1 * longest)
        wanted = min(MOST_IN_FLIGHT, LEAST_IN_FLIGHT + int(AHEAD / (self._duration + 5e-6)))
        # In steps of two, so that it does not change at every turn.
        if wanted >= 2 * self._window or 2 * wanted <= self._window:
            ready = sum(handle.ready for handle in self._handles.values())
            self._slots += (wanted - self._window) * ready
            self._window = wanted
            for handle in self._handles.values():
                self._feed(handle)

    def _on_record(self, handle: Handle, payload: memoryview, buffers: list[memoryview]) -> None:
        number, attempt = _wire.JOB.unpack_from(payload)
        try:
            budget, objective, count = _wire.load(payload[_wire.JOB.size :], buffers)
        except Exception:
            logger.exception("A record of job %d could not be unpickled; it is left out.", number)
            return
        stop = self._owner._recorded(number, attempt, budget, objective)
        if self._decides or stop:
            handle.tell(_wire.frame(_wire.DECIDED, _wire.DECISION.pack(number, attempt, count, stop)))

    def _on_control(self, handle: Handle, mask: int) -> None:
        try:
            frames = handle.control_reader.read()
        except BlockingIOError:
            return
        cancelled = []
        with self._lock:
            for _, payload, _ in frames:
                low, high = _wire.RANGE.unpack(payload)
                handle.recalled = False
                if low > high:
                    handle.since = time.monotonic()  # it has begun them; ask again only after a while
                    continue
                given_back = [e for e in handle.in_flight.values() if low <= e.place <= high]
                for entry in given_back:
                    del handle.in_flight[entry.job.number]
                    if entry.job._stop is None:
                        self._homeless.append(entry.job)
                    else:
                        cancelled.append(entry.job)
            self._feed(handle)
        for job in cancelled:
            self._reports.append((job, failed(FailureKind.CANCELLED, "cancelled before it ran")))
        if handle.control_reader.at_end:
            self._selector.unregister(handle.control)

    def _on_stderr(self, handle: Handle, mask: int) -> None:
        if not handle.read_stderr():
            self._selector.unregister(handle.stderr)

    # Balance.

    def _balance(self) -> None:
        """Withdraw jobs that wait behind a long one while another worker is idle."""
        if self._balance_at is None and self._hungry[0].in_flight:
            return  # idle ones stand first: nobody is
        now = time.monotonic()
        if self._balance_at is not None and now < self._balance_at:
            return
        self._balance_at = None
        with self._lock:
            idle = sum(handle.ready and not handle.in_flight for handle in self._handles.values())
            if not idle:
                return
            for handle in self._handles.values():
                waiting = len(handle.in_flight) - 1
                if waiting < 1 or handle.recalled or not handle.ready:
                    continue
                if now - handle.since < RECALL_AFTER:
                    self._balance_at = now + RECALL_AFTER
                    continue
                count = max(1, waiting * idle // (idle + 1))
                handle.recalled = True
                places = [entry.place for entry in handle.in_flight.values()][-count:]
                handle.tell(_wire.frame(_wire.WITHDRAW, _wire.RANGE.pack(places[0], places[-1])))

    # Beginnings and ends.

    def _start_worker(self, index: int) -> None:
        handle = spawn(index, self._threads_per_worker)
        self._reaper.watch(handle.process.pid)
        with self._lock:
            self._handles[index] = handle
        register = self._selector.register
        register(handle.data, selectors.EVENT_READ, (self._on_data, handle))
        register(handle.control, selectors.EVENT_READ, (self._on_control, handle))
        register(handle.stderr, selectors.EVENT_READ, (self._on_stderr, handle))
        if handle.pidfd is not None:
            register(handle.pidfd, selectors.EVENT_READ, (self._on_end, handle))
        if not handle.send(self._setup):
            self._watch_writes(handle)
        self._owner._watchdog.after(START_TIMEOUT, self._check_start, handle)

    def _check_start(self, handle: Handle) -> None:
        if not handle.ready:
            self._command(lambda: self._kill(handle))

    def _on_started_up(self, handle: Handle) -> None:
        self._failed_starts = 0
        with self._lock:
            handle.ready = True
            self._slots += self._window
            self._feed(handle)

    def _kill(self, handle: Handle) -> None:
        if self._handles.get(handle.index) is handle:
            with kill_lock:
                if handle.process.poll() is None:
                    kill_tree(handle.process.pid)

    def _on_end(self, handle: Handle, mask: int) -> None:
        """A worker has ended: its first job in flight is to blame, the others never began."""
        frames = []
        with contextlib.suppress(BlockingIOError):
            frames = handle.reader.read(drain=True)
        if frames:
            self._take(handle, frames)
        self._kill(handle)  # it may have closed its channel only
        text = handle.describe_end()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(handle.process.pid, 9)  # what a crashed job left behind
        self._reaper.forget(handle.process.pid)
        self._unregister(handle)
        with self._lock:
            del self._handles[handle.index]
            with contextlib.suppress(ValueError):
                self._hungry.remove(handle)
            handle.hungry = False
            entries = list(handle.in_flight.values())
            handle.in_flight.clear()
            if handle.ready:
                self._slots -= self._window
        if entries:
            job = entries[0].job
            outcome = failed(FailureKind.WORKER_DIED, text, start=handle.since, end=time.monotonic(),
                             worker=handle.worker)  # fmt: skip
            self._reports.append((job, outcome))
            self._homeless.extend(entry.job for entry in entries[1:])
        if not handle.ready:
            self._failed_starts += 1
        handle.close()
        if self._failed_starts >= FAILED_STARTS:
            self._give_up(text)
        elif not self._stopping:
            self._start_worker(handle.index)

    def _give_up(self, text: str) -> None:
        """Workers cannot be started: say so once, and fail jobs instead of letting them wait for ever."""
        if not self._hopeless:
            self._hopeless = f"No worker process can be started; {FAILED_STARTS} in a row ended early. {text}"
            logger.error(self._hopeless)
        if not self._handles:
            self._slots += self._count  # the jobs come here to be reported

    def _unregister(self, handle: Handle) -> None:
        for thing in (handle.data, handle.control, handle.stderr, handle.pidfd):
            if thing is not None:
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(thing)

    def _begin_to_stop(self, now: bool) -> None:
        self._stopping = True
        for handle in self._handles.values():
            if handle.in_flight or not handle.ready:
                self._kill(handle)
            else:
                handle.data.close()

    def _end_workers(self) -> None:
        """Wait for the ends of all workers, each bounded, and for none longer than that."""
        import subprocess

        deadline = time.monotonic() + END_TIMEOUT
        for handle in list(self._handles.values()):
            try:
                handle.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._kill(handle)
                handle.process.wait()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(handle.process.pid, 9)
            while handle.read_stderr() and _more(handle):
                pass
            self._unregister(handle)
            handle.close()
        with self._lock:
            self._handles.clear()
            self._hungry.clear()

    def close_in_fork(self) -> None:
        """In a forked child of this process: let go of everything, without ending any of it."""
        self._reaper.close_in_fork()
        for handle in self._handles.values():
            handle.close_fds()


def _more(handle: Handle) -> bool:
    from evalpool.backends._process._handle import _readable

    return _readable(handle.stderr)


_PLAIN = frozenset({int, float, str, bool, type(None)})


def _encode(job: Job[Any]) -> Any:
    """A tuple that goes into a batch; or the frame of a job whose pickle may fail or hold large arrays."""
    configuration, extra = job.args, job._extra
    if not extra and _PLAIN.issuperset(map(type, configuration.values())):
        return job.number, job.attempts, configuration, None
    payload, buffers = _wire.dump((configuration, extra or None))
    return _wire.frame(_wire.ONE_JOB, _wire.JOB.pack(job.number, job.attempts) + payload, buffers)


def _jobs_frame(batch: list[Any]) -> list[bytes | memoryview]:
    return _wire.frame(_wire.JOBS, pickle.dumps(batch, 5))


def load_outcome(kind: int, payload: memoryview, buffers: list[memoryview], handle: Handle) -> Outcome:
    """The outcome in a worker's frame; a result that cannot be unpickled is a failure."""
    if kind == _wire.FAST_OUTCOME:
        _, _, objective, start, end = _wire.FAST.unpack(payload)
        return Outcome(DONE, objective, None, None, None, None, start, end, handle.worker)
    try:
        status, objective, output, metadata, error, failure, start, end = _wire.load(payload[_wire.JOB.size :], buffers)
    except BaseException as problem:  # noqa: BLE001  a result's own code may raise anything
        from evalpool.evaluator._call import describe_exception

        text = f"The result could not be unpickled here: {describe_exception(problem, problem.__traceback__)}"
        return failed(FailureKind.UNPICKLABLE, text, start=handle.since, end=time.monotonic(), worker=handle.worker)
    return Outcome(STATUS[status], objective, output, metadata, error, KIND.get(failure), start, end, handle.worker)


def _after_fork() -> None:
    for supervisor in list(_supervisors):
        supervisor.close_in_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
