"""How values are shortened that nobody reads whole."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from evalpool.cli._words import shortened

VALUES = st.recursive(
    st.text(max_size=50) | st.integers() | st.none() | st.booleans() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=20), inner, max_size=20),
    max_leaves=100,
)


@given(VALUES)
def test_a_short_value_is_as_it_was_and_a_long_one_is_shortened(value: object) -> None:
    assert shortened(value, 10**6) == value
    assert len(json.dumps(shortened(value, 100), ensure_ascii=False)) < 3000


def test_what_is_short_is_whole_behind_what_is_long() -> None:
    value = {"blob": "x" * 100, "many": [1] * 1000, "lr": 0.5}
    short = shortened(value, 200)
    assert short["blob"] == "x" * 97 + "… 3 characters more, see evalpool export"
    kept = len(short["many"]) - 1
    assert short["many"] == [1] * kept + [f"… {1000 - kept} more, see evalpool export"]
    assert short["lr"] == 0.5
