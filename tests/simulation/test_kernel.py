"""The kernel's rules, one small drawn schedule each."""

from __future__ import annotations

import math
from typing import Any

import pytest

from evalpool.errors import BadArgument, SimulationError
from evalpool.outcomes import FailureKind
from evalpool.simulation._drive import drive
from evalpool.simulation._kernel import ASK, MARK, NOTHING, RETRIED, WAIT, Kernel

from .drivers import Late, Queue, search
from .oracle import Planned


class Now(Late):
    """Results that are there at once."""

    def __init__(self) -> None:
        super().__init__(__import__("random").Random(0), 1.0)


def ends(kernel: Kernel) -> list[float | None]:
    return [row.end for row in kernel.trace()]


def asked(kernel: Kernel, runtimes: list[float], overheads: list[float] | None = None) -> list[int]:
    thinking = overheads or [0.0] * len(runtimes)
    return search(kernel, [Planned(seconds) for seconds in runtimes], thinking, Now())[1]


def test_jobs_wait_for_the_worker_that_is_idle_first() -> None:
    # worker-0: |0: 4-----------|3: 1-|
    # worker-1: |1: 2-|2: 3-----|
    queue = Queue(Kernel(2), Now())
    queue.submit([Planned(4.0), Planned(2.0), Planned(3.0), Planned(1.0)])
    assert queue.gather(4) == [1, 0, 2, 3]
    assert [(row.worker, row.start, row.end) for row in queue.kernel.trace()] == [
        (0, 0.0, 4.0),
        (1, 0.0, 2.0),
        (1, 2.0, 5.0),
        (0, 4.0, 5.0),
    ]


def test_equal_ends_are_told_by_submission_number_whatever_result_came_first() -> None:
    # worker-0: |0: 3-----------|
    # worker-1: |1: 3-----------|
    kernel = Kernel(2)
    for _ in range(2):
        kernel.submit()
        kernel.startable()
        kernel.start()
    kernel.finish(1, 3.0)
    assert kernel.step() == WAIT, "job 0 may still end first"
    kernel.finish(0, 3.0)
    assert [kernel.step(), kernel.step(), kernel.step()] == [0, 1, NOTHING]


def test_zero_runtimes_do_not_move_the_clock_and_are_not_lost() -> None:
    queue = Queue(Kernel(2), Now())
    queue.submit([Planned(0.0)] * 7)
    assert queue.gather(7) == list(range(7))
    assert queue.kernel.clock == 0.0


def test_a_batch_takes_ties_and_what_they_let_through() -> None:
    # worker-0: |0: 2---|2: 0|
    # worker-1: |1: 2---|3: 1-|
    queue = Queue(Kernel(2), Now())
    queue.submit([Planned(2.0), Planned(2.0), Planned(0.0), Planned(1.0)])
    assert queue.gather(1) == [0, 1, 2]
    assert queue.kernel.clock == 2.0


def test_what_ended_while_the_search_was_thinking_comes_at_once() -> None:
    queue = Queue(Kernel(2), Now())
    queue.submit([Planned(1.0), Planned(4.0)])
    assert queue.advance(2.5) == [0]
    queue.submit([Planned(1.0)])  # starts now, not when its worker became idle
    assert queue.kernel.trace()[2].start == 2.5
    assert queue.gather(1) == [2]
    assert queue.kernel.clock == 3.5


def test_decisions_of_one_search_queue_up() -> None:
    # decisions: |0 1|1 1|2 1|...
    # worker-0:      |0: 1-|  |3: ...
    # worker-1:          |1: 8------------
    # worker-2:              |2: 8-------
    kernel = Kernel(3, max_submits=4)
    asked(kernel, [1.0, 8.0, 8.0, 8.0], [1.0] * 4)
    assert [row.start for row in kernel.trace()] == [1.0, 2.0, 3.0, 4.0]


