"""The frames between supervisor and worker, over stream sockets.

::

    | payload length u64 | buffers u16 | kind u8 | buffer lengths u64 ... | payload | buffers ... |

A payload is a pickle; large buffers (numpy arrays) travel behind it out of band (PEP 574), so that neither
side copies them into or out of the pickle. A single job's outcome that is one float needs no pickle at all.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections import deque
from typing import Any

from evalpool.worker._pickling import dump, load

__all__ = ["Frame", "FrameReader", "dump", "frame", "load"]

HEADER = struct.Struct("<QHB")
LENGTH = struct.Struct("<Q")
JOB = struct.Struct("<qi")
"""A job's number and attempt, before its pickle: so that a pickle that cannot be loaded has a name."""
FAST = struct.Struct("<qiddd")
"""Number, attempt, objective, start and end of a job that returned a float only. One frame may have several."""
FAST_FRAME = struct.Struct("<QHBqiddd")
"""The same with the head of its frame: one call for the commonest message of all."""
RANGE = struct.Struct("<qq")
PID = struct.Struct("<q")
"""A worker's process id, before the name of its host: where it says that it has started up."""
DECISION = struct.Struct("<qiq?")
"""Number, attempt, count of records seen, and whether to stop."""

# To the worker, on data.
SETUP, JOBS, ONE_JOB = 1, 2, 3
STORED_JOB = 4
"""As `ONE_JOB`, with buffers that reach the worker by another way than the socket."""
LENT = 5
"""Both ways: a frame that is in memory, not in the socket (`_lend`)."""
SHORT_JOBS = 6
"""As `JOBS`; their outcomes may leave together (`_held`)."""
# To the supervisor, on data.
STARTED_UP, OUTCOME, FAST_OUTCOME, RECORD, BROKEN, LOG = 10, 11, 12, 13, 14, 15
# To the worker, on control.
STOP, STEAL_BACK, DECIDED = 20, 21, 22
# To the supervisor, on control.
GIVEN_BACK = 30

CHUNK = 1 << 18
"""Bytes per read; a frame above this is read into a buffer of its own, which its arrays then use."""

_of_thread = threading.local()
"""What a thread reads into, whichever socket: allocating it costs more than a read, and one for each socket would be
half a megabyte for each worker."""

Frame = tuple[int, Any, list[memoryview]]
"""Kind, payload (a memoryview), buffers. `FAST_OUTCOME`s that follow each other, or came in one frame, are one, whose
payload is a list of what `FAST` has."""


def frame(kind: int, payload: bytes, buffers: list[memoryview] | None = None) -> list[bytes | memoryview]:
    """The pieces of one frame, to be sent one after the other."""
    if not buffers:
        return [HEADER.pack(len(payload), 0, kind) + payload]
    lengths = b"".join(LENGTH.pack(buffer.nbytes) for buffer in buffers)
    return [HEADER.pack(len(payload), len(buffers), kind) + lengths + payload, *buffers]


