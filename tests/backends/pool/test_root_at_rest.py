"""A root whose workers are all busy sleeps."""

from __future__ import annotations

import threading
import time

import pytest

from evalpool import ProcessPoolEvaluator, RunningJob


def rest(job: RunningJob) -> float:
    threading.Event().wait(job["seconds"])
    return 1.0


@pytest.mark.slow
def test_a_worker_that_was_idle_for_a_moment_leaves_nobody_looking_for_work_to_move() -> None:
    long, short = {"seconds": 0.15}, {"seconds": 0.0}
    used = waited = 0.0
    with ProcessPoolEvaluator(rest, num_workers=2) as evaluator:
        evaluator.submit([short] * 2)
        evaluator.gather()
        for _ in range(6):
            # worker-0: |short| idle for a moment |long----|
            # worker-1: |long-------|long----------|
            evaluator.submit([short, long, short, long])
            evaluator.gather("BATCH", 1)
            evaluator.submit([long, long])
            cpu, began = time.process_time(), time.monotonic()
            evaluator.gather()
            used += time.process_time() - cpu
            waited += time.monotonic() - began
    assert used < 0.2 * waited
