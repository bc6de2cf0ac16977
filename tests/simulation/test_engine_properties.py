"""Searches with learning curves, stoppers and workers that fail, all at once: the same on every engine.

What each does alone is compared with `oracle`; here they meet each other, retries, halving and every way to decide.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpool import RandomSearch
from evalpool.callbacks import Callback
from evalpool.search import HyperbandStopper, MedianStopper, SuccessiveHalving, SuccessiveHalvingStopper
from evalpool.simulation import Distribution, WorkerModel, simulate

pytestmark = pytest.mark.slow

STEPS = 9
STOPPERS = {None: None, "median": MedianStopper, "halving": SuccessiveHalvingStopper, "hyperband": HyperbandStopper}
DECISIONS: list[dict[str, Any]] = [
    {}, {"batch_size": 3}, {"tell": "fill"}, {"tell": "warmup"}, {"sampling": "parallel"}
]  # fmt: skip
DELAYS = st.sampled_from(
    [
        None,
        1.0,
        Distribution.exponential(3.0, 1),
        Distribution.uniform(1.0, 4.0),
        Distribution.measured([0.5, 1.0, 2.0]),
    ]
)


class Train:
    """A run-function that derives all it does from its configuration, with times on a grid, so that many are equal."""

    def __init__(self, records: bool, declares: bool, fails: float, tail: float) -> None:
        self.records, self.declares, self.fails, self.tail = records, declares, fails, tail

    def __call__(self, job: Any) -> Any:
        steps = job.get("epochs") or STEPS
        drawn = random.Random(f"{job['x']} {steps}")
        runtime = drawn.randrange(10) / 2 + steps * drawn.randrange(1, 8) / 4
        if drawn.random() < self.fails:
            return {"objective": "F_diverged", "metadata": {"runtime": runtime}}
        if drawn.random() < self.fails:
            raise ValueError("diverged")
        points = [(step, drawn.random() * job["x"], runtime * self.tail * step / steps) for step in range(1, steps + 1)]
        points = points if self.declares else [point[:2] for point in points]  # type: ignore[misc]
        if not self.records:
            return {"objective": points[-1][1], "runtime": runtime, "curve": points}
        for point in points:
            job.record(*point)
            if job.stopped():
                return {"objective": point[1], "runtime": runtime}
        return {"objective": points[-1][1], "runtime": runtime}


class Quiet(Callback):
    tells_failures = True


@st.composite
def programs(draw: Any) -> dict[str, Any]:
    taken = draw(st.sampled_from([None, 20.0, Distribution.exponential(30.0, 3)]))
    count = draw(st.integers(1, 20))
    return {
        "stopper": draw(st.sampled_from(list(STOPPERS))),
        "halving": draw(st.booleans()),
        "run": Train(
            draw(st.booleans()),
            draw(st.booleans()),
            draw(st.sampled_from([0.0, 0.2])),
            draw(st.sampled_from([0.75, 1.5])),
        ),
        "num_workers": draw(st.integers(1, 6)),
        "retries": draw(st.integers(0, 2)),
        "overhead": draw(st.sampled_from(["none", 0.25, 1.0])),
        "worker_model": WorkerModel(
            start_delay=draw(DELAYS), crash=draw(st.sampled_from([0.0, 0.2, 1.0])), preempted_after=taken,
            away=None if taken is None else draw(DELAYS),
        ),
        **draw(st.sampled_from([{"max_evals": count}, {"max_submits": count}, {"max_time": 2.0 * count}])),
        **draw(st.sampled_from(DECISIONS)),
    }  # fmt: skip


def ran(program: dict[str, Any], engine: str) -> tuple[str, list[Any], float]:
    program = {**program, "seed": 0, "callbacks": [Quiet()], "evaluator": engine}
    make, space = STOPPERS[program["stopper"]], {"x": (0.0, 1.0)}
    program["stopper"] = None if make is None else make(max_steps=STEPS)
    search: Any = RandomSearch(space, 0)
    if program.pop("halving"):
        search = SuccessiveHalving(space, "epochs", 1, STEPS, seed=0)
        program |= {"fidel_key": "epochs", "continual_max_fidel": STEPS}
    result = simulate(search, program.pop("run"), **program)
    assert 0.0 <= result.busy_time <= program["num_workers"] * result.makespan * (1 + 1e-9)
    return result.trace_digest(), result.objectives, result.makespan


@settings(max_examples=100, deadline=None)
@given(programs())
def test_threads_give_the_schedule_of_this_thread(program: dict[str, Any]) -> None:
    assert ran(program, "thread") == ran(program, "serial")


@settings(max_examples=6, deadline=None)
@given(programs())
def test_processes_give_the_schedule_of_this_thread(program: dict[str, Any]) -> None:
    assert ran(program, "process") == ran(program, "serial")
