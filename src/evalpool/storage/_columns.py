"""Events that will be written, kept as columns: each with its data as text, and with its data as a reader gets it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from evalpool.storage._codec import Encoded, is_readable
from evalpool.storage._events import Event

__all__ = ["Columns"]


class Columns:
    """A batch of events. The n-th event consists of the n-th element of each list.

    A large batch may wait for some time until it is written, and the garbage collector examines each tuple in it again
    and again. With one tuple for each event, the collector took a third of the time of writing.

    Attributes:
        data: the data of each event, as a reader gets it.
        readable: whether a reader accepts every event and gets this data, so that this client need not read it back.
    """

    __slots__ = ("data", "kinds", "numbers", "readable", "search_ids", "texts")

    def __init__(self) -> None:
        self.kinds: list[str] = []
        self.search_ids: list[str] = []
        self.numbers: list[int | None] = []
        self.texts: list[str] = []
        self.data: list[Any] = []
        self.readable = True

    @classmethod
    def of(cls, events: Iterable[Event], encoder: Callable[[Event], Encoded | None]) -> Columns | None:
        """Return the columns of these events, without those that `encoder` returns None for; None if none is left.

        Raises what `encoder` raises.
        """
        columns = cls()
        kinds, search_ids, numbers, texts = columns.kinds, columns.search_ids, columns.numbers, columns.texts
        readable = True
        for event in events:
            encoded = encoder(event)
            if encoded is None:
                continue
            kind, search_id, number, data, _ = event
            text, as_read = encoded
            kinds.append(kind)
            search_ids.append(search_id)
            numbers.append(number)
            texts.append(text)
            if as_read is None:
                readable = False
            else:
                data = as_read
            columns.data.append(data)
            if readable:
                readable = is_readable(kind, search_id, number)
        columns.readable = readable
        return columns if kinds else None

    @classmethod
    def joined(cls, batches: Sequence[Columns]) -> Columns:
        """Return the events of all these batches, in this order."""
        if len(batches) == 1:
            return batches[0]
        columns = cls()
        for batch in batches:
            columns.kinds += batch.kinds
            columns.search_ids += batch.search_ids
            columns.numbers += batch.numbers
            columns.texts += batch.texts
            columns.data += batch.data
            columns.readable = columns.readable and batch.readable
        return columns

    def group_by_job(self) -> list[int] | None:
        """Move the events of each job to the place of its first one, in their order.

        Returns how many events each job has; None if each has one.
        """
        count = len(self.kinds)
        if len(set(self.search_ids)) == 1 and len(set(self.numbers)) == count:
            return None
        groups: dict[tuple[str, int | None], list[int]] = {}
        for index, key in enumerate(zip(self.search_ids, self.numbers, strict=True)):
            groups.setdefault(key, []).append(index)
        order = [index for group in groups.values() for index in group]
        for name in ("kinds", "search_ids", "numbers", "texts", "data"):
            column = getattr(self, name)
            setattr(self, name, [column[index] for index in order])
        return [len(group) for group in groups.values()]

    def __len__(self) -> int:
        return len(self.kinds)

    def fields(self, places: Iterable[Any]) -> list[Any]:
        """Return the fields of all events in one flat list; `places` gives the field `at` of each."""
        fields: list[Any] = []
        for one in zip(self.kinds, self.search_ids, self.numbers, self.data, places, strict=False):
            fields += one
        return fields
