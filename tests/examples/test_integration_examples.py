"""The examples that go with other packages, run as a user would."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from example_runs import run

from services import package

pytestmark = pytest.mark.slow


def test_optuna_prunes_in_processes_and_in_simulated_time(tmp_path: Path) -> None:
    package("optuna")
    lines = run("optuna_pruning.py", tmp_path).splitlines()
    found = [re.search(r"40 trials, (\d+) pruned, (\d+)% of the epochs saved, best 0\.9", line) for line in lines]
    assert len(found) == 2
    for one in found:
        assert one is not None, lines
        assert int(one[1]) > 10
        assert int(one[2]) > 20


def test_each_optimiser_comes_near_the_best(tmp_path: Path) -> None:
    package("ConfigSpace")
    package("nevergrad")
    package("skopt")
    out = run("other_optimizers.py", tmp_path)
    best = [float(value) for value in re.findall(r"best (-?[\d.]+) at", out)]
    assert len(best) == 4
    assert min(best) > 0.7
    assert "ConfigSpace: " in out
    assert re.search(r"scikit-optimize: .* [1-9]\d* failures", out)


def test_a_call_that_kills_its_process_costs_only_itself(tmp_path: Path) -> None:
    package("joblib")
    lines = run("from_joblib.py", tmp_path).splitlines()
    assert lines[0].split(maxsplit=1)[1] == lines[1].split(maxsplit=1)[1] == "[0.0, 2.0, 4.0, 6.0, 8.0]"
    assert "TerminatedWorkerError" in lines[2]
    assert lines[3] == "evalpool: [0.0, 2.0, 'F_worker_died', 6.0, 8.0]"
