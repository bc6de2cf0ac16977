"""The contract of backends on MPI ranks; run under mpirun by `test_contract.py`."""

from __future__ import annotations

from typing import Any

from evalpool import MPICommEvaluator
from evalpool.testing import EvaluatorContract


class TestRanks(EvaluatorContract):
    evaluator_class = MPICommEvaluator


class TestIsolatedRanks(EvaluatorContract):
    evaluator_class = MPICommEvaluator
    survives_crashes = True
    kills = True
    test_twenty_crashes_in_a_hundred_cost_twenty_jobs = None  # each costs the start of a child: 20 s
    test_a_result_of_500_mb_arrives = None  # as without isolation

    def evaluator_kwargs(self) -> dict[str, Any]:
        return {"isolation": "process"}
