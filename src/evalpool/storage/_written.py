"""A storage that keeps text and writes it by a `Writer`: what such clients share.

::

    append       ──► _pack ──► Writer.append       ──┐
    append_soon  ──► _pack ──► Writer.append_soon  ──┴──► _commit: the client's own way to keep batches

A client says how events become a batch, how batches are kept, and what it releases. What stands here: events
are checked before anything is written, `close` flushes first and releases in any case, and a forked child has
its own locks and writer.
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
"""Bytes that every store takes as one value."""

Encoder: TypeAlias = Callable[[Event], Encoded | None]
"""`encode`, which raises, or `encode_anyhow`, which gives None for what is no event."""


class WrittenStorage(Storage, Generic[Batch]):
    """A client whose events are written in batches, by whoever waits for them or by a thread of its own.

    A subclass implements `_pack`, `_commit`, `_release` and `_renew`, and calls `_begin_writing` when it is made.
    """

    _writer: Writer[Batch]
    _closed = False

    def __init__(self) -> None:
        super().__init__()
        self._reporter = Reporter("skip")

    def _begin_writing(self, name: str, *, remote: bool) -> None:
        """Make the writer; `name` and `remote` as `Writer`."""
        self._writer = Writer(self._commit, name, remote=remote)
        renew_after_fork(self)

    @abc.abstractmethod
    def _pack(self, events: Sequence[Event], encoder: Encoder) -> Batch | None:
        """These events as a batch; None if nothing is left of them. Raises what `encoder` raises."""

    @abc.abstractmethod
    def _commit(self, batches: list[Batch]) -> None:
        """Keep these batches, all or none. By one thread at a time, under the writer's lock."""

    @abc.abstractmethod
    def _release(self, flushed: bool) -> None:
        """Give back files and connections. Under the writer's lock; called by each `close`.

        `flushed` tells whether all records are written: then a client may say goodbye to a server that answers.
        """

    @abc.abstractmethod
    def _renew(self) -> None:
        """In a forked child: leave to the parent what is the parent's, and begin anew. Only this thread is there."""

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
        """Bytes that an event's data may have at the most. Asked for large ones only."""
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
        """The events of a batch that was read at `place`; those that are malformed are reported one by one."""
        return from_wire(items, at, lambda index, reason: self._reporter.report(f"event {index} of {place}", reason))

    def _check_open(self) -> None:
        """Raise `StorageUnavailable` once this client is closed."""
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
    """The value, and of what is larger in it only the beginning of its text."""
    if isinstance(value, dict):
        return {key: _truncated(one, largest) for key, one in value.items()}
    text = value if isinstance(value, str) else dumps(jsonable(value)) if isinstance(value, list) else ""
    return value if len(text) <= largest else f"{text[:1000]}... ({len(text)} characters are too many for this storage)"
