"""The code of a worker process.

The main thread reads jobs, calls the run-function and sends each outcome at once, or several of short jobs together. A
second thread waits for the control socket: it takes requests to stop, gives back jobs that have not begun, and ends the
process and its children when the pool's process has ended. This module imports little, as users wait for workers.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from evalpool._clock import monotonic
from evalpool._descriptors import can_read, looker
from evalpool._guard import Guard, start_guarded
from evalpool.backends._pool import _lend, _wire
from evalpool.backends._pool._held import HeldOutcomes, open_page
from evalpool.backends._pool._tree import descendants
from evalpool.backends._pool._worker_channel import SocketChannel, WorkerChannel
from evalpool.outcomes import FailureKind, Outcome, failed
from evalpool.worker._call import Task, describe_exception, release
from evalpool.worker._origin import adopt

__all__ = ["ClaimTurn", "Lookout", "Serving", "main", "send_outcome", "serve_batch", "serve_pickled"]

AWAKE = 0.0001
"""Seconds for which a worker of short jobs looks for the next ones before it sleeps. Waking it took the search 5 of 21
us a job in a loop on a virtual machine, and the worker was late."""
OTHERS = 0.00002
"""Seconds between two looks, of 2 us each, after which another process has had this CPU: it is not free for looking."""
SELDOM = 255
"""If it does not help to look, as where the search thinks for longer, or if no CPU is free for it, the worker looks
only once in so many turns."""
LONG = 0.001
"""Seconds. A job that takes longer may have kept the control thread from reading a request (by holding the GIL)."""

_let_others_run = getattr(os, "sched_yield", partial(time.sleep, 0))


class ClaimTurn:
    """Decides between two threads: the main thread claims the next job, the control thread gives back later ones.

    The worker and the pool count jobs in the same way, in the order in which they were sent.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 0
        self._claimed = 0.0
        self.catch_up: Callable[[], None] | None = None  # reads requests that the control thread could not read
        self._given_back: deque[tuple[int, int]] = deque()

    def claim(self) -> bool:
        """Claim the next job. Returns False if it was given back.

        While the job before held the GIL (C code), the pool may have asked for this one, and given it to another worker
        without waiting for an answer. So after a long job, the main thread reads the requests itself.
        """
        now = monotonic()
        if now - self._claimed > LONG and self.catch_up is not None:
            self.catch_up()
        self._claimed = now
        with self._lock:
            count = self._next
            self._next = count + 1
            return not self._given_back or not any(low <= count <= high for low, high in self._given_back)

    def give_back(self, low: int, high: int) -> tuple[int, int]:
        """Give back the jobs of a range that have not begun. Return their range; it is empty if low > high."""
        with self._lock:
            low = max(low, self._next)
            while self._given_back and self._given_back[0][1] < self._next:
                self._given_back.popleft()
            if low <= high:
                self._given_back.append((low, high))
            return low, high


class Lookout:
    """Looks for the next frame for a moment, so that a worker of short jobs does not sleep between them.

    Args:
        is_ready: whether there is something to read.
    """

    def __init__(self, is_ready: Callable[[], Any]) -> None:
        self._is_ready = is_ready
        self._leaves_out = self._last = 0  # so many turns from now; and how many were left out before the last look

    def look(self, since: float) -> None:
        """Return when there is something to read, or when it is better to sleep.

        Args:
            since: when the jobs came that have just been done.
        """
        began = before = now = monotonic()
        if now - since > AWAKE:  # a sleep is short beside such jobs
            return
        if self._leaves_out:
            self._leaves_out -= 1
            return
        while not self._is_ready():
            _let_others_run()
            before, now = now, monotonic()
            if now - before > OTHERS or now - began > AWAKE:
                self._leaves_out = self._last = min(2 * self._last + 1, SELDOM)
                return
        if now > began:
            self._last = 0


def main(data_fd: int, control_fd: int, lender_fd: int, page_fd: int) -> None:
    """Run jobs until the pool closes the data socket."""
    gc.freeze()  # what was imported stays, so no collection needs to examine it
    gc.enable()
    _prepare()
    data = socket.socket(fileno=data_fd)
    control = socket.socket(fileno=control_fd)
    lender = socket.socket(fileno=lender_fd) if lender_fd >= 0 else None
    for each in (data, control, lender):
        if each is not None:
            each.set_inheritable(False)  # programs that a run-function starts may outlive this process
    held = open_page(page_fd)
    reader = _wire.FrameReader(data)
    backlog = deque(_read(reader))
    kind, payload, buffers = backlog.popleft()
    if kind == _wire.LENT:
        assert lender is not None
        _, payload, buffers = _lend.borrow(lender, payload)
    setup = _wire.load(payload, buffers)
    del payload, buffers
    for number in setup.get("signals", ()):
        signal.signal(number, _leave_to_the_search)
    serving = Serving(data, control, reader, backlog, setup, lender)
    serving.hold_in(held)
    try:
        serving.run()
    finally:
        serving.release()
        if lender is not None and not setup.get("lends"):
            lender.close()  # else the interpreter would warn at its end that the socket was not closed


