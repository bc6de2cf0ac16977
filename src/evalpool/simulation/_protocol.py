"""Frames on a local socket between a caller and its coordinator, after both have proven that they know the key.

::

    caller                                          coordinator
    ─── JOIN who I am ───►
                          ◄────── JOINED worker ───      or REFUSED why

On Linux the socket keeps message boundaries (SEQPACKET). With a stream socket, a process that waits to read is also
woken when the other side reads what it has sent; two wake-ups per evaluation instead of one took a third of the time.

A frame is its length, its kind and its content: packed numbers for frames of each evaluation, JSON for the rest.
Nothing is ever unpickled. A caller has at most one unanswered question. Only OVER and LOST may also come without one.
"""

from __future__ import annotations

import enum
import socket
import struct
from typing import Any

from evalpool._descriptors import can_read
from evalpool._json import to_json
from evalpool.simulation._run import Result

__all__ = ["CallerChannel", "Kind"]

READ = 1 << 16
CHUNK = 1 << 15
DONT_WAIT = getattr(socket, "MSG_DONTWAIT", 0)
_HEAD = struct.Struct("<IB")
HEAD = _HEAD.size
READ_WITHIN = struct.Struct("@ll")  # seconds and microseconds, as the system takes them
_RESULT = struct.Struct("<?ddd?")
_RESULT_FRAME = struct.Struct("<IB?ddd?")  # with its head
_RELEASED = struct.Struct("<dQ?")
_RELEASED_FRAME = struct.Struct("<IBdQ?")
_JOINED = struct.Struct("<IQQ?")


class Kind(enum.IntEnum):
    """The kind of a frame."""

    JOIN = 2
    JOINED = 3
    REFUSED = 4  # the run continues without this caller
    CALL = 5  # may I evaluate? answered by BEGUN, OVER or WRONG
    STARTED = 6  # I evaluate from now on; not answered
    RESULT = 7  # answered by RELEASED or OVER
    LEAVE = 8
    BEGUN = 9
    RELEASED = 10
    OVER = 11
    WRONG = 12  # an argument of the user in the question was wrong
    LOST = 13  # the run cannot continue


RESULT, RELEASED = int(Kind.RESULT), int(Kind.RELEASED)  # to compare two numbers takes a fifth of the time


class CallerChannel:
    """One side of a connection. Only one thread at a time may read, and only one may write."""

    __slots__ = ("_buffer", "socket")

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self._buffer = b""

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, kind: int, content: bytes = b"") -> None:
        self.send_whole(_HEAD.pack(len(content), kind) + content)

    def send_whole(self, frame: bytes) -> None:
        """Send a frame with its head."""
        if len(frame) <= CHUNK:
            self.socket.sendall(frame)
        else:  # the size of a message is limited
            for start in range(0, len(frame), CHUNK):
                self.socket.sendall(frame[start : start + CHUNK])

    def send_json(self, kind: int, value: Any) -> None:
        self.send(kind, to_json(value).encode())

    def receive(self) -> tuple[int, bytes]:
        """Wait for a frame. Raises `EOFError` if the other side has closed the connection."""
        while True:
            frame = self._take() if self._buffer else None
            if frame is not None:
                return frame
            self._read(0)

    def available(self) -> tuple[int, bytes] | None:
        """Return a frame that has arrived already, or None. Raises `EOFError`."""
        frame = self._take()
        if frame is None:
            if DONT_WAIT:
                try:
                    self._read(DONT_WAIT)
                except BlockingIOError:
                    return None
            elif can_read(self.socket):
                self._read(0)
            frame = self._take()
        return frame

    def wait_at_most(self, seconds: float) -> None:
        """Let `read` raise `BlockingIOError` if nothing comes within these seconds; the system may double them."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, READ_WITHIN.pack(0, int(seconds * 1e6)))

    def read(self, flags: int = 0) -> bytes:
        """Return what has come since the last frame: nearly always, exactly one. Raises `EOFError`."""
        try:
            read = self.socket.recv(READ, flags)
        except (ConnectionError, TimeoutError):
            raise EOFError from None
        if not read:
            raise EOFError
        if self._buffer:
            read, self._buffer = self._buffer + read, b""
        return read

    def put_back(self, read: bytes) -> None:
        """Let `receive` return what was `read`."""
        self._buffer = read

    def frames(self, read: bytes) -> list[tuple[int, bytes]]:
        """Return the frames in what was `read`; the beginning of another one is kept."""
        self._buffer, frames = read, []
        while (frame := self._take()) is not None:
            frames.append(frame)
        return frames

    def _read(self, flags: int) -> None:
        self._buffer = self.read(flags)

    def _take(self) -> tuple[int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < _HEAD.size:
            return None
        length, kind = _HEAD.unpack_from(buffer)
        end = _HEAD.size + length
        if len(buffer) < end:
            return None
        self._buffer = buffer[end:]
        return kind, buffer[_HEAD.size : end]

    def close(self) -> None:
        self.socket.close()


def result_frame(overhead: float | None, wall: float, result: Result) -> bytes:
    """Return the frame of a result. `overhead` is None if CALL or STARTED was sent before."""
    charged, text = overhead is not None, result.text
    length = _RESULT.size + len(text)
    return _RESULT_FRAME.pack(length, RESULT, charged, overhead or 0.0, wall, result.runtime, result.failed) + text


def unpack_result(content: bytes) -> tuple[float | None, float, Result]:
    charged, overhead, wall, runtime, failed = _RESULT.unpack_from(content)
    return overhead if charged else None, wall, Result(runtime, failed, content[_RESULT.size :])


def one_result(read: bytes) -> tuple[float | None, float, Result] | None:
    """Return the content of a result, if exactly one frame was read and it is that of a result; else None."""
    if len(read) < _RESULT_FRAME.size:
        return None
    length, kind, charged, overhead, wall, runtime, failed = _RESULT_FRAME.unpack_from(read)
    if kind != RESULT or length != len(read) - HEAD:
        return None
    return overhead if charged else None, wall, Result(runtime, failed, read[_RESULT_FRAME.size :])


def pack_joined(worker: int, seed: int, calls: int, first: bool) -> bytes:
    return _JOINED.pack(worker, seed, calls, first)


def unpack_joined(content: bytes) -> tuple[int, int, int, bool]:
    worker, seed, calls, first = _JOINED.unpack(content)
    return worker, seed, calls, first


def released_frame(charged: float, seed: int, over: bool) -> bytes:
    return _RELEASED_FRAME.pack(_RELEASED.size, RELEASED, charged, seed, over)


def unpack_released(content: bytes) -> tuple[float, int, bool]:
    charged, seed, over = _RELEASED.unpack(content)
    return charged, seed, over


def one_release(read: bytes) -> tuple[float, int, bool] | None:
    """As `one_result`, for the reply to it."""
    if len(read) != _RELEASED_FRAME.size:
        return None
    length, kind, charged, seed, over = _RELEASED_FRAME.unpack(read)
    return (charged, seed, over) if kind == RELEASED and length == _RELEASED.size else None
