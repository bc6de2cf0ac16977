"""The fast loop of `simulate` in this thread and its single steps tell an optimiser the same, whatever a job does.

An overhead of 0 seconds, given as a function, makes `simulate` go by single steps.
"""

from __future__ import annotations

import copy
import math
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpool import Submission, simulate
from evalpool.jobs._job import Job
from evalpool.worker._running_job import RunningJob

CONFIGURATIONS: list[Any] = [
    {"x": 1, "y": 2.0},
    {"y": 2.0, "x": 1},
    {"x": [1, 2]},
    {"x": "text"},
    ({"x": 1}, None, None),
    ({"x": 1}, {"epochs": 3}),
    ({"x": 5}, None, 7),
    Submission({"x": 1}, job_timeout=2.0, tags=["a"]),
    (Submission({"x": 1}, job_timeout=3.0), None, None),
]
VALUES: list[Any] = [
    {"objective": 0.5, "runtime": 1.0},
    {"runtime": 4.0, "objective": 3, "loss": 7.0},
    {"objective": 0.5, "runtime": 2},
    {"objective": (1.0, 2.0), "runtime": 1.0},
    {"objective": True, "runtime": 0.0},
    {"objective": math.inf, "runtime": 1.0},
    {"objective": "F_planned", "runtime": 2.5},
    {"objective": "F_planned", "metadata": {"runtime": 2.5}},
    {"objective": 1.0, "metadata": {"runtime": 1.5, "more": [1]}},
    {"output": {"objective": 1.0, "runtime": 1.0}, "metadata": {"more": 1}},
    {"objective": 1.0, "runtime": -1.0},
    {"objective": 1.0, "runtime": math.nan},
    {"objective": 1.0, "runtime": "long"},
    {"objective": 1.0},
    {"runtime": 1.0},
    7.0,
    None,
    "F_text",
]
DEEDS = ["nothing", "keeps", "changes", "seed", "metadata", "records", "raises", "awaits", "new", "changes later"]


class Search:
    """Proposes what was drawn, and notes all that it is told, at once, because later it may change."""

    def __init__(self, proposals: list[Any]) -> None:
        self.proposals = iter(proposals)
        self.told: list[Any] = []

    def ask(self) -> Any:
        return next(self.proposals)


class ByName(Search):
    def tell(self, eval_config: Any, results: Any, *, fidels: Any, config_id: Any) -> None:
        self.told.append(repr((eval_config, results, fidels, config_id)))
        results["objective"] = eval_config["mine"] = "changed"


class ByPosition(Search):
    def tell(self, configuration: Any, objective: Any) -> None:
        self.told.append(repr((configuration, objective)))


class ByJob(Search):
    def tell(self, job: Job[Any]) -> None:
        facts = (job.number, job.args, job.objective, job.output, job.status, job.kind, job.seed, job.options)
        self.told.append(repr((*facts, job.metadata, (job.error or "").rpartition("\n")[2])))


def evaluated(plan: list[tuple[str, Any]], kept: list[Any]) -> Any:
    """A run-function; a job that keeps something lets others see it in `kept`."""

    returned: list[Any] = []

    async def later(value: Any) -> Any:
        return value

    def run(job: RunningJob) -> Any:
        for before in returned:
            before["objective"] = "changed later"
        deed, value = plan[int(job.id.rpartition(".")[2])]
        if deed == "keeps":
            kept.append(job)
        elif deed == "changes":
            job["more"] = job.pop("x")
            kept.append(job.parameters)
        elif deed == "seed":
            kept.append(job.seed)
        elif deed == "metadata":
            job.metadata["seen"] = dict(job)
        elif deed == "records":
            job.record(1, 0.5)
            kept.append(job.objective)
            job.stopper, job.storage = SimpleNamespace(objective=0.25), "own"
        elif deed == "raises":
            raise ValueError("as planned")
        elif deed == "awaits":
            return later(value)
        kept.append((job.objective, job.stopper))
        if deed in ("new", "changes later") and isinstance(value, dict):
            value = dict(value)
            if deed == "changes later":
                returned.append(value)
        return value

    return run


def outcome(optimizer: Any, plan: list[tuple[str, Any]], **given_settings: Any) -> Any:
    kept: list[Any] = []
    result = simulate(optimizer, evaluated(plan, kept), max_submits=len(plan), seed=3, **given_settings)
    seen = [(job.id, dict(job), job.seed) if isinstance(job, RunningJob) else job for job in kept]
    return optimizer.told, seen, result.trace, result.objectives, result.configurations, result.makespan


@pytest.mark.slow
@given(st.data(), st.sampled_from([ByName, ByPosition, ByJob]), st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_the_fast_loop_does_what_single_steps_do(data: st.DataObject, search: Any, workers: int) -> None:
    count = data.draw(st.integers(1, 12))
    plan = data.draw(
        st.lists(st.tuples(st.sampled_from(DEEDS), st.sampled_from(VALUES)), min_size=count, max_size=count)
    )
    numbers = data.draw(st.lists(st.integers(0, len(CONFIGURATIONS) - 1), min_size=count, max_size=count))

    def proposals() -> list[Any]:
        return [copy.deepcopy(CONFIGURATIONS[number]) for number in numbers]  # optimisers change theirs

    fast = outcome(search(proposals()), plan, num_workers=workers)
    steps = outcome(search(proposals()), plan, num_workers=workers, overhead=lambda asked, told: 0.0)
    assert repr(fast) == repr(steps)


@pytest.mark.skipif(not hasattr(sys, "getrefcount"), reason="counts no references")
def test_a_running_job_serves_the_next_one_only_if_nobody_kept_it() -> None:
    where, kept = [], []

    def run(job: RunningJob) -> Any:
        where.append(id(job))
        if job["x"] % 2:
            kept.append(job.items())
        return {"objective": 0.0, "runtime": 1.0}

    simulate(ByPosition([{"x": number} for number in (0, 2, 1, 3, 4, 6)]), run, max_submits=6)
    assert where[0] == where[1] == where[2], "one for all that kept nothing"
    assert len({*where[2:5]}) == 3
    assert where[4] == where[5]
    assert [dict(items) for items in kept] == [{"x": 1}, {"x": 3}]
