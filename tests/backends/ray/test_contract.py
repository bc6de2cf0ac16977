"""RayEvaluator keeps the contract of backends, and simulated time passes on it as on `serial`."""

from __future__ import annotations

from typing import Any

import pytest

from evalpool import RayEvaluator, SerialEvaluator
from evalpool.testing import EvaluatorContract
from simulation.traces import SEARCHES, cells


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


@pytest.mark.slow
@pytest.mark.parametrize("name", SEARCHES)
def test_simulated_time_is_the_same_as_on_serial(cluster: Any, name: str) -> None:
    search = SEARCHES[name]
    assert search(RayEvaluator, 2) == search(SerialEvaluator, 1)


@pytest.mark.slow
def test_each_cell_of_a_comparison_has_the_digest_that_it_has_on_serial(cluster: Any) -> None:
    digests = cells("ray", 1)
    assert digests == cells("serial")
    assert len(set(digests.values())) == 12
