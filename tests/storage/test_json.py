"""Values to JSON and back."""

import datetime
import enum
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalpool._json import from_json, jsonable, plain, to_json
from evalpool.errors import NotJSON
from evalpool.storage._codec import dumps, loads

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def _same(left: Any, right: Any) -> bool:
    """Equal, and of equal types; NaN is itself, 0.0 is not -0.0."""
    return repr(left) == repr(right)


@given(VALUES)
def test_a_json_value_with_any_floats_comes_back(value: Any) -> None:
    text = to_json(value)
    assert text.isascii()
    assert "\n" not in text
    assert _same(from_json(text), value)
    assert _same(from_json(text.encode()), value)
    json.loads(text, parse_constant=pytest.fail)


@given(VALUES)
def test_converting_twice_changes_nothing(value: Any) -> None:
    once = jsonable(value)
    assert _same(jsonable(once), once)
    assert _same(plain(plain(value)), plain(value))


@given(VALUES)
def test_a_converted_value_shares_no_container(value: Any) -> None:
    def containers(item: Any) -> set[int]:
        inner = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        found = {id(item)} if isinstance(item, dict | list) else set()
        return found.union(*map(containers, inner))

    assert not containers(value) & containers(plain(value))


class Level(enum.IntEnum):
    HIGH = 3


class Mode(str, enum.Enum):
    FAST = "fast"


class Model(pydantic.BaseModel):
    when: datetime.date = datetime.date(2024, 1, 2)
    loss: float = math.inf


class ModelOfArrays(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    weights: np.ndarray


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float16(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (np.array([0.5], dtype=np.longdouble), [0.5]),
        (np.uint8(200), 200),
        (np.array(3), 3),
        (np.array([[True], [False]]), [[True], [False]]),
        (np.array(["a", "b"]), ["a", "b"]),
        (np.array([1, "a", None], dtype=object), [1, "a", None]),
        (np.array([np.nan, 1.0]), [{"$float": "nan"}, 1.0]),
        (np.float64("-inf"), {"$float": "-inf"}),
        (Level.HIGH, 3),
        (Mode.FAST, "fast"),
        ({Mode.FAST: 1, np.str_("k"): 2}, {"fast": 1, "k": 2}),
        (Path("a/b"), "a/b"),
        (frozenset({"b", "a"}), ["a", "b"]),
        ({1, "a"}, ["a", 1]),
        ((1, (2,)), [1, [2]]),
        (Model(), {"when": "2024-01-02", "loss": {"$float": "inf"}}),
        (ModelOfArrays(weights=np.zeros(2)), {"weights": [0.0, 0.0]}),
        (2**70, 2**70),
    ],
)
def test_values_of_the_scientific_stack_convert(value: Any, expected: Any) -> None:
    assert _same(jsonable(value), expected)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"a": [0, {"b": object()}]}, r"out\.a\[1\]\.b is of type object"),
        (b"bytes", "out is of type bytes"),
        ({"z": 1j}, r"out\.z is of type complex"),
        (np.array([1j]), "out is of type ndarray"),
        (np.datetime64("2024-01-01"), "out is of type datetime64"),
        ({(1, 2): 3}, r"out has the key \(1, 2\) of type tuple"),
        (datetime.date(2024, 1, 1), "out is of type date"),
        (len, "out is of type builtin_function_or_method"),
    ],
)
def test_what_is_not_json_is_named_with_its_place(value: Any, place: str) -> None:
    with pytest.raises(NotJSON, match=place):
        to_json(value, "out")


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(NotJSON, match="contains itself"):
        to_json(loop)


def _nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


class Big(int):
    pass


class Rude(Mapping[str, Any]):
    """Raises whatever is asked of it."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("rude")

    def __iter__(self) -> Any:
        raise RuntimeError("rude")

    def __len__(self) -> int:
        raise RuntimeError("rude")

    def __repr__(self) -> str:
        raise RuntimeError("rude")

    __str__ = __repr__
    __hash__ = object.__hash__


LOOP: list[Any] = []
LOOP += [LOOP, LOOP]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"n": 10**4300}, "n is a whole number of more than 4300 digits"),
        ({"n": -(10**4300)}, "n is a whole number of more than 4300 digits"),
        ({"n": [Big(10**5000)]}, r"n\[0\] is a whole number of more than 4300 digits"),
        (_nested(101), "nested more than 100 deep"),
        (LOOP, "contains itself"),
        ({"r": Rude()}, "rude"),
        ({Rude(): 1}, "has the key <Rude>"),
    ],
)
def test_what_no_reader_could_read_again_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(NotJSON, match=reason):
        jsonable(value)
    with pytest.raises(NotJSON):
        to_json(value)


@pytest.mark.parametrize("value", [10**4299, -(10**4299), 10**400, _nested(100), "\ud800", {"\ud800": math.nan}])
def test_the_largest_and_the_oddest_values_come_back(value: Any) -> None:
    text = dumps(jsonable(value))
    assert _same(loads(f'[1,[["created","0",0,{{"args":{{"x":{text}}}}}]]]')[1][0][3]["args"]["x"], value)
    assert _same(from_json(to_json(value)), value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({1: {"f": 1j}}, {"1": {"f": "1j"}}),
        ([10**5000], ["<int>"]),
        ({"a": Rude(), "b": [1]}, {"a": "<Rude>", "b": [1]}),
        ({Rude(): 1}, {"<Rude>": 1}),
        (LOOP, [repr(LOOP), repr(LOOP)]),
        ([Big(10**5000), Rude(), 1], ["<Big>", "<Rude>", 1]),
    ],
)
def test_a_lenient_reader_gets_the_repr_of_what_is_not_json(value: Any, expected: Any) -> None:
    assert plain(value, lenient=True) == expected
    to_json(plain(_nested(10_000), lenient=True))  # whatever it is, it can be kept


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "{", "", "[" * 100_000, '{"a":1}x', b"\xff"])
def test_text_that_is_not_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        from_json(text)


@given(VALUES)
def test_the_codec_of_stores_writes_what_to_json_writes_and_reads_what_from_json_reads(value: Any) -> None:
    text = dumps(jsonable(value))
    assert text.isascii()
    assert "\n" not in text
    assert _same(loads(text), value)
    assert _same(from_json(text), value)
    assert _same(loads(to_json(value).encode()), value)


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": ["é"]}, 2**300, -(2**63) - 1, "\u2028", "\x7f\x00"])
def test_the_codec_of_stores_keeps_odd_values(value: Any) -> None:
    assert dumps(value).isascii()
    assert _same(loads(dumps(value)), value)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "{", "", "[" * 100_000, b"\xff"])
def test_the_codec_of_stores_refuses_what_is_not_json(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        loads(text)
