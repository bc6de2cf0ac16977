"""A serving rank: it runs the jobs of one evaluator after another, or of several in turn.

The main thread reads jobs, calls the run-function and sends each outcome at once. A second thread polls every few
milliseconds for orders that must not wait behind a job: stop the job, give back the jobs behind it, end. If a job does
not stop when it is asked to, the main thread gets a signal. If that job still runs, its handler raises
`JobInterrupted`.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from evalpool._clock import perf_counter
from evalpool._guard import guarded_act
from evalpool._mpi._crew import CREW, TAG, Crew, Posted, has_runner
from evalpool._mpi._polling import PollingBackoff
from evalpool.backends._mpi._exits import exits_that_tell
from evalpool.backends._mpi._isolation import Isolated
from evalpool.backends._pool import _wire
from evalpool.backends._pool._worker import ClaimTurn, send_outcome, serve_batch, serve_pickled
from evalpool.backends._pool._worker_channel import WorkerChannel
from evalpool.outcomes import FailureKind, failed
from evalpool.worker._call import Task, describe_exception, release, run_to_completion
from evalpool.worker._origin import adopt

__all__ = ["FORCE", "TIMED", "JobInterrupted", "Rank"]

LISTEN_EVERY = 0.005
"""Seconds between two polls for orders: early enough for the jobs behind a long one, and 0.2 % of a core."""
HOLD = 0.0005
"""Seconds for which outcomes may be held to share a message, if starts of jobs are not watched. If a longer job
follows, held outcomes are sent at the next poll, which is late if that job holds the GIL. So with time limits nothing
is held: the first job whose outcome the root has not seen must be the one that runs."""
FORCE = 41
"""A frame on orders: interrupt this attempt of a job."""
TIMED = 42
"""A frame between those of jobs: some of the following jobs have a time limit, see `HOLD`."""
INTERRUPT_EVERY = 0.2
"""Seconds between two interrupts of a job that catches them."""
EVERYTHING = 1 << 62


THE_ROOTS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGUSR2") if hasattr(signal, name))
"""Signals by which a batch system ends a program or announces its end. MPI launchers pass them to all ranks; only the
root acts on them: its search stops, and the root then ends the other ranks."""


class JobInterrupted(BaseException):
    """Raised in a run-function that did not stop when it was asked to."""


class _RankChannel(WorkerChannel):
    """The channel of the jobs of one evaluator."""

    def __init__(self, rank: Rank, tag: int) -> None:
        super().__init__(False, None, "")
        self._rank, self._crew, self._tag = rank, rank.crew, tag
        self._lock = threading.Lock()
        self._held: list[bytes | memoryview] | None = None  # outcomes of the short jobs of one message
        self._held_since = 0.0
        self._holds = False

    def set_up(self, decides: bool, advice: str, holds: bool) -> None:
        self._decides, self._advice, self._holds = decides, advice, holds

    def hold_nothing(self) -> None:
        """Send each outcome at once from now on. Called between messages, when nothing is held."""
        self._holds = False

    def send(self, pieces: list[bytes | memoryview]) -> None:
        with self._lock:
            posted = self._flush(pieces)
        self._complete(posted)

    def send_bytes(self, data: bytes) -> None:
        with self._lock:
            held, now = self._held, perf_counter()
            if held is not None and now - self._held_since <= HOLD:
                held.append(data)
                return
            posted = self._flush([data])
            self._held_since = now
        self._complete(posted)

    def send_large(self, kind: int, job: tuple[int, int], payload: bytes, buffers: list[memoryview]) -> None:
        try:
            self.send(_wire.frame(kind, payload, buffers))
        except (MemoryError, self._crew.mpi.Exception) as error:
            size = len(payload) + sum(buffer.nbytes for buffer in buffers)
            text = f"The result, {size:,} bytes, could not be sent to the root: {type(error).__name__}: {error}"
            send_outcome(*job, failed(FailureKind.UNPICKLABLE, text), self)

    def _flush(self, more: list[bytes | memoryview]) -> Posted | None:
        """Under the lock: send the held outcomes and `more` as one message."""
        if self._held:
            more = [*self._held, *more]
            self._held.clear()
        if not more:
            return None
        return self._crew.post(self._crew.work, b"".join(more), self._crew.root, self._tag)

    def _complete(self, posted: Posted | None) -> None:
        """In the main thread, wait until the message is sent: MPI sends a large one only during calls of this thread,
        and the next job may be C code that makes none.
        """
        if threading.get_ident() == self._rank.main:
            self._crew.wait_until_sent(posted, lambda: self.gone)
        else:
            self._crew.keep(posted)

    def flush(self) -> None:
        """Send the held outcomes; any thread."""
        if self._held:
            with self._lock:
                posted = self._flush([])
            self._complete(posted)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Inside this context, outcomes of short jobs share messages, since a message costs more than such a job."""
        if not self._holds:
            yield
            return
        self._held, self._held_since = [], perf_counter()
        try:
            yield
        finally:
            with self._lock:
                posted = self._flush([])
                self._held = None
            self._complete(posted)

    def _wait_for_decision(self, key: tuple[int, int]) -> None:
        def look() -> bool:
            self._rank.read_orders()
            return self._has_decision(key)

        polling = PollingBackoff(look, self._rank.busy_wait)
        while not polling.wait():
            pass