def test_workers_that_decide_for_themselves_do_not_wait_for_each_other() -> None:
    kernel = Kernel(3, sampling="parallel", max_submits=4)
    asked(kernel, [1.0, 8.0, 8.0, 8.0], [1.0] * 4)
    assert [row.start for row in kernel.trace()] == [1.0, 1.0, 1.0, 3.0]


@pytest.mark.parametrize(("tell", "known"), [("asap", [0, 0, 1, 2]), ("warmup", [0, 0, 0, 2]), ("fill", [0, 0, 0, 1])])
def test_what_a_decision_knows(tell: str, known: list[int]) -> None:
    # decisions: |0 2--|1 2--|2 2--|3
    # worker-0:        |0: 1|
    # worker-1:              |1: 1|
    # worker-2:                    |2: 1|
    kernel, told, before = Kernel(3, tell=tell, max_submits=4), 0, []
    while (answer := kernel.poll()) != NOTHING:
        if answer == ASK:
            before.append(told)
            kernel.finish(kernel.ask(2.0), 1.0)
        else:
            told += 1
    assert before == known
    assert told == 4


def test_a_job_that_ends_exactly_at_the_limit_counts_and_a_later_one_is_censored() -> None:
    # worker-0: |0: 4-------|          T = 4
    # worker-1: |1: 3----|2: 2--
    kernel = Kernel(2, max_time=4.0)
    assert asked(kernel, [4.0, 3.0, 2.0, 1.0]) == [1, 0]
    assert kernel.over == "max_time"
    assert [row.status for row in kernel.trace()] == ["DONE", "DONE", "CENSORED"], "nobody is asked at 4"
    assert kernel.trace()[2][:6] == (2, 1, 3.0, 3.0, None, None)


def test_what_runs_when_enough_were_evaluated_is_dropped() -> None:
    kernel = Kernel(2, max_evals=2)
    assert asked(kernel, [4.0, 1.0, 1.0, 1.0]) == [1, 2]
    assert [row.status for row in kernel.trace()] == ["DROPPED", "DONE", "DONE"]
    assert kernel.poll() == NOTHING


def test_what_runs_when_enough_were_submitted_is_awaited() -> None:
    kernel = Kernel(2, max_submits=3)
    assert asked(kernel, [4.0, 1.0, 1.0, 1.0]) == [1, 2, 0]
    assert kernel.over == "max_submits"


def test_a_failure_occupies_its_worker_and_counts() -> None:
    queue = Queue(Kernel(1), Now())
    queue.submit([Planned(2.0, failed=True), Planned(1.0)])
    assert queue.gather(2) == [0, 1]
    assert [row.status for row in queue.kernel.trace()] == ["FAILED", "DONE"]
    assert ends(queue.kernel) == [2.0, 3.0]


@pytest.mark.parametrize("runtime", [None, -1.0, -1e-300, math.nan, math.inf, "3", b"3", True, [], 10**400])
def test_a_runtime_that_is_none_is_a_failure_with_a_message(runtime: Any) -> None:
    kernel = Kernel(1, failure_runtime=1.5)
    kernel.submit()
    kernel.startable()
    kernel.start()
    verdict = kernel.finish(0, runtime)
    assert verdict is not None
    assert verdict.kind is FailureKind.INVALID_OUTPUT
    assert repr(runtime) in verdict.message
    assert kernel.step() == 0
    assert (kernel.clock, kernel.trace()[0].status) == (1.5, "FAILED")


def test_a_runtime_may_be_of_any_kind_of_number() -> None:
    import numpy as np

    queue = Queue(Kernel(1), Now())
    queue.submit([Planned(1), Planned(np.float32(0.5)), Planned(np.int64(2)), Planned(np.array(1.0))])
    queue.gather(4)
    assert ends(queue.kernel) == [1.0, 1.5, 3.5, 4.5]


