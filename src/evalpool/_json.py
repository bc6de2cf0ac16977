"""From Python values to JSON and back, for everything that is kept or sent as text.

`jsonable` makes a JSON value of what run-functions really return: numpy scalars and arrays, pydantic
models, enums, paths, tuples and sets. JSON knows no NaN and no infinity, and a loss that diverged is worth
keeping: such a float is written ``{"$float": "nan" | "inf" | "-inf"}`` and restored by `from_json`.
Everything else is `NotJSON`, with the place of the value in what was to be kept.

numpy and pydantic are looked for in `sys.modules` only: who never imported them has no values of theirs.
"""

from __future__ import annotations

import enum
import json
import math
import sys
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from evalpool.errors import NotJSON

__all__ = ["from_json", "jsonable", "plain", "to_json", "unjson"]

_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_AS_IS = frozenset({str, int, bool, type(None)})
_ADVICE = "a record holds text, numbers, booleans, None, and lists and dicts of them; convert it first"


def to_json(value: Any, key: str = "") -> str:
    """Return `value` as compact JSON text (ASCII). Raises `NotJSON`, which names the place below `key`.

    >>> to_json({"lr": 0.1, "layers": (64, 32), "loss": float("nan")})
    '{"lr":0.1,"layers":[64,32],"loss":{"$float":"nan"}}'
    """
    try:
        return _encode(jsonable(value, key))
    except ValueError as error:  # an integer of more digits than Python converts to text
        raise NotJSON(f"{key or 'the value'} cannot be written as JSON: {error}") from None


def from_json(text: str | bytes) -> Any:
    """Return the value of JSON text written by `to_json`. Raises `ValueError` if it is not JSON."""
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        value = _decode(text)
        # One search in C for a rare thing is cheaper than a look at every dictionary.
        return unjson(value) if '"$float"' in text else value
    except RecursionError:
        raise ValueError("nested more deeply than Python can read") from None


def jsonable(value: Any, key: str = "") -> Any:
    """Return `value` as a JSON value that shares no container with it. Raises `NotJSON`.

    Args:
        value: what is to be kept.
        key: where it stands, for the message: ``"metadata"`` gives ``metadata.model.weights[3]``.
    """
    kind = type(value)
    if kind in _AS_IS or (kind is float and math.isfinite(value)):
        return value
    return _convert_at(key, value, encode_floats=True, lenient=False)


def plain(value: Any, key: str = "", *, lenient: bool = False) -> Any:
    """As `jsonable`, but floats stay floats, NaN and infinity too: what a reader of a record gets.

    With `lenient`, what is not JSON becomes its repr, and a key that is not text its text.
    """
    kind = type(value)
    if kind in _AS_IS or kind is float:
        return value
    return _convert_at(key, value, encode_floats=False, lenient=lenient)


def unjson(value: Any) -> Any:
    """Restore the floats that JSON lacks, in place where it can; returns the value."""
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


class _Unfit(Exception):
    """A value that is not JSON, on its way up; each container on the way adds its key to the path."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.path = ""


def _convert_at(key: str, value: Any, *, encode_floats: bool, lenient: bool) -> Any:
    try:
        return _convert(value, encode_floats, lenient)
    except _Unfit as unfit:
        place = (key + unfit.path).removeprefix(".") or "the value"
        raise NotJSON(f"{place} {unfit}; {_ADVICE}") from None
    except RecursionError:
        raise NotJSON(f"{key or 'the value'} contains itself, or is nested too deeply; {_ADVICE}") from None


def _convert(value: Any, encode_floats: bool, lenient: bool) -> Any:
    kind = type(value)
    if kind in _AS_IS:
        return value
    if kind is float:
        if encode_floats and not math.isfinite(value):
            return {"$float": repr(value)}
        return value
    if kind is dict:
        return _convert_dict(value, encode_floats, lenient)
    if kind is list or kind is tuple:
        return _convert_list(value, encode_floats, lenient)
    # An enum before text and numbers, which it may be too.
    if isinstance(value, enum.Enum):
        return _convert(value.value, encode_floats, lenient)
    if isinstance(value, str):  # numpy.str_ among others
        return str(value)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic | numpy.ndarray):
        return _convert_numpy(numpy, value, encode_floats, lenient)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _convert(float(value), encode_floats, lenient)
    if isinstance(value, Mapping):
        return _convert_dict(value, encode_floats, lenient)
    if isinstance(value, list | tuple):
        return _convert_list(value, encode_floats, lenient)
    if isinstance(value, set | frozenset):
        return _convert_list(_ordered(value), encode_floats, lenient)
    if isinstance(value, PurePath):
        return str(value)
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and isinstance(value, pydantic.BaseModel):
        return _convert_dict(_dump(value), encode_floats, lenient)
    return _give_up(value, lenient)


def _give_up(value: Any, lenient: bool) -> Any:
    if lenient:
        return repr(value)
    raise _Unfit(f"is of type {type(value).__qualname__}, which is not JSON")


def _convert_dict(value: Mapping[Any, Any], encode_floats: bool, lenient: bool) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, item in value.items():
        if type(key) is not str:
            key = _text_key(key, lenient)
        if type(item) in _AS_IS:
            result[key] = item
            continue
        try:
            result[key] = _convert(item, encode_floats, lenient)
        except _Unfit as unfit:
            unfit.path = f".{key}{unfit.path}"
            raise
    return result


def _text_key(key: Any, lenient: bool) -> str:
    if isinstance(key, str):
        return str(key.value) if isinstance(key, enum.Enum) else str(key)
    if lenient:
        return str(key)
    raise _Unfit(f"has the key {key!r} of type {type(key).__qualname__}; keys are text")


def _convert_list(value: Any, encode_floats: bool, lenient: bool) -> list[Any]:
    result = []
    for index, item in enumerate(value):
        try:
            result.append(_convert(item, encode_floats, lenient))
        except _Unfit as unfit:
            unfit.path = f"[{index}]{unfit.path}"
            raise
    return result


def _convert_numpy(numpy: Any, value: Any, encode_floats: bool, lenient: bool) -> Any:
    kind = value.dtype.kind
    if kind == "f" and value.dtype.itemsize > 8:
        value = value.astype(numpy.float64)  # item() and tolist() of a long double are long doubles again
    if kind not in "biufUO":
        return _give_up(value, lenient)  # complex numbers, dates, bytes, structures
    items = value.tolist()
    if isinstance(items, list) and kind in "biufU" and not (kind == "f" and encode_floats):
        return items
    return _convert(items, encode_floats, lenient)


def _dump(model: Any) -> dict[str, Any]:
    """The fields of a pydantic model: in its own JSON form (dates as text) if it has one."""
    try:
        dumped: dict[str, Any] = model.model_dump(mode="json")
    except Exception:  # noqa: BLE001  - arbitrary types: let our own rules judge them
        dumped = model.model_dump()
    return dumped


def _ordered(value: Any) -> list[Any]:
    """The members of a set in an order that is the same in every process."""
    try:
        return sorted(value)
    except TypeError:
        return sorted(value, key=repr)