class Serving:
    """Runs jobs in a worker: has its setup, and the jobs that were read and have not run yet."""

    def __init__(
        self,
        data: socket.socket,
        control: socket.socket,
        reader: _wire.FrameReader,
        backlog: deque[_wire.Frame],
        setup: dict[str, Any],
        lender: socket.socket | None = None,
    ) -> None:
        self._lender = lender
        lends = lender if setup.get("lends") else None
        self._channel = channel = self._open_channel(data, setup, lends)
        self._turn = ClaimTurn()
        self._reader, self._backlog = reader, backlog
        self._lookout = Lookout(looker(data))
        self.lent: deque[list[Any]] = deque()  # the buffers for the next `STORED_JOB` frames
        listener = _ControlReader(control, channel, self._turn)
        self._turn.catch_up = listener.catch_up
        start_guarded("evalpool-control", Guard("The thread that reads requests to stop", _end), listener.turn)
        if setup.get("levels") is not None:
            from evalpool.backends._pool._logs import forward

            forward(channel, setup["levels"])
        self._task: Task | None = None
        self._broken = ""
        try:
            adopt(setup["origin"], ours=True)
            self._task = pickle.loads(setup["task"], buffers=setup.get("buffers"))
            channel.pickled_storage = setup["storage"]
        except BaseException as error:  # noqa: BLE001  whatever the user's modules raise is reported for each job
            self._broken = describe_exception(error, error.__traceback__)
        gc.collect()
        gc.freeze()  # what the run-function needs stays, too
        here = _wire.PID.pack(os.getpid()) + socket.gethostname().encode()
        channel.send(_wire.frame(_wire.STARTED_UP, here))

    def _open_channel(self, data: socket.socket, setup: dict[str, Any], lender: socket.socket | None) -> SocketChannel:
        return SocketChannel(data, setup["decides"], None, setup["advice"], lender)

    def _borrow(self, head: memoryview) -> _wire.Frame:
        """Return the frame that a `LENT` frame refers to. Raises `OSError`."""
        assert self._lender is not None
        return _lend.borrow(self._lender, head)

    def hold_in(self, held: HeldOutcomes | None) -> None:
        """Hold the outcomes of short jobs in `held`, to send several together; None to send each by itself."""
        self._channel.held = held

    def release(self) -> None:
        """Release what the run-function uses, such as the helper processes of `profile`. Called at the end."""
        if self._task is not None:
            release(self._task.run_function)

    def run(self) -> None:
        """Run jobs; ends with `SystemExit`. Returns if buffers are missing in `lent`: add them and call it again."""
        task, broken, channel, turn, backlog = self._task, self._broken, self._channel, self._turn, self._backlog
        held, since = channel.held, 0.0
        while True:
            while backlog:
                kind, payload, buffers = backlog.popleft()
                if held is not None:
                    held.begin_frame()
                if kind == _wire.JOBS:
                    serve_batch(task, broken, payload, channel, turn)
                elif kind == _wire.SHORT_JOBS:
                    with channel.together():
                        serve_batch(task, broken, payload, channel, turn)
                    since = 0.0  # a sleep is short beside so many jobs, and the search needs the CPU
                elif kind == _wire.STORED_JOB:
                    if not self.lent:
                        backlog.appendleft((kind, payload, buffers))
                        return
                    buffers = self.lent.popleft()
                    if turn.claim():
                        serve_pickled(task, broken, payload, buffers, channel)
                elif kind == _wire.LENT:
                    self._serve_lent(payload)
                elif turn.claim():
                    serve_pickled(task, broken, payload, buffers, channel)
                payload = buffers = None  # type: ignore[assignment]
            self._lookout.look(since)
            backlog.extend(_read(self._reader))
            since = monotonic()

    def _serve_lent(self, head: memoryview) -> None:
        """Run a job whose frame is in shared memory. Its descriptor is received even if the job was given back."""
        number, attempt = _wire.JOB.unpack_from(head)
        problem = ""
        try:
            _, payload, buffers = self._borrow(head)
        except OSError as error:
            problem = f"The worker could not read the configuration from shared memory: {error}"
        if not self._turn.claim():
            return
        if problem:
            send_outcome(number, attempt, failed(FailureKind.UNPICKLABLE, problem), self._channel)
        else:
            serve_pickled(self._task, self._broken, payload, buffers, self._channel)


def _leave_to_the_search(number: int, frame: Any) -> None:
    """Ignore a signal that the search handles. SIG_IGN would be inherited by programs that a job starts."""


def _read(reader: _wire.FrameReader) -> list[_wire.Frame]:
    while True:
        frames = reader.read()
        if reader.at_end:
            raise SystemExit(0)
        if frames:
            return frames


def serve_batch(task: Task | None, broken: str, payload: memoryview, channel: WorkerChannel, turn: ClaimTurn) -> None:
    """Run several jobs that came in one frame."""
    _serve(task, broken, pickle.loads(payload), channel, turn.claim)


