"""The common part of all clients of storages that keep text and write it with a `Writer`.

::

    append       ──► _pack ──► Writer.append       ──┐
    append_soon  ──► _pack ──► Writer.append_soon  ──┴──► _commit: the client's own way to keep batches

A client defines how events become a batch, how batches are stored, and what is released at the end. The class here
checks all events before anything is written. Its `close` flushes first, and then releases even if that failed. In a
forked child it makes new locks and a new writer.
"""

from __future__ import annotations

import abc
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from evalpool._json import jsonable
from evalpool._log import get_logger
from evalpool.errors import BadArgument, NotJSON, StorageUnavailable
from evalpool.storage._base import Storage
from evalpool.storage._codec import Encoded, Reporter, dumps, encode, encode_anyhow, from_wire, loads, to_wire
from evalpool.storage._events import Event
from evalpool.storage._fork import renew_after_fork
from evalpool.storage._writer import Writer

__all__ = ["Encoder", "WireStorage", "WrittenStorage"]

Batch = TypeVar("Batch")

_log = get_logger("evalpool.storage")

SMALL = 500_000
"""A value of so many bytes fits into every store."""

Encoder: TypeAlias = Callable[[Event], Encoded | None]
"""`encode`, which raises an error for an invalid event, or `encode_anyhow`, which returns None for it."""


class WrittenStorage(Storage, Generic[Batch]):
    """A client whose events are written in batches, by a caller that waits for them or by a thread of the client.

    A subclass implements `_pack`, `_commit`, `_release` and `_renew`, and calls `_begin_writing` when it is created.
    """

    _writer: Writer[Batch]
    _closed = False

    def __init__(self) -> None:
        super().__init__()
        self._reporter = Reporter("skip")

    def _begin_writing(self, name: str, *, remote: bool) -> None:
        """Make the writer; `name` and `remote` are those of `Writer`."""
        self._writer = Writer(self._commit, name, remote=remote, rest=self._rest)
        renew_after_fork(self)

    @abc.abstractmethod
    def _pack(self, events: Sequence[Event], encoder: Encoder) -> Batch | None:
        """Return a batch with these events; None if `encoder` leaves none of them. Raises what `encoder` raises."""

    @abc.abstractmethod
    def _commit(self, batches: list[Batch]) -> None:
        """Store all of these batches, or none. Called by one thread at a time, under the writer's lock."""

    @abc.abstractmethod
    def _release(self, flushed: bool) -> None:
        """Close files and connections. Called by each `close`, under the writer's lock.

        `flushed` is True if all records are written: then the server answers, and a client may send it a last message.
        """

    @abc.abstractmethod
    def _renew(self) -> None:
        """Begin again in a forked child, without touching what the parent uses. No other thread exists then."""

    def _rest(self) -> None:
        """Release, at the end of a program that has not closed this client, what is to be closed in order.

        A thread or a function registered with `atexit` may use the client even later: then it opens that again.
        """

    # -- over these ------------------------------------------------------------------------------------

    def append(self, events: Sequence[Event]) -> None:
        batch = self._pack(events, self._encode)
        if batch is not None:
            self._writer.append(batch)

    def append_soon(self, events: Sequence[Event]) -> None:
        batch = self._pack(events, self._encode_anyhow)
        if batch is not None:
            self._writer.append_soon(batch)

    def _largest(self) -> int:
        """Return how many bytes an event's data may have at most. Called for large events only."""
        return sys.maxsize

    def _encode(self, event: Event) -> Encoded:
        encoded = encode(event)
        data = encoded[0]
        if len(data) > SMALL and len(data) > (largest := self._largest()):
            raise NotJSON(
                f"{event.kind} of job {event.search_id}.{event.number} has {len(data)} bytes as JSON, and {self!r} "
                f"keeps {largest} at the most. Write it to a file and give its name."
            )
        return encoded

    def _encode_anyhow(self, event: Event) -> Encoded | None:
        try:
            encoded: Encoded | None = encode(event)
        except (NotJSON, BadArgument):
            encoded = encode_anyhow(event)
        if encoded is None:
            return None
        data = encoded[0]
        if len(data) <= SMALL or len(data) <= (largest := self._largest()):
            return encoded
        truncated = dumps(_truncated(loads(data), max(largest // 1000, 1000)))
        _log.warning(
            "job %s.%s: %d bytes are more than %r keeps (%d): of its largest values only the beginning is kept.",
            event.search_id, event.number, len(data), self, largest,
        )  # fmt: skip
        return (truncated, None) if len(truncated) <= largest else None

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        flushed = False
        try:
            self._writer.close()
            flushed = True
        finally:
            with self._writer.commit_lock:
                try:
                    self._release(flushed)
                finally:
                    self._closed = True

    def _unpack(self, items: Any, place: str, at: tuple[int, str] | None = None) -> list[Event]:
        """Return the events of a batch that was read at `place`. Each malformed event is reported and left out."""
        return from_wire(items, at, lambda index, reason: self._reporter.report(f"event {index} of {place}", reason))

    def _check_open(self) -> None:
        """Raise `StorageUnavailable` if this client is closed."""
        if self._closed:
            raise StorageUnavailable(f"{self!r} is closed; make a new one to go on.")

    def _after_fork(self) -> None:
        self._fold_lock = threading.RLock()
        self._writer.after_fork()
        self._renew()


class WireStorage(WrittenStorage[str]):
    """A client that keeps or sends whole batches as JSON text (`to_wire`)."""

    def _pack(self, events: Sequence[Event], encoder: Encoder) -> str | None:
        batch = to_wire(events, encoder)
        return None if batch == "[]" else batch


def _truncated(value: Any, largest: int) -> Any:
    """Return the value, with only the beginning of the text of each part that is larger than `largest`."""
    if isinstance(value, dict):
        return {key: _truncated(one, largest) for key, one in value.items()}
    text = value if isinstance(value, str) else dumps(jsonable(value)) if isinstance(value, list) else ""
    return value if len(text) <= largest else f"{text[:1000]}... ({len(text)} characters are too many for this storage)"
