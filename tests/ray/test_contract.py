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

    @pytest.fixture(autouse=True)
    def _on(self, cluster: Any) -> None:
        """One cluster serves all tests, as users do."""

    def evaluator_kwargs(self) -> dict[str, Any]:
        return {"num_workers": 1}
