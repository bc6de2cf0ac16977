"""Events that are about to be written, by column: each with the text of its data, and with its data as it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from evalpool.storage._codec import Encoded, is_readable
from evalpool.storage._events import Event

__all__ = ["Columns"]


class Columns:
    """The n-th events are the n-th of each list.

    A large batch waits for some time to be written, and the garbage collector looks again and again at each tuple in
    it: with a tuple for each event, it took a third of the time of writing.

    Attributes:
        data: as a reader gets it.
        readable: whether each event is what a reader takes for one, so that its data need not be read to know it.
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
        """These events but those that `encoder` gives None for; None if none is left. Raises what `encoder` raises."""
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
        """All of these, one behind the other."""
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
        """Put the events of each job together, where its first stands; return how many each has, None if one each."""
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
        """The fields of all events, one behind the other, with these places."""
        fields: list[Any] = []
        for one in zip(self.kinds, self.search_ids, self.numbers, self.data, places, strict=False):
            fields += one
        return fields
