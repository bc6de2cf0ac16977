"""Which worker was busy when: from real jobs, and the counting by itself."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpool.backends import ThreadPoolEvaluator
from evalpool.callbacks import ProfilingCallback
from evalpool.errors import BadArgument
from evalpool.jobs._utilisation import Interval, busy_workers


def test_jobs_that_meet_are_seen_at_the_same_time() -> None:
    meeting = threading.Barrier(2)

    def run(job: Any) -> float:
        meeting.wait(30)
        return 1.0

    callback = ProfilingCallback(num_workers=4)
    with ThreadPoolEvaluator(run, num_workers=2, callbacks=[callback]) as evaluator:
        evaluator.submit([{}, {}])
        evaluator.gather()
    profile = callback.profile
    assert max(profile.n_jobs_running) == 2
    assert max(profile.utilisation) == 0.5
    assert profile.n_jobs_running[-1] == 0
    assert len({interval.worker for interval in callback.intervals}) == 2


def test_a_failed_job_kept_its_worker_busy_and_a_cancelled_one_did_not() -> None:
    callback = ProfilingCallback()
    evaluator = ThreadPoolEvaluator(lambda job: 1 / 0, callbacks=[callback])
    (failed,) = evaluator.submit([{}])
    evaluator.gather()
    evaluator.close()
    assert [(interval.job_id, interval.failed) for interval in callback.intervals] == [(failed.id, True)]


@pytest.mark.slow  # imports pandas
def test_the_profile_as_a_data_frame() -> None:
    callback = ProfilingCallback()
    with ThreadPoolEvaluator(lambda job: 1.0, callbacks=[callback]) as evaluator:
        evaluator.submit([{}])
        evaluator.gather()
    frame = callback.to_dataframe()
    assert list(frame.columns) == ["timestamp", "n_jobs_running", "utilisation"]
    assert frame["n_jobs_running"].tolist() == [1, 0]


def test_before_any_job_the_profile_is_empty() -> None:
    profile = ProfilingCallback().profile
    assert profile.timestamp == []
    assert profile.mean == 0.0


def test_one_drawn_schedule() -> None:
    # worker-0: |4---|1|3--|
    # worker-1: |2-|   |3--|
    spans = [("0", 0, 4), ("1", 0, 2), ("0", 4, 5), ("0", 5, 8), ("1", 5, 8)]
    profile = busy_workers([Interval(worker, start, end, "", False) for worker, start, end in spans])
    assert profile.timestamp == [0, 2, 4, 5, 8]
    assert profile.n_jobs_running == [2, 1, 1, 2, 0]
    assert profile.mean == pytest.approx((2 * 2 + 1 * 2 + 1 + 2 * 3) / (2 * 8))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=12))
def test_the_count_is_that_of_the_intervals_that_cover_a_moment(spans: list[tuple[int, int]]) -> None:
    intervals = [Interval(str(i), start, start + length, "", False) for i, (start, length) in enumerate(spans)]
    profile = busy_workers(intervals)
    for moment, count in zip(profile.timestamp, profile.n_jobs_running, strict=True):
        assert count == sum(interval.start <= moment < interval.end for interval in intervals)


@pytest.mark.parametrize("num_workers", [0, -1, 1.5, "4", True])
def test_a_wrong_number_of_workers_is_refused(num_workers: Any) -> None:
    with pytest.raises(BadArgument, match="num_workers is"):
        ProfilingCallback(num_workers)