def serve_pickled(
    task: Task | None, broken: str, payload: memoryview, buffers: list[memoryview], channel: WorkerChannel
) -> None:
    """Run a job whose configuration may raise when it is unpickled."""
    number, attempt = _wire.JOB.unpack_from(payload)
    try:
        configuration, extra = _wire.load(payload[_wire.JOB.size :], buffers)
    except BaseException as error:  # noqa: BLE001  a configuration's own code may raise anything
        text = "The configuration could not be unpickled in the worker.\n"
        text += describe_exception(error, error.__traceback__)
        send_outcome(number, attempt, failed(FailureKind.UNPICKLABLE, text), channel)
        return
    _serve(task, broken, [(number, attempt, configuration, extra)], channel, _claimed)


def _serve(
    task: Task | None,
    broken: str,
    jobs: list[tuple[int, int, dict[str, Any], dict[str, Any] | None]],
    channel: WorkerChannel,
    claim: Callable[[], bool],
) -> None:
    """Run those of these jobs that `claim` allows, in their order. In one loop: a short job takes few calls."""
    call, quick = None if task is None else task.call, channel.send_fast
    jobs.reverse()
    while jobs:
        number, attempt, configuration, extra = jobs.pop()
        if not claim():
            continue
        if call is None:
            text = f"The run-function or its keyword arguments could not be unpickled in the worker.\n{broken}"
            outcome: Outcome | None = failed(FailureKind.UNPICKLABLE, text)
        else:
            outcome = call(number, attempt, configuration, channel, extra, None, quick)
            channel.forget(number, attempt)
        if outcome is not None:
            send_outcome(number, attempt, outcome, channel)


def _claimed() -> bool:
    """The claim of a job that has been claimed already."""
    return True


def send_outcome(number: int, attempt: int, outcome: Outcome, channel: WorkerChannel) -> None:
    """Send the outcome of a job. If its result cannot be pickled, the job fails."""
    _, objective, output, metadata, _, kind, start, end, _, stopped_early = outcome
    if type(objective) is float and output is None and metadata is None and kind is None and not stopped_early:
        channel.send_fast(number, attempt, objective, start or 0.0, end or 0.0)
        return
    try:
        payload, buffers = _wire.dump(_to_wire(outcome), back=True)
    except BaseException as error:  # noqa: BLE001  a result's own code may raise anything
        text = f"The result could not be pickled: {describe_exception(error, None)}"
        outcome = failed(FailureKind.UNPICKLABLE, text, start=outcome.start, end=outcome.end)
        payload, buffers = _wire.dump(_to_wire(outcome), back=True)
    identity = number, attempt
    channel.send_large(_wire.OUTCOME, identity, _wire.JOB.pack(*identity) + payload, buffers)


def _to_wire(outcome: Outcome) -> tuple[Any, ...]:
    # Enums are sent as their values: pickled as enums, they would triple the size of the message.
    kind = outcome.kind
    return (
        outcome.status.value,
        *outcome[1:5],
        None if kind is None else kind.value,
        outcome.start,
        outcome.end,
        outcome.stopped_early,
    )


def _end(error: BaseException | None = None) -> NoReturn:
    """End this worker and all processes that it has started, at once."""
    try:
        for pid in descendants(os.getpid()):  # also those in sessions of their own
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.killpg(os.getpid(), signal.SIGKILL)
    finally:
        os._exit(1)


class _ControlReader:
    """Reads the control socket, in the control thread, or in the main thread between two jobs."""

    def __init__(self, control: socket.socket, channel: WorkerChannel, turn: ClaimTurn) -> None:
        self._control, self._channel, self._turn = control, channel, turn
        self._reader = _wire.FrameReader(control)
        self._lock = threading.Lock()

    def turn(self) -> None:
        can_read(self._control, timeout=None)
        self.catch_up()

    def catch_up(self) -> None:
        """Do all that the pool has asked for until now."""
        with self._lock:
            while can_read(self._control):
                self._take(self._reader.read())
                if self._reader.at_end:
                    # The pool's process has ended, or it ends this worker, and a busy run-function has had its grace.
                    self._channel.gone = True
                    _end()

    def _take(self, frames: list[_wire.Frame]) -> None:
        for kind, payload, _ in frames:
            if kind == _wire.STOP:
                self._channel.ask_to_stop(*_wire.JOB.unpack(payload))
            elif kind == _wire.DECIDED:
                self._channel.decided(*_wire.DECISION.unpack(payload))
            elif kind == _wire.STEAL_BACK:
                low, high = self._turn.give_back(*_wire.RANGE.unpack(payload))
                _wire.send_all(self._control, _wire.frame(_wire.GIVEN_BACK, _wire.RANGE.pack(low, high)))


def _prepare() -> None:
    """Let Python print where a crash happened, and let output of jobs appear at once."""
    import faulthandler

    faulthandler.enable()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True)