class _ServedEvaluator:
    """The jobs of one evaluator on this rank."""

    def __init__(self, rank: Rank, tag: int) -> None:
        self._rank, self.tag = rank, tag
        self.channel = _RankChannel(rank, tag)
        self.turn = ClaimTurn()
        self.turn.catch_up = rank.read_orders
        self._task: Task | None = None
        self._broken = ""

    def set_up(self, payload: memoryview, buffers: list[memoryview]) -> None:
        import pickle

        setup = _wire.load(payload, buffers)
        self._rank.busy_wait = setup["busy_wait"]
        self.channel.set_up(setup["decides"], setup["advice"], setup["holds"])
        try:
            adopt(setup["origin"], ours=has_runner())
            task: Task = pickle.loads(setup["task"])
            self.channel.pickled_storage = setup["storage"]
        except BaseException as error:  # noqa: BLE001  whatever the user's modules raise is reported per job
            self._broken = describe_exception(error, error.__traceback__)
        else:
            if setup["isolated"]:
                isolated = Isolated(task.run_function, task.kwargs, setup["exit_timeout"])
                isolated.prepare(self.channel)
                task.run_function, task.kwargs = isolated, {}
            task.run_function = _Interruptible(self._rank, self.tag, task.run_function)
            self._task = task
        self.channel.send(_wire.frame(_wire.STARTED_UP, b""))

    def serve(self, kind: int, payload: memoryview, buffers: list[memoryview]) -> None:
        if kind == _wire.SETUP:
            if not self.channel.gone:
                self.set_up(payload, buffers)
        elif kind == TIMED:
            self.channel.hold_nothing()
        elif kind == _wire.JOBS:
            with self.channel.together():
                serve_batch(self._task, self._broken, payload, self.channel, self.turn)
        elif self.turn.claim():
            serve_pickled(self._task, self._broken, payload, buffers, self.channel)

    def name_of(self, number: int) -> str:
        """Return the name of a job, for messages."""
        return f"job {number}" if self._task is None else f"job {self._task.search}.{number}"

    def close(self) -> None:
        """Begin no further job, and make the running one stop."""
        self.channel.gone = True
        self.turn.give_back(0, EVERYTHING)

    def release(self) -> None:
        """Release what the run-function holds, such as processes that it has started."""
        if self._task is not None:
            release(self._task.run_function.function)  # type: ignore[attr-defined]
        self._task = None  # frees its memory; jobs that still arrive are not begun


