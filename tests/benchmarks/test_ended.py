"""Which evaluations of a simulated search can be the best."""

from __future__ import annotations

from typing import Any

from evalpool import simulate
from evalpool.benchmarks import Benchmark, Fidelity
from evalpool.benchmarks._ended import is_full


class Levels:
    """Proposes one configuration at each of these values of a fidelity; None is a configuration without."""

    def __init__(self, *levels: float | None) -> None:
        self._left = list(levels)

    def ask(self) -> dict[str, Any]:
        level = self._left.pop(0)
        return {"x": 1} if level is None else {"x": 1, "share": level}

    def tell(self, job: Any) -> None:
        pass


def test_full_evaluations_are_at_the_highest_fidelity_up_to_rounding_and_not_stopped() -> None:
    shares = Fidelity("share", 0.1, 0.3, levels=(0.1, 0.3))
    benchmark = Benchmark(
        "b", {"x": (0, 9)}, lambda job: {"o": 1.0, "s": 1.0}, objectives="o", runtime="s", fidelity=shares
    )
    result = simulate(Levels(0.1, 0.3, 0.1 * 3, None, 0.3), benchmark, max_evals=5, seed=0)
    assert result.objectives == [1.0] * 5
    assert [is_full(job, result, benchmark, {4}) for job in range(5)] == [False, True, True, True, False]
