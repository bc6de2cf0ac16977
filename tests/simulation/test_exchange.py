"""The coordinator's short way leads to the same log, replies and state as its way step by step."""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from evalpool.errors import SimulationError
from evalpool.simulation._caller import Caller, Reply, failure_text
from evalpool.simulation._coordinator import Coordinator
from evalpool.simulation._files import LOG, how_it_ended
from evalpool.simulation._run import Joined, Over, Released, Result, RunSettings

seconds = st.one_of(st.just(0.0), st.integers(0, 24).map(lambda n: n / 8))


def run_settings(n_workers: int, n_evals: int, **more: Any) -> RunSettings:
    return RunSettings(**{
        "n_workers": n_workers, "n_evals": n_evals, "obj_keys": ("loss",), "runtime_key": "runtime", "fidel_keys": None,
        "seed": 1, "continual_max_fidel": None, "max_total_eval_time": math.inf, "overhead": "declared",
        "sampling": "serial", "expensive_sampler": False, "batch_size": None, "max_waiting_time": math.inf,
        "check_interval_time": 1e-4, "store_config": False, "store_actual_cumtime": False, "config_tracking": True,
        "on_lost": "fail", **more,
    })  # fmt: skip


class Calls:
    """Callers of one coordinator who get their replies at once."""

    def __init__(self, coordinator: Coordinator) -> None:
        self.coordinator = coordinator
        self.replies: list[tuple[int, Reply]] = []
        self.shortly = 0
        self.callers = [self._join(number) for number in range(coordinator.settings.n_workers)]
        self.thinking = list(range(len(self.callers)))

    def _join(self, number: int) -> Caller:
        caller = Caller(f"caller {number}", lambda reply: self.replies.append((number, reply)))
        self.coordinator.join(caller, number)
        return caller

    def call(self, which: int, overhead: float, runtime: float, failed: bool, asks_first: bool) -> None:
        caller = self.thinking.pop(which % len(self.thinking))
        text = failure_text("F_error", "text") if failed else f'"values":[{runtime!r}]'.encode()
        result = Result(math.nan if failed else runtime, failed, text)
        before = len(self.replies)
        if asks_first:
            self.coordinator.started(self.callers[caller], overhead, 0.5)
        with_overhead = None if asks_first else overhead
        self.shortly += self.coordinator.finish(self.callers[caller], with_overhead, 0.5, result)
        self.thinking += [number for number, reply in self.replies[before:] if isinstance(reply, Released)]

    def leave(self, which: int, evaluating: bool) -> None:
        caller = self.thinking.pop(which % len(self.thinking))
        self.coordinator.leave(self.callers[caller], clean=False, evaluating=evaluating)
        self.callers[caller] = self._join(caller)
        if any(number == caller and isinstance(reply, Joined) for number, reply in self.replies[-1:]):
            self.thinking.append(caller)


Steps = list[Callable[[Calls], None]]


def both_ways(given: RunSettings, steps: Steps) -> int:
    """Let both ways take the same steps, compare what came of it, and return how many results took the short way."""
    came = []
    for shortly in (True, False):
        with tempfile.TemporaryDirectory() as directory:
            coordinator = Coordinator(given, directory, 1)
            if not shortly:
                coordinator._exchange = None
            calls = Calls(coordinator)
            for step in steps:
                if calls.thinking and not coordinator.over:
                    step(calls)
            state = coordinator.state()
            coordinator.close()
            del state["started"]
            state["kernel"]["ends"].sort()  # a heap
            came.append((calls.replies, state, Path(directory, LOG).read_bytes(), how_it_ended(directory)))
            if shortly:
                taken = calls.shortly
            else:
                assert not calls.shortly
    assert [repr(reply) for reply in came[0][0]] == [repr(reply) for reply in came[1][0]]
    assert repr(came[0][1:]) == repr(came[1][1:])
    return taken


def test_nearly_all_results_take_the_short_way() -> None:
    steps: Steps = [lambda calls, n=n: calls.call(n, (n % 3) / 8, (n * 7 % 9) / 4, False, False) for n in range(100)]
    assert both_ways(run_settings(4, 90), steps) >= 80


def test_a_result_that_takes_the_short_way_costs_few_calls_of_functions(tmp_path: Path) -> None:
    coordinator = Coordinator(run_settings(4, 1000), str(tmp_path), 1)
    calls = Calls(coordinator)
    for number in range(20):
        calls.call(number, 0.25, (number * 7 % 9) / 4, False, False)
    (caller,) = [calls.callers[number] for number in calls.thinking]
    result = Result(1.5, False, b'"values":[0.5]')
    counted = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        shortly = coordinator.finish(caller, 0.25, 0.5, result)
    finally:
        sys.setprofile(before)
    assert shortly
    assert counted <= 36, "32 when it was written; step by step they are 89"
    coordinator.close()


@st.composite
def steps_of_callers(draw: Any) -> Steps:
    steps: Steps = []
    for _ in range(draw(st.integers(1, 30))):
        which, overhead, runtime = draw(st.integers(0, 3)), draw(seconds), draw(seconds)
        rare = draw(st.integers(0, 20))
        if rare == 0:
            steps.append(lambda calls, which=which: calls.leave(which, True))
        elif rare == 1:
            steps.append(lambda calls, which=which: calls.leave(which, False))
        else:
            failed, asks_first = rare == 2, rare == 3
            values = (which, overhead, runtime, failed, asks_first)
            steps.append(lambda calls, values=values: calls.call(*values))
    return steps


@pytest.mark.slow
@given(
    steps_of_callers(),
    st.integers(1, 4),
    st.integers(1, 25),
    st.sampled_from([math.inf, 3.0, 10.0]),
    st.sampled_from(["serial", "parallel"]),
)
@settings(max_examples=100, deadline=None, phases=[Phase.generate])
def test_both_ways_lead_to_the_same_log_replies_and_state(
    steps: Steps, n_workers: int, n_evals: int, max_time: float, sampling: str
) -> None:
    both_ways(run_settings(n_workers, n_evals, max_total_eval_time=max_time, sampling=sampling), steps)


def test_who_replaces_a_caller_that_left_when_its_time_was_over_hears_the_same(tmp_path: Path) -> None:
    coordinator = Coordinator(run_settings(2, 90, sampling="parallel", max_total_eval_time=3.0), str(tmp_path), 1)
    calls = Calls(coordinator)
    calls.call(0, 0.0, 3.5, False, False)
    assert isinstance(calls.replies[-1][1], Over)
    coordinator.leave(calls.callers[0], clean=False)
    calls._join(0)
    assert [(number, type(reply)) for number, reply in calls.replies[-1:]] == [(0, Over)]
    assert not coordinator.over, "the other one continues"


def test_a_log_that_cannot_be_written_stops_the_run_by_the_short_way_too(tmp_path: Path) -> None:
    coordinator = Coordinator(run_settings(1, 90), str(tmp_path), 1)
    calls = Calls(coordinator)
    calls.call(0, 0.0, 1.0, False, False)
    coordinator._log.close()  # as if its disk were gone
    calls.call(0, 0.0, 1.0, False, False)
    assert calls.shortly == 1
    (_, reply) = calls.replies[-1]
    assert isinstance(reply, SimulationError)
    assert "cannot be written" in str(reply)
    assert coordinator.over