class FrameReader:
    """Frames from a socket, in blocking or non-blocking mode."""

    __slots__ = ("_buffer", "_have", "_receive_into", "_total", "at_end", "was_reset")

    def __init__(self, sock: socket.socket) -> None:
        self._receive_into = sock.recv_into
        self._buffer = bytearray()  # the frame that is not yet complete
        self._have = 0  # bytes in a buffer of a large frame's own
        self._total = 0  # its size; 0: none is being read
        self.at_end = False
        self.was_reset = False  # the other side has ended; on this host: before it had read all that it was sent

    def read(self, drain: bool = False) -> list[Frame]:
        """Return the complete frames after one read (with `drain`, after reading all there is).

        Raises BlockingIOError in non-blocking mode when there is nothing. At the end of the stream `at_end` is
        set and what was complete is returned.
        """
        frames: list[Frame] = []
        while True:
            try:
                more = self._read_large(frames) if self._total else self._read_small(frames)
            except BlockingIOError:
                if drain:
                    return frames
                raise
            except ConnectionError:
                self.was_reset = True
                more = False
            if not more:
                self.at_end = True
                return frames
            if not drain:
                return frames

    def _read_small(self, frames: list[Frame]) -> bool:
        try:
            chunk = _of_thread.chunk
        except AttributeError:
            chunk = _of_thread.chunk = memoryview(bytearray(CHUNK))
        count = self._receive_into(chunk)
        if not count:
            return False
        data = chunk[:count]
        if not self._buffer:
            view = memoryview(bytes(data))  # the common case: whole frames
        else:
            self._buffer += data
            view = memoryview(bytes(self._buffer))
        start = self.parse(view, frames)
        if start == len(view):
            if self._buffer:
                self._buffer = bytearray()
            return True
        rest = view[start:]
        self._buffer = bytearray(rest)
        total = self._frame_size(rest)
        if total > CHUNK:
            large = bytearray(total)
            large[: len(rest)] = rest
            self._buffer, self._have, self._total = large, len(rest), total
        return True

    def _read_large(self, frames: list[Frame]) -> bool:
        count = self._receive_into(memoryview(self._buffer)[self._have : self._total])
        if not count:
            return False
        self._have += count
        if self._have == self._total:
            self.parse(memoryview(self._buffer), frames)
            self._buffer, self._have, self._total = bytearray(), 0, 0
        return True

    @staticmethod
    def _frame_size(view: memoryview) -> int:
        """The whole size of the frame that begins here; 0 if its head is not yet there."""
        if len(view) < HEADER.size:
            return 0
        length, count, _ = HEADER.unpack_from(view)
        head = HEADER.size + LENGTH.size * count
        if len(view) < head:
            return 0
        lengths = (LENGTH.unpack_from(view, HEADER.size + LENGTH.size * index)[0] for index in range(count))
        return int(head + length + sum(lengths))

    @staticmethod
    def parse(view: memoryview, frames: list[Frame]) -> int:
        """Append the complete frames in `view`; return where the first incomplete one begins."""
        position, end = 0, len(view)
        unpack, size = HEADER.unpack_from, HEADER.size
        while end - position >= size:
            length, count, kind = unpack(view, position)
            if count == 0:
                stop = position + size + length
                if stop > end:
                    break
                if kind == FAST_OUTCOME:
                    if length == FAST.size:
                        position = FrameReader._parse_fast(view, position, frames)
                        continue
                    frames.append((kind, list(FAST.iter_unpack(view[position + size : stop])), []))
                else:
                    frames.append((kind, view[position + size : stop], []))
                position = stop
                continue
            total = FrameReader._frame_size(view[position:])
            if total == 0 or position + total > end:
                break
            at = position + size + LENGTH.size * count
            payload = view[at : at + length]
            at += length
            buffers = []
            for index in range(count):
                (nbytes,) = LENGTH.unpack_from(view, position + size + LENGTH.size * index)
                buffers.append(view[at : at + nbytes])
                at += nbytes
            frames.append((kind, payload, buffers))
            position += total
        return position

    @staticmethod
    def _parse_fast(view: memoryview, position: int, frames: list[Frame]) -> int:
        """Append the `FAST_OUTCOME`s that stand here, as one frame; return where the next one begins."""
        outcomes = []
        size = FAST_FRAME.size
        whole = view[position : position + (len(view) - position) // size * size]
        for length, count, kind, number, attempt, objective, start, end in FAST_FRAME.iter_unpack(whole):
            if kind != FAST_OUTCOME or length != FAST.size or count:
                break
            outcomes.append((number, attempt, objective, start, end))
        frames.append((FAST_OUTCOME, outcomes, []))
        return position + size * len(outcomes)


class Outbox:
    """What is on its way into a non-blocking socket, in order. Guarded by its owner's lock.

    Control needs one as much as data does: a worker that is unresponsive in C code reads neither, and a socket holds
    some hundred frames only, however small.
    """

    __slots__ = ("_left", "_sock", "refused")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._left: deque[memoryview] = deque()
        self.refused = False  # the worker has ended: what was sent last reached nobody

    def send(self, pieces: list[bytes | memoryview]) -> bool:
        """Send without blocking; False: something is left, call `flush` when the socket is writable."""
        if len(pieces) == 1 and not self._left:  # the common case: one small frame, and room for it
            piece = pieces[0]
            try:
                count = self._sock.send(piece)
            except BlockingIOError:
                count = 0
            except OSError:  # the worker is dead; its end is noticed otherwise
                self.refused = True
                return True
            if count == len(piece):
                return True
            self._left.append(memoryview(piece).cast("B")[count:])
            return False
        self._left.extend(memoryview(piece).cast("B") for piece in pieces)
        return self.flush()

    def flush(self) -> bool:
        """Send what is left; True if nothing is."""
        left = self._left
        while left:
            try:
                count = self._sock.send(left[0])
            except BlockingIOError:
                return False
            except OSError:  # the worker is dead; its end is noticed otherwise
                self.refused = True
                left.clear()
                return True
            if count == len(left[0]):
                left.popleft()
            else:
                left[0] = left[0][count:]
        return True


FAST_HEAD = HEADER.pack(FAST.size, 0, FAST_OUTCOME)
"""The head of the frame of one."""


def fast_outcome(number: int, attempt: int, objective: float, start: float, end: float) -> bytes:
    """The frame of a job that returned a float and nothing else."""
    return FAST_FRAME.pack(FAST.size, 0, FAST_OUTCOME, number, attempt, objective, start, end)


def send_all(sock: socket.socket, pieces: list[bytes | memoryview]) -> None:
    """Send a frame on a blocking socket."""
    for piece in pieces:
        sock.sendall(piece)
