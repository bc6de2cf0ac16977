"""Encodes events as text and decodes them, for every store that keeps bytes.

Reading a store that someone else wrote executes no code of it, and checks everything: the text must be JSON, and each
event must have the form of its kind. Otherwise it is `Malformed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, TypeAlias, get_args

import pydantic_core
from pydantic import ValidationError

from evalpool._json import from_json, jsonable, plain, to_json, unjson
from evalpool._log import get_logger
from evalpool._text import LONGEST_MESSAGE, printable, shown
from evalpool.errors import BadArgument, CorruptRecord, NotJSON
from evalpool.storage._events import JOB_KINDS, LARGEST, SEARCH_KINDS, Event
from evalpool.storage._schema import TEXT_VALIDATORS, VALIDATORS

__all__ = [
    "Encoded",
    "Malformed",
    "OnMalformed",
    "Reporter",
    "decode",
    "decode_rows",
    "dumps",
    "encode",
    "encode_anyhow",
    "from_wire",
    "is_readable",
    "loads",
    "to_items",
    "to_wire",
]

_log = get_logger("evalpool.storage")

OnMalformed = Literal["skip", "raise"]
"""What a client does with a record that it cannot read: log a warning and skip it, or raise `CorruptRecord`."""

_SHOWN = 3

Encoded: TypeAlias = tuple[str, dict[str, Any] | None]
"""The data of an event as text, and the data that a reader of the text gets; None if only reading can tell."""

LONGEST_ID = 200
"""The most characters that the id of a search may have. The ids that evalpool gives are numbers."""


def dumps(value: Any) -> str:
    """Return the same as `to_json`, for a value that `jsonable` made; three times faster except for unusual text."""
    try:
        raw = pydantic_core.to_json(value)
    except ValueError:  # half a surrogate pair, which UTF-8 cannot encode
        return to_json(value)
    return raw.decode("ascii") if raw.isascii() else to_json(value)


def loads(text: str | bytes) -> Any:
    """Return the same as `from_json`, three times faster except for unusual text. Raises `ValueError`."""
    try:
        value = pydantic_core.from_json(text, allow_inf_nan=False)
    except ValueError as error:
        if "recursion limit" in str(error):  # deeper than `jsonable` ever makes, and too deep for many readers
            raise ValueError("nested too deeply") from None
        return from_json(text)
    return unjson(value) if (b'"$float"' in text if isinstance(text, bytes) else '"$float"' in text) else value


_new = tuple.__new__  # faster than that of a named tuple, which is written in Python


class Malformed(ValueError):
    """A text is not an event. The message has no position; the reader adds it."""


def encode(event: Event) -> Encoded:
    """Return the data of the event as JSON text. Raises `NotJSON`, or `BadArgument` if the data has a wrong form."""
    kind = event.kind
    data = jsonable(event.data, "" if kind in ("metadata", "value") else kind)
    try:
        checked = VALIDATORS[kind](data)
    except (ValidationError, KeyError) as error:
        raise BadArgument(f"an event {kind!r} cannot have this data: {_reason(error)}.") from None
    text = dumps(data)
    if '"$float"' in text:
        checked = unjson(checked)
        return text, checked if type(checked) is dict else None
    return text, checked


def encode_anyhow(event: Event) -> Encoded | None:
    """Encode as `encode` does, for `append_soon`, whose errors reach no caller: never raises.

    A value that is not JSON is stored as its repr, with a warning, so that the rest of an outcome is not lost. Returns
    None, with an error in the log, if the event does not have the form of its kind.
    """
    try:
        return encode(event)
    except NotJSON as error:
        _log.warning("job %s.%s: %s. Its repr is stored instead.", event.search_id, event.number, error)
    except BadArgument as error:
        _log.error("job %s.%s: %s", event.search_id, event.number, error)
        return None
    try:
        return encode(event._replace(data=plain(event.data, lenient=True)))
    except (NotJSON, BadArgument) as error:
        _log.error("job %s.%s: %s", event.search_id, event.number, error)
        return None


def decode(kind: Any, search_id: Any, number: Any, data: Any) -> Event:
    """Return the event with these parts, each of which may be any value. Raises `Malformed`."""
    if not isinstance(data, str):
        raise Malformed(f"its data is {shown(data)}, which is not a text")
    try:
        value = loads(data)
        return _new(Event, (kind, search_id, number, _validator(kind, search_id, number)(value), None))
    except ValueError as error:
        raise Malformed(_reason(error)) from None


def decode_rows(rows: Iterable[tuple[Any, ...]], report: Callable[[tuple[Any, ...], Malformed], None]) -> list[Event]:
    """Return the events of rows, each of which has the four parts that `decode` takes after a first value.

    `report` is called with each row that is not an event, and the reason. The same as `decode` for each row, in half of
    the time: usual text is checked while it is parsed, and the id of a search once.
    """
    events: list[Event] = []
    validators = TEXT_VALIDATORS
    checked: Any = object()  # the id of a search that was checked
    for row in rows:
        _, kind, search_id, number, data = row
        try:
            if (
                search_id == checked
                and type(number) is int
                and 0 <= number <= LARGEST
                and kind in JOB_KINDS
                and type(data) is str
                and not ("$float" in data or "NaN" in data or "Inf" in data)
            ):
                try:
                    events.append(_new(Event, (kind, search_id, number, validators[kind](data), None)))
                    continue
                except ValueError:
                    pass  # unusual text, or not an event
            events.append(decode(kind, search_id, number, data))
            checked = search_id
        except Malformed as error:
            report(row, error)
    return events


def to_wire(events: Iterable[Event], encode: Callable[[Event], Encoded | None] = encode) -> str:
    """Return a batch of events as one JSON text, for stores that keep or send whole batches."""
    encoded = [(event, one[0]) for event in events if (one := encode(event)) is not None]
    return f"[{','.join(to_items((event.kind, event.search_id, event.number, text) for event, text in encoded))}]"


def to_items(events: Iterable[tuple[str, str, int | None, str]]) -> Iterator[str]:
    """Yield each event as it stands in a batch. Given are its kind, search, number and data, as `encode` encoded it."""
    ids: dict[str, str] = {}  # the encoded ids of searches; mostly there is one
    for kind, search_id, number, data in events:
        written = ids.get(search_id) or ids.setdefault(search_id, dumps(search_id))
        yield f'["{kind}",{written},{"null" if number is None else number},{data}]'


def from_wire(
    items: Any, at: tuple[int, str] | None = None, report: Callable[[int, str], None] | None = None
) -> list[Event]:
    """Return the events of a batch that `to_wire` wrote, given as JSON values. Raises `Malformed`.

    With `at`, each event gets a position: `at`, and its index in the batch. With `report`, a malformed event is left
    out, and `report` is called with its index in the batch and the reason; the other events are still returned.
    """
    if not isinstance(items, list):
        raise Malformed(f"a batch is a list, not {type(items).__name__}")
    events = []
    for index, item in enumerate(items):
        try:
            if type(item) is not list or len(item) != 4:
                raise Malformed("an event is a list of kind, search, number and data")
            events.append(_checked(item[0], item[1], item[2], item[3], None if at is None else (*at, index)))
        except ValueError as error:
            if report is None:
                raise Malformed(_reason(error)) from None
            report(index, _reason(error))
    return events


def is_readable(kind: str, search_id: str, number: int | None) -> bool:
    """Whether a reader accepts an event with these fields, if its data is valid."""
    if type(number) is int and 0 <= number <= LARGEST and kind in JOB_KINDS and str.isdecimal(search_id):  # as ours are
        return len(search_id) <= LONGEST_ID
    try:
        _validator(kind, search_id, number)
    except Malformed:
        return False
    return True


def _checked(kind: Any, search_id: Any, number: Any, data: Any, at: tuple[int, str, int] | None = None) -> Event:
    return _new(Event, (kind, search_id, number, _validator(kind, search_id, number)(data), at))


def _validator(kind: Any, search_id: Any, number: Any) -> Any:
    """Return the function that checks the data of such an event. Raises `Malformed` if there is no such event."""
    validate = VALIDATORS.get(kind) if type(kind) is str else None
    if validate is None:
        raise Malformed(f"no kind of event is called {shown(kind)}")
    # The id is part of all job ids, views, and names of files and columns, so it must hold no control characters.
    if type(search_id) is not str or not search_id.isprintable() or not 0 < len(search_id) <= LONGEST_ID:
        raise Malformed(f"its search id {shown(search_id)} is not a text of 1 to {LONGEST_ID} printable characters")
    if (number is None) != (kind in SEARCH_KINDS):
        raise Malformed(f"an event {kind!r} cannot have the job number {shown(number)}")
    if number is not None and (type(number) is not int or not 0 <= number <= LARGEST):
        raise Malformed(f"its job number is {shown(number)}, and jobs have whole numbers from 0 to {LARGEST}")
    return validate


def _reason(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    found = error.errors(include_url=False, include_input=False)
    shown = [f"{'.'.join(map(str, one['loc'])) or 'data'}: {one['msg']}" for one in found[:_SHOWN]]
    return "; ".join(shown) + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")


class Reporter:
    """Reports malformed records: logs each place once, or raises an error each time."""

    def __init__(self, what: OnMalformed) -> None:
        if what not in get_args(OnMalformed):
            raise BadArgument(f"on_malformed={what!r}; give 'skip' or 'raise'.")
        self.what = what
        self._seen: set[str] = set()

    def report(self, place: str, reason: str) -> None:
        """Log that the record at `place` is malformed. Raises `CorruptRecord` instead if the user chose so."""
        message = printable(f"{place} is not a record of evalpool: {reason}", LONGEST_MESSAGE)
        if self.what == "raise":
            raise CorruptRecord(f'{message}. Open the storage with on_malformed="skip" to skip it.')
        if place not in self._seen:
            self._seen.add(place)
            _log.warning("%s; it is skipped.", message)
