"""Events as text and back: what every store that keeps bytes writes and trusts.

Reading a store someone else wrote executes nothing and believes nothing: text is JSON, and each event has the
form of its kind, or it is `Malformed`.
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
from evalpool.storage._schema import VALIDATORS

__all__ = [
    "Encoded",
    "Malformed",
    "OnMalformed",
    "Reporter",
    "decode",
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
"""What a client does with a record it cannot read: log it and go on, or raise `CorruptRecord`."""

_SHOWN = 3

Encoded: TypeAlias = tuple[str, dict[str, Any] | None]
"""The data of an event as text, and as who reads that text gets it; None where only reading can tell."""

LONGEST_ID = 200
"""Characters of a search's id; our own are numbers."""


def dumps(value: Any) -> str:
    """What `to_json` gives, for a value that `jsonable` made; three times faster for all but odd text."""
    try:
        raw = pydantic_core.to_json(value)
    except ValueError:  # half a surrogate pair, which UTF-8 cannot say
        return to_json(value)
    return raw.decode("ascii") if raw.isascii() else to_json(value)


def loads(text: str | bytes) -> Any:
    """What `from_json` gives, three times faster for all but odd text. Raises `ValueError`."""
    try:
        value = pydantic_core.from_json(text, allow_inf_nan=False)
    except ValueError as error:
        if "recursion limit" in str(error):  # deeper than anything `jsonable` makes, and than many readers can walk
            raise ValueError("nested too deeply") from None
        return from_json(text)
    return unjson(value) if (b'"$float"' in text if isinstance(text, bytes) else '"$float"' in text) else value


_new = tuple.__new__  # of a named tuple, which has an own one, in Python


class Malformed(ValueError):
    """Text that is no event; without its position, which the reader knows."""


def encode(event: Event) -> Encoded:
    """The data of the event as JSON text. Raises `NotJSON`, or `BadArgument` for data of another form."""
    kind = event.kind
    data = jsonable(event.data, "" if kind in ("metadata", "value") else kind)
    try:
        checked = VALIDATORS[kind](data)
    except (ValidationError, KeyError) as error:
        raise BadArgument(f"an event {kind!r} cannot hold this: {_reason(error)}.") from None
    text = dumps(data)
    if '"$float"' in text:
        checked = unjson(checked)
        return text, checked if type(checked) is dict else None
    return text, checked


def encode_anyhow(event: Event) -> Encoded | None:
    """As `encode`, for what is appended soon, by threads that have no one to tell: never raises.

    What is not JSON is kept as its repr, with a warning: the rest of an outcome must not be lost for it. None,
    with an error in the log, if it has not the form of its kind.
    """
    try:
        return encode(event)
    except NotJSON as error:
        _log.warning("job %s.%s: %s. Its repr is kept.", event.search_id, event.number, error)
    except BadArgument as error:
        _log.error("job %s.%s: %s", event.search_id, event.number, error)
        return None
    try:
        return encode(event._replace(data=plain(event.data, lenient=True)))
    except (NotJSON, BadArgument) as error:
        _log.error("job %s.%s: %s", event.search_id, event.number, error)
        return None


def decode(kind: Any, search_id: Any, number: Any, data: Any) -> Event:
    """The event of these parts, of which each may be anything. Raises `Malformed`."""
    if not isinstance(data, str):
        raise Malformed(f"its data is no text but {shown(data)}")
    try:
        value = loads(data)
        return _new(Event, (kind, search_id, number, _validator(kind, search_id, number)(value), None))
    except ValueError as error:
        raise Malformed(_reason(error)) from None


def to_wire(events: Iterable[Event], encode: Callable[[Event], Encoded | None] = encode) -> str:
    """A batch of events as one JSON text, for stores that keep or send whole batches."""
    encoded = [(event, one[0]) for event in events if (one := encode(event)) is not None]
    return f"[{','.join(to_items((event.kind, event.search_id, event.number, text) for event, text in encoded))}]"


def to_items(events: Iterable[tuple[str, str, int | None, str]]) -> Iterator[str]:
    """The text in a batch of each event, of its kind, search, number and data: that as the text that `encode` gave."""
    ids: dict[str, str] = {}  # the texts of the searches' ids: mostly there is one
    for kind, search_id, number, data in events:
        written = ids.get(search_id) or ids.setdefault(search_id, dumps(search_id))
        yield f'["{kind}",{written},{"null" if number is None else number},{data}]'


def from_wire(
    items: Any, at: tuple[int, str] | None = None, report: Callable[[int, str], None] | None = None
) -> list[Event]:
    """The events of a batch that `to_wire` wrote, given as JSON values. Raises `Malformed`.

    With `at`, each gets its place: that, and its place in the batch. With `report`, an event that is malformed is told
    to it, with its place in the batch and the reason, and left out: it hides no other.
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
    """Whether who reads such an event takes it for one, as far as it does not depend on its data."""
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
    """What checks the data of an event of such a job. Raises `Malformed` if there can be none."""
    validate = VALIDATORS.get(kind) if type(kind) is str else None
    if validate is None:
        raise Malformed(f"no kind of event is called {shown(kind)}")
    # It stands in every id and every view, in names of files and of columns: no text that a terminal obeys.
    if type(search_id) is not str or not search_id.isprintable() or not 0 < len(search_id) <= LONGEST_ID:
        raise Malformed(f"search id {shown(search_id)} is no text of at most {LONGEST_ID} printable characters")
    if (number is None) != (kind in SEARCH_KINDS):
        raise Malformed(f"an event {kind!r} of job number {shown(number)}")
    if number is not None and (type(number) is not int or not 0 <= number <= LARGEST):
        raise Malformed(f"job number {shown(number)}")
    return validate


def _reason(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    found = error.errors(include_url=False, include_input=False)
    shown = [f"{'.'.join(map(str, one['loc'])) or 'data'}: {one['msg']}" for one in found[:_SHOWN]]
    return "; ".join(shown) + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")


class Reporter:
    """What is done about malformed records: each place is logged once, or raised each time."""

    def __init__(self, what: OnMalformed) -> None:
        if what not in get_args(OnMalformed):
            raise BadArgument(f"on_malformed={what!r}; give 'skip' or 'raise'.")
        self.what = what
        self._seen: set[str] = set()

    def report(self, place: str, reason: str) -> None:
        """Tell of a malformed record at `place`. Raises `CorruptRecord` if the user chose so."""
        message = printable(f"{place} is no record of evalpool: {reason}", LONGEST_MESSAGE)
        if self.what == "raise":
            raise CorruptRecord(f'{message}. Open the storage with on_malformed="skip" to go on without it.')
        if place not in self._seen:
            self._seen.add(place)
            _log.warning("%s; it is skipped.", message)
