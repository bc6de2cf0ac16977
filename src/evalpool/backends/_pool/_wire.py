"""The frames between a pool and its workers, over stream sockets.

::

    | payload length u64 | buffers u16 | kind u8 | buffer lengths u64 ... | payload | buffers ... |

A payload is a pickle. Large buffers (numpy arrays) follow it out of band (PEP 574), so that they are not copied into
the pickle or out of it. An outcome that is only a float is packed without a pickle.
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
"""A job's number and attempt, before its pickle, so that they are known even if the pickle cannot be loaded."""
FAST = struct.Struct("<qiddd")
"""Number, attempt, objective, start and end of a job that returned only a float. One frame may have several."""
FAST_FRAME = struct.Struct("<QHBqiddd")
"""The same with the head of its frame, so that the most frequent message is packed in one call."""
RANGE = struct.Struct("<qq")
PID = struct.Struct("<q")
"""A worker's process id, before the name of its host, in the frame `STARTED_UP`."""
DECISION = struct.Struct("<qiq?")
"""Number, attempt, number of records that the stopper has seen, and whether to stop."""

# To the worker, on data.
SETUP, JOBS, ONE_JOB = 1, 2, 3
STORED_JOB = 4
"""The same as `ONE_JOB`, with buffers that reach the worker in another way than through the socket."""
LENT = 5
"""In both directions: a frame that is in shared memory, not in the socket (`_lend`)."""
SHORT_JOBS = 6
"""The same as `JOBS`; the worker may send their outcomes together (`_held`)."""
# To the pool, on data.
STARTED_UP, OUTCOME, FAST_OUTCOME, RECORD, BROKEN, LOG = 10, 11, 12, 13, 14, 15
# To the worker, on control.
STOP, STEAL_BACK, DECIDED = 20, 21, 22
# To the pool, on control.
GIVEN_BACK = 30

CHUNK = 1 << 18
"""Bytes per read. A larger frame is read into a separate buffer, which its arrays then use."""

_of_thread = threading.local()
"""Has the buffer that a thread reads into from all sockets: allocating a buffer costs more than a read, and one for
each socket would take half a megabyte for each worker."""

Frame = tuple[int, Any, list[memoryview]]
"""Kind, payload (a memoryview), buffers. Consecutive `FAST_OUTCOME` frames are read as one frame, whose payload is a
list of tuples of the fields of `FAST`."""


def frame(kind: int, payload: bytes, buffers: list[memoryview] | None = None) -> list[bytes | memoryview]:
    """Return the pieces of one frame, to be sent one after the other."""
    if not buffers:
        return [HEADER.pack(len(payload), 0, kind) + payload]
    lengths = b"".join(LENGTH.pack(buffer.nbytes) for buffer in buffers)
    return [HEADER.pack(len(payload), len(buffers), kind) + lengths + payload, *buffers]


class FrameReader:
    """Reads frames from a socket, in blocking or non-blocking mode."""

    __slots__ = ("_buffer", "_have", "_receive_into", "_total", "at_end", "was_reset")

    def __init__(self, sock: socket.socket) -> None:
        self._receive_into = sock.recv_into
        self._buffer = bytearray()  # the frame that is not yet complete
        self._have = 0  # bytes that were read of a large frame
        self._total = 0  # the size of the large frame that is being read; 0 if there is none
        self.at_end = False
        self.was_reset = False  # the other side has ended; on this host: before it had read all that it was sent

    def read(self, drain: bool = False) -> list[Frame]:
        """Return the complete frames after one read; with `drain`, after reading until nothing is left.

        Raises BlockingIOError in non-blocking mode if there is nothing to read. At the end of the stream, sets `at_end`
        and returns the complete frames.
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
        """Return the whole size of the frame that begins here, in bytes; 0 if its head is not complete."""
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
        """Append the consecutive `FAST_OUTCOME` frames from here on as one frame; return where the next begins."""
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
    """Bytes to be sent to a non-blocking socket, in order. Guarded by its owner's lock.

    Both sockets need one: a worker in C code that holds the GIL reads neither, and a socket takes only some hundred
    frames, even if they are small.
    """

    __slots__ = ("_left", "_sock", "refused")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._left: deque[memoryview] = deque()
        self.refused = False  # the worker has ended: what was sent last reached nobody

    def send(self, pieces: list[bytes | memoryview]) -> bool:
        """Send without blocking. False if something is left: call `flush` when the socket is writable."""
        if len(pieces) == 1 and not self._left:  # the common case: one small frame, and the socket takes it
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
        """Send what is left. True if nothing is left then."""
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


def fast_outcome(number: int, attempt: int, objective: float, start: float, end: float) -> bytes:
    """Return the frame for a job that returned only a float."""
    return FAST_FRAME.pack(FAST.size, 0, FAST_OUTCOME, number, attempt, objective, start, end)


def send_all(sock: socket.socket, pieces: list[bytes | memoryview]) -> None:
    """Send a frame on a blocking socket."""
    for piece in pieces:
        sock.sendall(piece)
