"""Simulated evaluators keep the contract of backends too, where it does not speak of real time."""

from __future__ import annotations

from typing import Any

import pytest

from evalpool import ProcessPoolEvaluator, SerialEvaluator, ThreadPoolEvaluator
from evalpool.simulation import simulated
from evalpool.testing import EvaluatorContract
from evalpool.testing._results import Results


class Simulated(EvaluatorContract):
    in_background = False  # virtual time passes in the caller's thread

    def evaluator_kwargs(self) -> dict[str, Any]:
        return {"runtime": lambda job, output: 1.0}

    @pytest.fixture(autouse=True)
    def skip_real_time(self, request: pytest.FixtureRequest) -> None:
        """Limits are virtual here; test_simulated.py and test_options.py have them."""
        if request.node.originalname in REAL_TIME:
            pytest.skip("speaks of real seconds")


REAL_TIME = {
    "test_a_job_over_its_timeout_is_reported_and_the_others_go_on",
    "test_a_job_over_its_own_timeout_is_reported_and_the_others_go_on",
    "test_a_job_has_its_own_timeout_in_the_place_of_the_evaluators",
    "test_a_spent_budget_stops_what_runs_and_keeps_what_finished",
    "test_whatever_hangs_is_killed_with_its_children",
    "test_timestamps_are_in_order_on_one_clock",
}


class TestSimulatedSerial(Simulated):
    evaluator_class = simulated(SerialEvaluator)
    pickles = False


class TestSimulatedThread(Simulated):
    evaluator_class = simulated(ThreadPoolEvaluator)
    pickles = False


class TestSimulatedProcess(Results):
    evaluator_class = simulated(ProcessPoolEvaluator)
    survives_crashes = True

    def evaluator_kwargs(self) -> dict[str, Any]:
        return {"runtime": lambda job, output: 1.0}


del Simulated
