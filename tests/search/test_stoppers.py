"""Which jobs stoppers end: by their rules, and through real evaluators."""

from __future__ import annotations

import statistics
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpool.backends import ProcessPoolEvaluator, SerialEvaluator, ThreadPoolEvaluator
from evalpool.errors import BadArgument
from evalpool.evaluator import MedianStopper, RunningJob, Stopper, SuccessiveHalvingStopper
from evalpool.models import JobStatus
from evalpool.search import HyperbandStopper
from evalpool.search._stoppers import RunningMedian, TopShare

numbers = st.floats(-100, 100)


def curve(stopper: Any, objectives: list[float]) -> int:
    """How many of the steps a job takes that records these objectives."""
    for step, objective in enumerate(objectives, 1):
        stopper.observe(step, objective)
        if stopper.stop():
            return step
    return len(objectives)


# The data structures.


@settings(deadline=None)
@given(st.lists(numbers, min_size=1, max_size=40))
def test_the_running_median_is_the_median(values: list[float]) -> None:
    median = RunningMedian()
    for n, value in enumerate(values, 1):
        median.add(value)
        assert len(median) == n
        assert median.median == pytest.approx(statistics.median(values[:n]))


@settings(deadline=None)
@given(st.lists(numbers, min_size=1, max_size=40), st.sampled_from([1.5, 2, 3, 4]))
def test_the_share_ends_with_the_value_of_its_rank(values: list[float], factor: float) -> None:
    share = TopShare(factor)
    for n, value in enumerate(values, 1):
        share.add(value)
        size = max(1, int(n // factor))
        assert share.worst == sorted(values[:n], reverse=True)[size - 1]


# Budgets that are computed.


@pytest.mark.parametrize("computed", [[0.3, 0.9], [0.1 * 3, 0.3 * 3], [0.1 + 0.2, 0.3 + 0.3 + 0.3]])
def test_a_budget_is_the_same_however_it_is_computed(computed: list[float]) -> None:
    def at(stopper: Any, objectives: list[float]) -> int:
        for place, (budget, objective) in enumerate(zip([0.1, *computed, 0.3 * 9], objectives, strict=True)):
            stopper.observe(budget, objective)
            if stopper.stop():
                assert stopper.is_complete == (place == 3)
                return place
        return 4

    for make in (
        lambda: SuccessiveHalvingStopper(max_steps=2.7, min_steps=0.1),
        lambda: MedianStopper(max_steps=2.7, min_steps=0.1, interval_steps=None),
    ):
        stopper = make()
        assert at(stopper.for_job(0), [1.0, 5.0, 9.0, 9.0]) == 3  # 0.3 * 9 is a little less than 2.7
        assert at(stopper.for_job(1), [2.0, 2.0, 2.0, 2.0]) == 1
        assert at(stopper.for_job(2), [9.0, 9.0, 1.0, 1.0]) == (2 if type(stopper) is SuccessiveHalvingStopper else 3)


def test_no_rung_is_at_the_last_step_nor_beside_it() -> None:
    # 0.3 * 3 * 3 is a little less than 2.7.
    assert SuccessiveHalvingStopper(max_steps=2.7, min_steps=0.3).num_rungs == 2
    assert len(HyperbandStopper(max_steps=2.7, min_steps=0.3).shares) == 3
    assert HyperbandStopper(max_steps=2.7, min_steps=0.3).shares == HyperbandStopper(max_steps=9).shares


# The median rule.


def test_a_job_below_the_median_of_the_others_ends() -> None:
    stopper = MedianStopper(max_steps=4)
    assert curve(stopper.for_job(0), [0.5] * 4) == 4
    assert curve(stopper.for_job(1), [0.6] * 4) == 4
    assert curve(stopper.for_job(2), [0.4] * 4) == 1
    assert curve(stopper.for_job(3), [0.55] * 4) == 4


def test_a_job_is_judged_by_its_best_and_the_others_by_their_averages() -> None:
    stopper = MedianStopper(max_steps=4)
    curve(stopper.for_job(0), [0.0, 1.0, 1.0])  # averages 0, 0.5, 0.67
    assert curve(stopper.for_job(1), [0.55, 0.0, 0.0]) == 3  # best 0.55 against 0, 0.5, 0.67


def test_jobs_are_compared_only_at_the_same_budget() -> None:
    stopper = MedianStopper(max_steps=10)
    ahead, late = stopper.for_job(0), stopper.for_job(1)
    ahead.observe(5, 0.9)
    late.observe(1, 0.1)
    assert not late.stop()
    late.observe(5, 0.1)
    assert late.stop()


def test_the_first_comparison_waits_for_min_steps_and_then_for_the_interval() -> None:
    stopper = MedianStopper(max_steps=20, min_steps=4, interval_steps=3)
    curve(stopper.for_job(0), [1.0] * 19)
    assert curve(stopper.for_job(1), [0.0] * 19) == 4
    hopeful_then_overtaken = [1.0] * 5 + [0.0] * 14
    stopper = MedianStopper(max_steps=20, min_steps=4, interval_steps=3)
    curve(stopper.for_job(0), [1.0] * 4 + [9.0] * 15)
    assert curve(stopper.for_job(1), hopeful_then_overtaken) == 7


def test_nothing_ends_before_enough_jobs_are_complete() -> None:
    stopper = MedianStopper(max_steps=3, min_fully_completed=2)
    assert curve(stopper.for_job(0), [1.0] * 3) == 3
    assert curve(stopper.for_job(1), [0.0] * 3) == 3
    assert curve(stopper.for_job(2), [0.0] * 3) == 1


def test_nothing_ends_before_enough_jobs_compete() -> None:
    stopper = MedianStopper(max_steps=3, min_competing=2)
    curve(stopper.for_job(0), [1.0] * 3)
    assert curve(stopper.for_job(1), [0.0] * 2) == 2
    assert curve(stopper.for_job(2), [0.0] * 2) == 1


def test_a_job_within_epsilon_goes_on() -> None:
    stopper = MedianStopper(max_steps=3, epsilon=0.1)
    curve(stopper.for_job(0), [1.0])
    assert curve(stopper.for_job(1), [0.95, 0.0]) == 2


# Successive halving.


def test_only_the_best_share_passes_a_rung() -> None:
    stopper = SuccessiveHalvingStopper(max_steps=27, reduction_factor=3)
    passed = []
    for objective in [5.0, 4.0, 6.0, 1.0, 5.5, 7.0, 2.0, 6.5, 5.9]:
        job = stopper.for_job(0)
        job.observe(1, objective)
        passed.append(not job.stop())
    # The best max(1, n // 3) of the n that came so far: of 1, 2, ..., 9.
    assert passed == [True, False, True, False, False, True, False, True, False]


def test_between_rungs_nobody_ends() -> None:
    stopper = SuccessiveHalvingStopper(max_steps=100, reduction_factor=10)
    assert curve(stopper.for_job(0), [1.0] * 99) == 99
    worse = [1.0] + [0.0] * 98
    assert curve(stopper.for_job(1), worse) == 10


def test_the_lowest_rungs_can_be_left_out() -> None:
    stopper = SuccessiveHalvingStopper(max_steps=27, reduction_factor=3, min_early_stopping_rate=1)
    curve(stopper.for_job(0), [1.0] * 26)
    assert curve(stopper.for_job(1), [0.0] * 26) == 3


def test_a_job_that_jumps_over_rungs_is_compared_at_the_last_one() -> None:
    stopper = SuccessiveHalvingStopper(max_steps=100, reduction_factor=3)
    jumping = stopper.for_job(0)
    jumping.observe(30, 5.0)  # beyond 1, 3, 9 and 27
    young = stopper.for_job(1)
    young.observe(1, 1.0)
    assert not young.stop()
    young.observe(27, 1.0)
    assert young.stop()


def test_halving_waits_for_complete_and_competing_jobs_if_told_to() -> None:
    stopper = SuccessiveHalvingStopper(max_steps=2, min_fully_completed=1)
    first, second = stopper.for_job(0), stopper.for_job(1)
    first.observe(1, 5.0)
    second.observe(1, 1.0)
    assert not second.stop()
    first.observe(2, 5.0)
    third = stopper.for_job(2)
    third.observe(1, 1.0)
    assert third.stop()
    stopper = SuccessiveHalvingStopper(max_steps=9, min_competing=2)
    assert [curve(stopper.for_job(i), [-float(i)] * 2) for i in range(3)] == [2, 2, 1]


@pytest.mark.parametrize("kind", [MedianStopper, SuccessiveHalvingStopper])
class TestBoth:
    def test_a_job_that_reaches_max_steps_ends(self, kind: Any) -> None:
        assert curve(kind(max_steps=5).for_job(0), [1.0] * 9) == 5

    def test_the_objective_is_what_was_last_recorded(self, kind: Any) -> None:
        job = kind(max_steps=5).for_job(0)
        assert job.objective is None
        job.observe(1, 0.5)
        job.observe(2, 0.25)
        assert job.objective == 0.25

    def test_what_is_no_finite_number_is_not_compared(self, kind: Any) -> None:
        stopper = kind(max_steps=5)
        for objective in (float("nan"), float("inf"), 10**400, None, "F_diverged", (1, 2), True):
            job = stopper.for_job(0)
            job.observe(1, objective)
            assert not job.stop()
        job = stopper.for_job(1)
        job.observe(1, -5.0)
        assert not job.stop()

    def test_numpy_numbers_are_numbers(self, kind: Any) -> None:
        stopper = kind(max_steps=5)
        good, bad = stopper.for_job(0), stopper.for_job(1)
        good.observe(np.int64(1), np.float32(0.5))
        bad.observe(np.int64(1), np.float32(0.25))
        assert bad.stop()

    def test_once_ended_a_job_stays_so(self, kind: Any) -> None:
        stopper = kind(max_steps=5)
        stopper.for_job(0).observe(1, 1.0)
        job = stopper.for_job(1)
        job.observe(1, 0.0)
        job.observe(2, 9.0)
        assert job.stop()

    def test_many_threads_may_observe_at_once(self, kind: Any) -> None:
        stopper = kind(max_steps=60, min_competing=1000)
        start = threading.Barrier(8)

        def work(number: int) -> None:
            job = stopper.for_job(number)
            start.wait(30)
            for step in range(1, 60):
                job.observe(step, float(number))

        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        last = stopper.for_job(9)
        for step in range(1, 60):
            last.observe(step, 0.0)
        assert not last.stop()

    @pytest.mark.parametrize(
        ("keywords", "message"),
        [
            ({"max_steps": 0}, "max_steps is 0"),
            ({"max_steps": "9"}, "max_steps is '9'"),
            ({"max_steps": 9, "min_steps": -1}, "min_steps is -1"),
            ({"max_steps": 9, "epsilon": -1}, "epsilon is -1"),
            ({"max_steps": 9, "min_fully_completed": 1.5}, "min_fully_completed is 1.5"),
        ],
    )
    def test_wrong_arguments_are_refused(self, kind: Any, keywords: Any, message: str) -> None:
        with pytest.raises(BadArgument, match=message):
            kind(**keywords)


@pytest.mark.parametrize("kind", [SuccessiveHalvingStopper, HyperbandStopper])
def test_a_reduction_that_would_make_millions_of_rungs_is_refused(kind: Any) -> None:
    with pytest.raises(BadArgument, match="which makes 10,986,123 rungs from 1 to 3"):
        kind(max_steps=3, reduction_factor=1.0000001)


def test_rungs_that_are_left_out_cost_nothing_however_many_they_are() -> None:
    assert SuccessiveHalvingStopper(max_steps=9, min_early_stopping_rate=10**9).num_rungs == 0
    late = SuccessiveHalvingStopper(max_steps=9, min_early_stopping_rate=1)
    assert late.num_rungs == 1


def test_wrong_arguments_of_one_kind_are_refused() -> None:
    with pytest.raises(BadArgument, match="reduction_factor is 1"):
        SuccessiveHalvingStopper(max_steps=9, reduction_factor=1)
    with pytest.raises(BadArgument, match="no job could reach it"):
        SuccessiveHalvingStopper(max_steps=9, min_steps=10)
    with pytest.raises(BadArgument, match="interval_steps is 0"):
        MedianStopper(max_steps=9, interval_steps=0)


# Through evaluators.


def train(job: Any) -> Any:
    for step in range(1, 11):
        job.record(step, job["slope"] * step)
        if job.stopped():
            break
    return {"objective": job.objective, "metadata": {"steps": step}}


class AfterThree(Stopper):
    """A user's own: ends each job at its third step."""

    def __init__(self) -> None:
        self.records = 0

    def observe(self, budget: float, objective: Any) -> None:
        self.records += 1
        self.objective = objective

    def stop(self) -> bool:
        return self.records >= 3


class Duck:
    """A user's own that is derived from nothing."""

    objective = None

    def observe(self, budget: float, objective: Any) -> None:
        self.budget = budget

    def stop(self) -> bool:
        return self.budget >= 2


BACKENDS = [
    SerialEvaluator,
    ThreadPoolEvaluator,
    pytest.param(ProcessPoolEvaluator, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("stopper", "steps"),
    [
        (lambda: MedianStopper(max_steps=10), [10, 1, 10]),
        (lambda: SuccessiveHalvingStopper(max_steps=10, reduction_factor=2), [10, 1, 10]),
        (AfterThree, [3, 3, 3]),
        (Duck, [2, 2, 2]),
        (lambda: None, [10, 10, 10]),
    ],
    ids=["median", "halving", "own", "duck", "none"],
)
def test_jobs_end_where_their_stopper_says(backend: Any, stopper: Any, steps: list[int]) -> None:
    # One job after the other, so that which one came first is no matter of chance.
    with backend(train, stopper=stopper()) as evaluator:
        evaluator.submit([{"slope": slope} for slope in (2, 1, 3)])
        jobs = evaluator.gather()
    assert [job.metadata["steps"] for job in jobs] == steps
    assert [job.status for job in jobs] == [JobStatus.DONE] * 3
    assert [job.objective for job in jobs] == [s * n for s, n in zip((2, 1, 3), steps, strict=True)]


def test_a_stopper_works_by_hand() -> None:
    stopper = MedianStopper(max_steps=4)
    assert train(RunningJob(parameters={"slope": 1}, stopper=stopper.for_job(0)))["metadata"] == {"steps": 4}
    assert train(RunningJob(parameters={"slope": 0}, stopper=stopper.for_job(1)))["metadata"] == {"steps": 1}
    assert train(RunningJob(parameters={"slope": 1}, stopper=AfterThree()))["objective"] == 3


def test_a_stopper_that_raises_costs_no_job(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Stopper):
        def observe(self, budget: float, objective: Any) -> None:
            raise LookupError("lost")

        def stop(self) -> bool:
            return True

    with ThreadPoolEvaluator(train, stopper=Broken()) as evaluator:
        evaluator.submit([{"slope": 1}])
        (job,) = evaluator.gather()
    assert job.metadata["steps"] == 10
    assert "Broken raised" in caplog.text


# Hyperband.


def test_brackets_of_hyperband_have_the_shares_of_the_paper_over_any_consecutive_jobs() -> None:
    stopper = HyperbandStopper(max_steps=81, reduction_factor=3)
    sizes = [81, 34, 15, 8, 5]  # of algorithm 1 of the paper
    assert stopper.shares == pytest.approx([size / sum(sizes) for size in sizes])
    for first in (0, 1_000, 10**9):
        found = [stopper.bracket_of(number) for number in range(first, first + 143)]
        assert [found.count(bracket) for bracket in range(5)] == pytest.approx(sizes, abs=2)


def test_each_bracket_of_hyperband_begins_to_compare_a_rung_later_and_only_its_own_jobs() -> None:
    stopper = HyperbandStopper(max_steps=9, reduction_factor=3)
    of = {bracket: [n for n in range(100) if stopper.bracket_of(n) == bracket] for bracket in range(3)}
    for numbers in of.values():
        assert curve(stopper.for_job(numbers[0]), [0.5] * 9) == 9
    assert curve(stopper.for_job(of[0][1]), [0.4] * 9) == 1
    assert curve(stopper.for_job(of[1][1]), [0.4] * 9) == 3
    assert curve(stopper.for_job(of[2][1]), [0.4] * 9) == 9
    assert curve(stopper, [0.4] * 9) == 1
    assert (stopper.objective, stopper.is_complete) == (0.4, False)


def test_hyperband_may_have_fewer_brackets() -> None:
    stopper = HyperbandStopper(max_steps=9, brackets=1)
    assert stopper.shares == [1.0]
    assert {stopper.bracket_of(number) for number in range(100)} == {0}
    with pytest.raises(BadArgument, match="brackets is 4; from 1 to 9 steps, with the reduction factor 3, there are 3"):
        HyperbandStopper(max_steps=9, brackets=4)
