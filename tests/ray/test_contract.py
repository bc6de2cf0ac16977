"""RayEvaluator keeps the contract of backends."""

from __future__ import annotations

from typing import Any

import pytest

from evalpool import RayEvaluator
from evalpool.testing import EvaluatorContract


class TestRay(EvaluatorContract):
    evaluator_class = RayEvaluator
    survives_crashes = True
    kills = True
    tells_exit_status = False

    @pytest.fixture(autouse=True)
    def _on(self, cluster: Any) -> None:
        """One cluster serves all tests, as users do."""

    def evaluator_kwargs(self) -> dict[str, Any]:
        return {"num_workers": 1}

    @pytest.mark.stress
    def test_twenty_crashes_in_a_hundred_cost_twenty_jobs(self, make: Any) -> None:
        """A Ray worker takes a second to start, so this takes half a minute."""
        super().test_twenty_crashes_in_a_hundred_cost_twenty_jobs(make)