def test_a_job_over_its_timeout_ends_at_exactly_that_time() -> None:
    kernel = Kernel(2, job_timeout=2.0)
    for _ in range(2):
        kernel.submit()
        kernel.startable()
        kernel.start()
    verdict = kernel.finish(0, 7.25)
    assert verdict is not None
    assert verdict.kind is FailureKind.TIMEOUT
    assert "7.25" in verdict.message
    assert kernel.finish(1, 2.0) is None, "as long as allowed"
    kernel.step()
    assert (kernel.clock, kernel.trace()[0].status) == (2.0, "FAILED")


def test_a_continued_job_is_charged_the_difference_and_takes_over_the_seed() -> None:
    # worker-0: |0: epoch 3, 3---|2: epoch 9, 9 - 3 = 6------|
    # worker-1: |1: epoch 9, 9---------------|                   nothing to resume at 0
    queue = Queue(Kernel(2, continual_max_fidel=9), Now())
    queue.submit([Planned(3.0, key="a", fidelity=3), Planned(9.0, key="a", fidelity=9)])
    assert queue.gather(1) == [0]
    assert queue.kernel.checkpoints == {"a": [[3, 3.0, 3.0, 0, 0]]}
    queue.kernel.submit("a", 9)
    queue.kernel.startable()
    queue.kernel.start()
    resumed = queue.kernel.resumed(2)
    assert resumed is not None
    assert (resumed.fidelity, resumed.seed) == (3, 0)
    queue.kernel.finish(2, 9.0)
    assert queue.gather(2) == [1, 2]
    assert [(row.end, row.charged, row.resumed) for row in queue.kernel.trace()] == [
        (3.0, 3.0, None),
        (9.0, 9.0, None),
        (9.0, 6.0, 3),
    ]
    assert queue.kernel.checkpoints == {}, "consumed, and the maximum leaves none"


def test_a_failed_job_consumes_its_checkpoint_and_leaves_none() -> None:
    queue = Queue(Kernel(1, continual_max_fidel=9), Now())
    queue.submit([Planned(1.0, key="a", fidelity=1), Planned(2.0, True, "a", 2), Planned(3.0, key="a", fidelity=3)])
    queue.gather(3)
    assert [row.charged for row in queue.kernel.trace()] == [1.0, 1.0, 3.0]


def test_equal_fidelity_is_no_continuation() -> None:
    queue = Queue(Kernel(1, continual_max_fidel=9), Now())
    queue.submit([Planned(3.0, key="a", fidelity=3), Planned(3.0, key="a", fidelity=3)])
    queue.gather(2)
    assert [row.charged for row in queue.kernel.trace()] == [3.0, 3.0]


def test_with_parallel_sampling_a_job_takes_what_others_left_before_its_start() -> None:
    # worker-0: decides from 0 to 10    |0: a at 3
    # worker-1: decides from 0 to 1 |1: a at 1, until 2|...
    kernel = Kernel(2, sampling="parallel", continual_max_fidel=9, max_submits=2)
    plans = [Planned(3.0, key="a", fidelity=3), Planned(1.0, key="a", fidelity=1)]
    _, told = search(kernel, plans, [10.0, 1.0], Now())
    assert told == [1, 0]
    assert [(row.charged, row.resumed) for row in kernel.trace()] == [(2.0, 1), (1.0, None)]


def test_a_job_that_may_resume_one_that_runs_waits_for_its_real_result() -> None:
    kernel = Kernel(2, continual_max_fidel=9)
    kernel.submit("a", 1)
    kernel.submit("a", 2)
    assert kernel.startable() == 0
    kernel.start()
    assert kernel.startable() == WAIT, "job 0 may end in no time"
    kernel.finish(0, 0.0)
    assert kernel.startable() == 1
    kernel.start()
    resumed = kernel.resumed(1)
    assert resumed is not None
    assert resumed.job == 0


