"""deephyper's own searches on evalpool's evaluators print what they print on deephyper's."""

from __future__ import annotations

import pytest

from compat.deephyper.peer import printed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(450)]  # two programs of many searches, on a busy machine


@pytest.mark.parametrize("method", ["serial", "thread", "process", "ray", "mpicomm"])
def test_searches_print_the_same(method: str) -> None:
    *ours, raising, after_budget, first_fails = printed(
        "searches.py", "evalpool", method, ranks=2 if method == "mpicomm" else 0
    )
    assert ours == printed("searches.py", "deephyper", "thread")
    assert raising == "True", "failures by exceptions end no search"
    assert after_budget == "3", "a search without a time limit has none, though the one before had"
    assert first_fails == "1", "a search has as many objectives as its first success"
