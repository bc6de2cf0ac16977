"""How configurations are told apart, and which checkpoint is taken."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from evalpool.errors import BadArgument, NotJSON
from evalpool.simulation._checkpoints import Checkpoint, Checkpoints, Configurations, check_fidelity, digest


def test_the_largest_fidelity_wins_then_the_first_ready_then_the_smallest_number() -> None:
    checkpoints = Checkpoints()
    for fidelity, ready, job in [(1, 0.0, 0), (3, 2.0, 1), (3, 1.0, 3), (3, 1.0, 2), (5, 9.0, 4)]:
        checkpoints.leave("a", Checkpoint(fidelity, 1.0, ready, job, None))
    taken = [checkpoints.take("a", 9, 2.0) for _ in range(5)]
    assert [checkpoint.job if checkpoint else None for checkpoint in taken] == [2, 3, 1, 0, None]
    assert checkpoints.state() == {"a": [[5, 1.0, 9.0, 4, None]]}


def test_a_configuration_has_the_same_digest_in_every_process_and_order() -> None:
    configuration = {"b": [1, 2.5, None], "a": {"y": True, "x": "text"}}
    here = digest({"a": {"x": "text", "y": True}, "b": [1, 2.5, None]})
    program = f"from evalpool.simulation._checkpoints import digest; print(digest({configuration!r}), end='')"
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert there.stdout == here


def test_floats_are_exact() -> None:
    assert digest({"x": 0.1 + 0.2}) != digest({"x": 0.3})
    assert digest({"x": np.float64(0.3)}) == digest({"x": 0.3})


def test_what_has_no_identity_is_refused() -> None:
    with pytest.raises(NotJSON, match=r"configuration\.x"):
        digest({"x": object()})


def test_a_config_id_that_comes_back_with_another_configuration_shows_both() -> None:
    configurations = Configurations()
    key = configurations.key({"x": 1.0, "kind": "a"}, 7)
    assert configurations.key({"x": 1.0 + 1e-9, "kind": "a"}, 7) == key, "decoded floats are never quite the same"
    with pytest.raises(BadArgument, match=r"config_id 7.*'x': 1\.0.*'x': 2\.0"):
        configurations.key({"x": 2.0, "kind": "a"}, 7)
    with pytest.raises(BadArgument, match="config_id 7"):
        configurations.key({"x": 1.0, "kind": "b"}, 7)
    with pytest.raises(BadArgument, match="config_id 7"):
        configurations.key({"x": 1.0}, 7)


def test_without_tracking_a_config_id_is_taken_at_its_word() -> None:
    configurations = Configurations(tracking=False)
    assert configurations.key({"x": 1.0}, 7) == configurations.key({"x": 2.0}, 7)


@pytest.mark.parametrize("value", [1.0, "3", True, None, -1, np.float64(3)])
def test_a_fidelity_is_a_whole_number_of_at_least_zero(value: Any) -> None:
    with pytest.raises(BadArgument, match="Fidelity for continual evaluation must be"):
        check_fidelity(value)
    assert check_fidelity(np.int64(3)) == 3