def test_a_stopped_job_frees_its_worker_now() -> None:
    # worker-0: |0: 8 ---x|2: 1-|
    # worker-1: |1: 3----|
    queue = Queue(Kernel(2), Now())
    queue.submit([Planned(8.0), Planned(3.0), Planned(1.0)])
    assert queue.gather(1) == [1]
    assert queue.gather(1) == [2], "on worker 1"
    assert queue.kernel.stop(0)
    assert not queue.kernel.stop(0)
    assert not queue.kernel.stop(1), "it has ended"
    assert queue.gather(1) == [0]
    queue.submit([Planned(1.0)])
    assert queue.gather(1) == [3]
    assert queue.gather(0) == []
    row = queue.kernel.trace()[0]
    assert (row.status, row.end, row.charged) == ("CANCELLED", 4.0, 4.0)
    assert queue.kernel.step(math.inf) == NOTHING, "its old end comes to nothing"


def test_a_job_stopped_before_its_real_result_may_still_report_it() -> None:
    kernel = Kernel(1)
    kernel.submit()
    kernel.startable()
    kernel.start()
    kernel.advance(0.0)
    assert kernel.stop(0)
    assert kernel.finish(0, 5.0) is None
    assert kernel.step() == 0
    assert kernel.finish(0, 5.0) is None
    assert kernel.step() == NOTHING
    assert kernel.clock == 0.0


def test_a_job_stopped_in_the_queue_never_starts() -> None:
    queue = Queue(Kernel(1), Now())
    queue.submit([Planned(1.0), Planned(1.0), Planned(1.0)])
    assert queue.kernel.stop(1)
    assert queue.gather(2) == [0, 2]
    row = queue.kernel.trace()[1]
    assert (row.worker, row.start, row.end, row.status) == (None, None, None, "CANCELLED")


def test_a_stopped_job_leaves_no_checkpoint() -> None:
    queue = Queue(Kernel(1, continual_max_fidel=9), Now())
    queue.submit([Planned(3.0, key="a", fidelity=3)])
    queue.advance(1.0)
    queue.kernel.stop(0)
    queue.gather(1)
    assert queue.kernel.checkpoints == {}


def test_a_job_that_a_stopper_ends_is_done_then() -> None:
    queue = Queue(Kernel(1), Now())
    queue.submit([Planned(8.0, failed=True), Planned(1.0)])
    queue.advance(2.0)
    queue.kernel.stop(0, "DONE")
    assert queue.gather(2) == [0, 1]
    assert [(row.status, row.end) for row in queue.kernel.trace()] == [("DONE", 2.0), ("DONE", 3.0)]


def test_a_mark_stops_the_step_at_its_time_and_lets_the_job_be_ended_there() -> None:
    # worker-0: |0: 8 --mark at 2 -x
    # worker-1: |1: 3-----------|
    kernel = Kernel(2)
    for runtime in (8.0, 3.0):
        job = kernel.submit()
        kernel.startable()
        kernel.start()
        kernel.finish(job, runtime)
    kernel.mark(0, 2.0)
    kernel.mark(0, 4.0)
    assert (kernel.step(), kernel.marked, kernel.clock) == (MARK, 0, 2.0)
    assert kernel.stop(0)
    assert [kernel.step(), kernel.step(), kernel.step()] == [0, 1, NOTHING]
    assert ends(kernel) == [2.0, 3.0]


def test_a_job_that_is_retried_goes_before_the_others() -> None:
    # worker-0: |0: 1 fails|0: 2---|1: 1|
    kernel = Kernel(1)
    kernel.submit()
    kernel.submit()
    kernel.startable()
    kernel.start()
    kernel.finish(0, 1.0, failed=True, retry=True)
    assert (kernel.step(), kernel.marked) == (RETRIED, 0)
    assert kernel.startable() == 0
    kernel.start()
    kernel.finish(0, 2.0)
    assert kernel.step() == 0
    assert kernel.startable() == 1
    kernel.start()
    kernel.finish(1, 1.0)
    assert kernel.step() == 1
    assert kernel.num_completed == 2
    assert [(row.submit, row.start, row.end, row.status) for row in kernel.trace()] == [
        (1.0, 1.0, 3.0, "DONE"),
        (0.0, 3.0, 4.0, "DONE"),
    ]


