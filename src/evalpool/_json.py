"""Conversion between Python values and JSON, for everything that is kept or sent as text.

`jsonable` makes a JSON value of what run-functions really return: numpy scalars and arrays, pydantic models, enums,
paths, tuples and sets. JSON has no NaN and no infinity, but a loss that diverged is worth keeping: such a float is
written ``{"$float": "nan" | "inf" | "-inf"}`` and restored by `from_json`. Any other value raises `NotJSON`, which says
where the value is. Everything that is written can be read: numbers with too many digits and too deep nesting raise,
too.

numpy and pydantic are looked up only in `sys.modules`: a program that never imported them has no values of theirs.
"""

from __future__ import annotations

import enum
import json
import math
import sys
from collections.abc import Mapping
from typing import Any

from evalpool._text import described
from evalpool.errors import NotJSON

__all__ = ["from_json", "jsonable", "plain", "to_json", "unjson"]

_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_AS_IS = frozenset({str, bool, type(None)})
_isfinite = math.isfinite

MAX_DEPTH = 100
"""The depth of nesting that every reader can read, including what a record adds: pydantic's parser accepts 200, and
Python's as many as its stack allows."""
PLAIN_DEPTH = 3
"""The depth of nesting up to which values are copied without checking whether one contains itself."""
MAX_DIGITS = 4300
"""The digits of a whole number that Python (by default) and pydantic's parser convert from text."""
_TOO_LARGE, _TOO_SMALL = 10**MAX_DIGITS, -(10**MAX_DIGITS)

_ADVICE = "a record holds text, numbers, booleans, None, and lists and dicts of them; convert it first"


def to_json(value: Any, key: str = "") -> str:
    """Return `value` as compact JSON text (ASCII). Raises `NotJSON`, which names the place below `key`.

    >>> to_json({"lr": 0.1, "layers": (64, 32), "loss": float("nan")})
    '{"lr":0.1,"layers":[64,32],"loss":{"$float":"nan"}}'
    """
    try:
        return _encode(jsonable(value, key))
    except ValueError as error:  # an integer of more digits than this program lets Python convert to text
        raise NotJSON(f"{key or 'the value'} cannot be written as JSON: {error}") from None


def from_json(text: str | bytes) -> Any:
    """Return the value of JSON text written by `to_json`. Raises `ValueError` if it is not JSON."""
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        value = _decode(text)
        # One search in C for this rare text is cheaper than a check of every dictionary.
        return unjson(value) if '"$float"' in text else value
    except RecursionError:
        raise ValueError("nested more deeply than Python can read") from None


def jsonable(value: Any, key: str = "") -> Any:
    """Return `value` as a JSON value that shares no container with it. Raises `NotJSON`.

    Args:
        value: any value.
        key: its place, for the message: ``"metadata"`` gives ``metadata.model.weights[3]``.
    """
    kind = type(value)
    if kind in _AS_IS or (kind is float and _isfinite(value)):
        return value
    if (copy := _copy_dict(value, PLAIN_DEPTH) if kind is dict else _copy(value, PLAIN_DEPTH)) is not None:
        return copy
    return _convert_at(key, value, encode_floats=True, lenient=False)


def plain(value: Any, key: str = "", *, lenient: bool = False) -> Any:
    """As `jsonable`, but floats stay floats, also NaN and infinity: this is what a reader of a record gets.

    With `lenient`, a value that is not JSON becomes its repr, and a key becomes text; it never raises.
    """
    kind = type(value)
    if kind in _AS_IS or kind is float:
        return value
    if (copy := _copy_dict(value, PLAIN_DEPTH) if kind is dict else _copy(value, PLAIN_DEPTH)) is not None:
        return copy
    return _convert_at(key, value, encode_floats=False, lenient=lenient)


def unjson(value: Any) -> Any:
    """Restore the floats that JSON lacks, in place where possible; return the value."""
    if isinstance(value, dict):
        if len(value) == 1 and "$float" in value:
            return _FLOATS.get(value["$float"], value) if isinstance(value["$float"], str) else value
        for key, item in value.items():
            if isinstance(item, dict | list):
                value[key] = unjson(item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, dict | list):
                value[index] = unjson(item)
    return value


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False).encode
_decode = json.JSONDecoder(parse_constant=_reject_constant).decode


def _copy_dict(value: dict[Any, Any], depth: int) -> dict[str, Any] | None:
    """Return a copy of a dict whose values are all JSON already; None if it needs `_Conversion`.

    Most events are such dicts, and this takes half the time of a conversion.
    """
    copy: dict[str, Any] = {}
    for key, item in value.items():
        kind = type(item)
        if kind in _AS_IS or (kind is float and _isfinite(item)) or (kind is int and _TOO_SMALL < item < _TOO_LARGE):
            part = item
        elif not depth or (part := _copy_dict(item, depth - 1) if kind is dict else _copy(item, depth - 1)) is None:
            return None
        if type(key) is not str:
            return None
        copy[key] = part
    return copy


def _copy(value: Any, depth: int) -> Any:
    """As `_copy_dict`, for a dict or a list; None for any other value."""
    if type(value) is dict:
        return _copy_dict(value, depth)
    if type(value) is not list:
        return None
    copy = []
    for item in value:
        part = item if type(item) is float and _isfinite(item) else _copy(item, depth - 1) if depth else None
        if part is None:
            return None
        copy.append(part)
    return copy


