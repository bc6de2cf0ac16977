"""The example of a backend keeps time limits, kills what hangs, and loses no job that cannot be pickled.

It starts an interpreter for each job, so the whole contract takes minutes. These tests are about its own code.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from evalpool.testing._bench import Bench
from evalpool.testing._results import Results
from evalpool.testing._stopping import Stopping

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_backend.py"


def example() -> Any:
    spec = importlib.util.spec_from_file_location("custom_backend", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestFreshInterpreters(Bench):
    backend_class = example().FreshInterpreters
    survives_crashes = True
    kills = True

    test_a_hang_is_killed = Stopping.test_whatever_hangs_is_killed_with_its_children
    test_a_job_over_its_timeout_is_reported = Stopping.test_a_job_over_its_timeout_is_reported_and_the_others_go_on
    test_close_cancels_what_runs = Stopping.test_close_returns_the_unfinished_jobs_as_cancelled
    test_a_hostile_configuration = Results.test_a_configuration_whose_own_code_raises_anything_fails_its_own_job
    test_an_unpicklable_configuration = Results.test_an_unpicklable_configuration_fails_its_own_job
    test_unpicklable_arguments = Results.test_unpicklable_keyword_arguments_fail_every_job