def test_time_only_goes_forward() -> None:
    queue = Queue(Kernel(1), Now())
    queue.submit([Planned(3.0)])
    queue.advance(2.0)
    with pytest.raises(BadArgument, match=r"stands at 2\.0 and cannot be moved to 1\.0"):
        queue.kernel.advance(1.0)
    with pytest.raises(BadArgument, match="nan"):
        queue.kernel.advance(math.nan)
    with pytest.raises(SimulationError, match=r"end before 3\.0"):
        queue.kernel.advance(3.0)
    assert queue.kernel.clock == 2.0


@pytest.mark.parametrize("overhead", [-1.0, math.nan, math.inf, None, "1"])
def test_an_overhead_that_is_none_is_an_error_and_leaves_the_clock(overhead: Any) -> None:
    kernel = Kernel(1)
    assert kernel.poll() == ASK
    with pytest.raises(BadArgument, match="overhead"):
        kernel.ask(overhead)
    assert kernel.clock == 0.0
    assert kernel.ask(0.5) == 0, "the decision is still due"


def test_calls_out_of_turn_are_errors() -> None:
    kernel = Kernel(1)
    with pytest.raises(SimulationError, match="No decision is due"):
        kernel.ask(0.0)
    with pytest.raises(IndexError):
        kernel.start()
    kernel.submit()
    with pytest.raises(SimulationError, match="Job 0 does not run"):
        kernel.finish(0, 1.0)
    with pytest.raises(SimulationError, match="new kernel"):
        drive(kernel, dict, dict, lambda job, configuration, results: None)


@pytest.mark.parametrize(
    "settings",
    [
        {"num_workers": 0},
        {"num_workers": True},
        {"num_workers": 2.0},
        {"sampling": "both"},
        {"tell": "later"},
        {"continual_max_fidel": 1.5},
        {"failure_runtime": -1},
        {"failure_runtime": math.inf},
        {"job_timeout": 0},
        {"max_time": "10"},
        {"max_time": -1},
        {"max_evals": 0},
        {"max_submits": 2.5},
    ],
)
def test_settings_are_checked_with_the_value(settings: dict[str, Any]) -> None:
    with pytest.raises(BadArgument, match=repr(next(iter(settings.values())))):
        Kernel(**{"num_workers": 1, **settings})


def test_an_exception_in_the_fast_loop_leaves_a_trace_of_what_was() -> None:
    kernel, configurations = Kernel(2, max_evals=9), iter([1.0, 4.0, 4.0])
    with pytest.raises(StopIteration):
        drive(kernel, lambda: next(configurations), lambda c: {"runtime": c}, lambda job, c, r: None)
    assert [row.status for row in kernel.trace()] == ["DONE", "DONE", "RUNNING"]


def test_the_digest_tells_runs_apart() -> None:
    def digest(runtimes: list[float]) -> str:
        kernel = Kernel(2, max_submits=len(runtimes))
        asked(kernel, runtimes)
        return kernel.trace_digest()

    assert digest([1.0, 2.0]) == digest([1.0, 2.0])
    assert digest([1.0, 2.0]) != digest([1.0, 2.5])


def test_a_trace_until_now_does_not_show_what_happens_later() -> None:
    # worker-0: |0: 1-|2: open
    # worker-1: |1: 5---------
    queue = Queue(Kernel(2), Now())
    queue.submit([Planned(1.0), Planned(5.0)])
    assert queue.gather(1) == [0]
    kernel = queue.kernel
    kernel.submit()
    kernel.startable()
    kernel.start()
    expected, until_now = kernel.trace(), kernel.trace_until_now()
    for job in (1, 2):
        kernel.stop(job)
    while kernel.step() != NOTHING:
        pass
    kernel.submit()
    assert until_now() == until_now() == expected
    assert [row.status for row in expected] == ["DONE", "RUNNING", "RUNNING"]
    assert [row.status for row in kernel.trace()] == ["DONE", "CANCELLED", "CANCELLED", "READY"]