class _Unfit(Exception):
    """A value is not JSON; each container around it adds its key to the path."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.path = ""


def _convert_at(key: str, value: Any, *, encode_floats: bool, lenient: bool) -> Any:
    try:
        return _Conversion(encode_floats, lenient).convert(value)
    except _Unfit as unfit:
        place = (key + unfit.path).removeprefix(".") or "the value"
        raise NotJSON(f"{place} {unfit}; {_ADVICE}") from None
    except Exception as error:  # raised by a value's own methods
        reason = described(error)
        raise NotJSON(f"{key or 'the value'} cannot be converted ({reason}); {_ADVICE}") from error


def _shown(value: Any) -> str:
    """Return the repr of a value, or its type if the repr raises."""
    try:
        return repr(value)
    except Exception:  # noqa: BLE001  - raised by its own method; or it is too large, or too deep
        return f"<{type(value).__qualname__}>"


class _Conversion:
    """One conversion of one value. With `lenient` it raises nothing."""

    __slots__ = ("_encode_floats", "_lenient", "_within")

    def __init__(self, encode_floats: bool, lenient: bool) -> None:
        self._encode_floats = encode_floats
        self._lenient = lenient
        self._within: list[int] = []  # the ids of the containers around the current value

    def convert(self, value: Any) -> Any:
        kind = type(value)
        if kind in _AS_IS or (kind is int and _TOO_SMALL < value < _TOO_LARGE):
            return value
        if kind is float:
            if self._encode_floats and not _isfinite(value):
                return {"$float": repr(value)}
            return value
        if kind is dict:
            return self._dict(value)
        if kind is list or kind is tuple:
            return self._list(value)
        if not self._lenient:
            return self._other(value)
        depth = len(self._within)
        try:
            return self._other(value)
        except Exception:  # noqa: BLE001  - raised by a value's own methods
            del self._within[depth:]
            return _shown(value)

    def _other(self, value: Any) -> Any:
        # Enums come first, because an enum may also be a text or a number.
        if isinstance(value, enum.Enum):
            return self.convert(value.value)
        if isinstance(value, str):  # numpy.str_ among others
            return str(value)
        numpy = sys.modules.get("numpy")
        if numpy is not None and isinstance(value, numpy.generic | numpy.ndarray):
            return self._numpy(numpy, value)
        if isinstance(value, int):
            if not _TOO_SMALL < value < _TOO_LARGE:
                raise _Unfit(f"is a whole number of more than {MAX_DIGITS} digits")
            return int(value)
        if isinstance(value, float):
            return self.convert(float(value))
        if isinstance(value, Mapping):
            return self._dict(value)
        if isinstance(value, list | tuple):
            return self._list(value)
        if isinstance(value, set | frozenset):
            return self._list(_ordered(value))
        pathlib = sys.modules.get("pathlib")  # who has a path has imported it
        if pathlib is not None and isinstance(value, pathlib.PurePath):
            return str(value)
        pydantic = sys.modules.get("pydantic")
        if pydantic is not None and isinstance(value, pydantic.BaseModel):
            return self._dict(_dump(value))
        raise _Unfit(f"is of type {type(value).__qualname__}, which is not JSON")

    def _may_enter(self, value: Any) -> bool:
        """Whether to convert this container; if not, its repr is used."""
        within = self._within
        if len(within) < MAX_DEPTH and id(value) not in within:
            within.append(id(value))
            return True
        if self._lenient:
            return False
        raise _Unfit(f"contains itself, or is nested more than {MAX_DEPTH} deep")

    def _dict(self, value: Mapping[Any, Any]) -> Any:
        if not self._may_enter(value):
            return _shown(value)
        result: dict[str, Any] = {}
        for key, item in value.items():
            if type(key) is not str:
                key = self._key(key)
            if type(item) in _AS_IS:
                result[key] = item
                continue
            try:
                result[key] = self.convert(item)
            except _Unfit as unfit:
                unfit.path = f".{key}{unfit.path}"
                raise
        self._within.pop()
        return result

    def _key(self, key: Any) -> str:
        if isinstance(key, str):
            return str(key.value) if isinstance(key, enum.Enum) else str(key)
        if not self._lenient:
            raise _Unfit(f"has the key {_shown(key)} of type {type(key).__qualname__}; keys are text")
        try:
            return str(key)
        except Exception:  # noqa: BLE001  - raised by its own method
            return _shown(key)

    def _list(self, value: Any) -> Any:
        if not self._may_enter(value):
            return _shown(value)
        result = []
        for index, item in enumerate(value):
            try:
                result.append(self.convert(item))
            except _Unfit as unfit:
                unfit.path = f"[{index}]{unfit.path}"
                raise
        self._within.pop()
        return result

    def _numpy(self, numpy: Any, value: Any) -> Any:
        kind = value.dtype.kind
        if kind == "f" and value.dtype.itemsize > 8:
            value = value.astype(numpy.float64)  # item() and tolist() of a long double are long doubles again
        if kind not in "biufUO":  # complex numbers, dates, bytes, structures
            raise _Unfit(f"is of type {type(value).__qualname__}, which is not JSON")
        items = value.tolist()
        if isinstance(items, list) and kind in "biufU" and not (kind == "f" and self._encode_floats):
            return items
        return self.convert(items)


def _dump(model: Any) -> dict[str, Any]:
    """Return the fields of a pydantic model: in its own JSON form (dates as text) if it has one."""
    try:
        dumped: dict[str, Any] = model.model_dump(mode="json")
    except Exception:  # noqa: BLE001  - it has arbitrary types: our own rules apply
        dumped = model.model_dump()
    return dumped


def _ordered(value: Any) -> list[Any]:
    """Return the members of a set in an order that is the same in every process."""
    try:
        return sorted(value)
    except TypeError:
        return sorted(value, key=repr)