class _Interruptible:
    """A run-function that may be interrupted only while it runs, never before or after."""

    def __init__(self, rank: Rank, tag: int, function: Callable[..., Any]) -> None:
        self._rank, self._tag, self.function = rank, tag, function

    def __call__(self, job: Any, **kwargs: Any) -> Any:
        rank = self._rank
        rank.at = (self._tag, job._number, job._attempt)
        try:
            value = self.function(job, **kwargs)
            # An async function, too, must run within this block.
            return run_to_completion(value) if hasattr(value, "__await__") else value
        finally:
            rank.at = None


class Rank:
    """This process as a worker. There is one per crew, because messages of the next evaluator may come early."""

    @classmethod
    def of(cls, crew: Crew) -> Rank:
        """Return the `Rank` of this process."""
        if crew.server is None:
            crew.server = cls(crew)
        server: Rank = crew.server
        return server

    def __init__(self, crew: Crew) -> None:
        self.crew = crew
        self.busy_wait = False
        self.at: tuple[int, int, int] | None = None  # the job that runs: tag, number, attempt
        self._target: tuple[int, int, int] | None = None  # the job that is to be interrupted
        self._evaluators: dict[int, _ServedEvaluator] = {}
        self._closing: list[int] = []
        self._finished: set[int] = set()
        self._orders_lock = threading.Lock()
        self.main = threading.get_ident()
        self.is_serving = False
        self._can_interrupt = threading.current_thread() is threading.main_thread()
        self._over = threading.Event()
        self._work_status, self._orders_status = crew.mpi.Status(), crew.mpi.Status()
        self._polling = PollingBackoff(self._look, False, bell=crew.bell(), sending=crew.is_sending)

    def serve(self, until: int) -> None:
        """Run jobs until the root closes the evaluator of this tag; `CREW`: until the root ends all serving.

        An error that would end only this rank ends all ranks, with a message, because the root would wait for it.
        """
        self._over.clear()
        listener = guarded_act("evalpool-mpi-orders", "The thread that hears orders", self._listen)
        with self._signals(), exits_that_tell(self.crew, self._describe_exit):
            self.is_serving = True
            self._until = until
            self._watch = self.crew.watch([self.crew.root], lambda rank: "It ran the search. ")
            listener.start()
            try:
                while not self._is_finished(until):
                    self._polling._busy = self.busy_wait
                    if self._polling.wait():
                        self._do()
            except BaseException as error:  # noqa: BLE001  a signal handler of the program may raise anything
                self._give_up(error)
            self._over.set()
            listener.join()
            self._watch.stop()
            self.is_serving = False
            if until == CREW:
                for served in self._evaluators.values():
                    served.release()

    def describe(self) -> str:
        """Return what this rank is doing, as the beginning of a sentence."""
        at = self.at
        return "the serving rank, between jobs," if at is None else f"the run-function, in {self.name_of(at)},"

    def name_of(self, job: tuple[int, int, int]) -> str:
        """Return the name of a job, for messages, from its tag, number and attempt."""
        return self._evaluators[job[0]].name_of(job[1])

    def _give_up(self, error: BaseException) -> None:
        text = describe_exception(error, error.__traceback__).strip()
        self.crew.abort(f"it cannot serve any more, so all ranks are ended.\n{text}")

    def _describe_exit(self, call: str) -> str:
        return (
            f"{self.describe()} called {call}, which ends its rank, and so all ranks. "
            'With isolation="process" only its job would fail.'
        )

    def _look(self) -> bool:
        crew = self.crew
        return bool(crew.work.Iprobe(crew.root, crew.mpi.ANY_TAG, self._work_status))

    def _do(self) -> None:
        """Run the jobs of one message."""
        data = self.crew.receive(self.crew.work, self._work_status)
        served = self._evaluator(self._work_status.Get_tag())
        frames: list[_wire.Frame] = []
        _wire.FrameReader.parse(memoryview(data), frames)
        for frame in frames:
            served.serve(*frame)

    def _evaluator(self, tag: int) -> _ServedEvaluator:
        with self._orders_lock:
            return self._evaluators.setdefault(tag, _ServedEvaluator(self, tag))

    def _is_finished(self, until: int) -> bool:
        """In the main thread, between jobs: release the closed evaluators; return whether this one is closed."""
        if not self._closing:
            return until in self._finished
        tags, self._closing = self._closing, []
        for tag in tags:
            served = self._evaluators.get(tag)
            if served is not None:
                served.release()
            self.crew.send(self.crew.work, TAG.pack(tag), self.crew.root, CREW)
        self._finished.update(tags)
        return until in self._finished

    # Orders.

    def _listen(self) -> None:
        try:
            self._obey_orders()
        except BaseException as error:  # noqa: BLE001  a rank without this thread would never end
            self._give_up(error)

    def _obey_orders(self) -> None:
        interrupted = 0.0
        while not self._over.wait(LISTEN_EVERY):
            self.read_orders()
            at = self.at
            if at is not None:
                self._evaluators[at[0]].channel.flush()
            if at is None or not self._is_closed(at[0]):
                interrupted = 0.0
            elif interrupted <= 0.0:  # no grace here: the root has waited before it closed the evaluator
                self._interrupt(at)
                interrupted = INTERRUPT_EVERY
            else:
                interrupted -= LISTEN_EVERY

    def _is_closed(self, tag: int) -> bool:
        served = self._evaluators.get(tag)
        return served is not None and served.channel.gone

    def read_orders(self) -> None:
        """Read and obey the orders that have come; any thread."""
        crew = self.crew
        frames: list[tuple[int, _wire.Frame]] = []
        closed: list[int] = []
        with self._orders_lock:
            while crew.orders.Iprobe(crew.root, crew.mpi.ANY_TAG, self._orders_status):
                read: list[_wire.Frame] = []
                data, tag = crew.receive(crew.orders, self._orders_status), self._orders_status.Get_tag()
                if tag == CREW:
                    closed.append(TAG.unpack(data)[0])
                    continue
                _wire.FrameReader.parse(memoryview(data), read)
                frames += [(tag, frame) for frame in read]
        for tag in closed:
            self._close(tag)
        for tag, (kind, payload, _) in frames:
            self._obey(tag, kind, payload)

    def _obey(self, tag: int, kind: int, payload: memoryview) -> None:
        served = self._evaluator(tag)
        if kind == _wire.STOP:
            served.channel.ask_to_stop(*_wire.JOB.unpack(payload))
        elif kind == _wire.DECIDED:
            served.channel.decided(*_wire.DECISION.unpack(payload))
        elif kind == _wire.STEAL_BACK:
            low, high = served.turn.give_back(*_wire.RANGE.unpack(payload))
            served.channel.send(_wire.frame(_wire.GIVEN_BACK, _wire.RANGE.pack(low, high)))
        elif kind == FORCE:
            number, attempt = _wire.JOB.unpack(payload)
            self._interrupt((tag, number, attempt))

    def _close(self, tag: int) -> None:
        if tag in (CREW, self._until):
            self._watch.stop()  # the root may end before this rank has ended what it runs
        for served in list(self._evaluators.values()) if tag == CREW else [self._evaluator(tag)]:
            served.close()
        self._closing.append(tag)
        self._polling.wake()

    def _interrupt(self, job: tuple[int, int, int]) -> None:
        if self._can_interrupt and self.at == job:
            self._target = job
            signal.pthread_kill(self.main, signal.SIGINT)  # this also ends a blocking system call

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Install our signal handlers. Only the root acts on Ctrl-C; here SIGINT is what interrupts a job."""
        if not self._can_interrupt:
            yield
            return
        previous = {signal.SIGINT: signal.signal(signal.SIGINT, self._on_signal)}
        for number in THE_ROOTS:
            if signal.getsignal(number) is signal.SIG_DFL:
                # Not SIG_IGN, which processes that jobs start would inherit.
                previous[number] = signal.signal(number, lambda number, frame: None)
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: Any) -> None:
        target, self._target = self._target, None
        if target is not None and target == self.at:
            raise JobInterrupted("the job did not stop when it was asked to")
