"""The whole loop of a kernel for a run-function that is called in this thread, about three times as fast.

It does the work of `Kernel.poll`, `ask` and `finish` in one function, by the same rules; tests compare both.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush, heappushpop
from typing import Any

from evalpool.errors import SimulationError
from evalpool.simulation._kernel import FOREVER, INF, Kernel
from evalpool.simulation._seconds import check_overhead, check_runtime
from evalpool.simulation._trace import FAILED

__all__ = ["drive", "fail"]


def drive(
    kernel: Kernel,
    ask: Callable[[], Any],
    run: Callable[[Any], Any],
    tell: Callable[[int, Any, Any], object],
    *,
    runtime: str | int = "runtime",
    overhead: Callable[[int, int], float] | None = None,
) -> None:
    """Ask, run and tell until the run is over.

    Args:
        ask: returns a configuration.
        run: takes a configuration and returns its results, with the runtime under the key or at the position
            `runtime`. It may `fail` the job, whose number is the number of jobs run before.
        tell: takes a job's number, its configuration and its results.
        overhead: returns the overhead of a decision, from the numbers of jobs asked and told; None for no overhead.

    Raises:
        SimulationError: the kernel is not new, or has an option that needs single steps: continual_max_fidel,
            job_timeout or worker_model. Errors of the callables are not caught; the trace then shows the jobs until
            then.
    """
    if not kernel._plain or kernel.num_submitted or kernel._queue or kernel.clock:
        raise SimulationError("drive needs a new kernel, without continual_max_fidel, job_timeout and worker_model.")
    trace, ends, since, end_statuses = kernel._trace, kernel._ends, kernel._since, kernel._end_statuses
    idle: Any = kernel._idle
    # Not their `append`, bound: as it is written below, the interpreter appends without a call.
    workers, starts, charges = trace.worker, trace.start, trace.charged
    # No limit is a number that is never reached: Python compares large ones by a call.
    most, last = (-1 if limit == FOREVER else limit for limit in (kernel._max_evals, kernel._max_submits))
    tells_from, serial, max_time = kernel._tells_from, kernel._serial, kernel._max_time
    running: Any = ends  # in this function, each entry also has the configuration and the results
    asked, told, end, free, decided = 0, 0, 0.0, 0.0, 0.0
    hand = -1  # the first idle worker, kept outside of the queue because it is mostly the only one; idle since `free`
    try:
        while True:  # with a condition here, Python 3.11 would not notice that the loop runs often, and leave it slow
            if hand < 0 and idle:
                hand = idle.popleft()
                free = since[hand]
            at = free if free > decided else decided
            may_ask = hand >= 0 and asked != last and at < max_time
            if may_ask and (not running or running[0][0] > at or asked < tells_from):
                configuration = ask()
                results = run(configuration)
                try:
                    seconds = results[runtime]
                except (KeyError, TypeError, IndexError):
                    seconds = None
                if type(seconds) is not float or not 0.0 <= seconds < INF:
                    seconds = _charged(kernel, asked, seconds)
                if overhead is not None:
                    at += check_overhead(overhead(asked, told))
                    if serial:
                        decided = at
                workers.append(hand)
                starts.append(at)
                charges.append(seconds)
                entry = (at + seconds, asked, hand, configuration, results)
                asked += 1
                hand = -1
                if idle:
                    heappush(running, entry)
                    continue
                entry = heappushpop(running, entry)  # no worker is idle, so what is next is the first end
            elif running:
                entry = heappop(running)
            else:
                kernel.over = "max_submits" if asked == last else "max_time"
                break
            if entry[0] > max_time:
                heappush(running, entry)
                kernel.over = "max_time"
                break
            end, job, worker, configuration, results = entry
            if hand < 0:
                hand, free = worker, end
            else:
                since[worker] = end
                idle.append(worker)
            if end_statuses:
                kernel._settle(job)
            told += 1
            tell(job, configuration, results)
            if told == most:
                kernel.over = "max_evals"
                break
    finally:
        ends[:] = [entry[:3] for entry in running]
        kernel.num_submitted, kernel.num_completed, kernel._decided = asked, told, decided
        kernel.clock = kernel.ended = end
        if hand >= 0:
            since[hand] = free
            idle.appendleft(hand)


def _charged(kernel: Kernel, job: int, runtime: Any) -> float:
    """Return the runtime of a job that starts, as `finish` would charge it."""
    seconds = check_runtime(runtime)
    if isinstance(seconds, str):
        kernel._end_statuses[job] = FAILED
        return kernel.failure_runtime
    return seconds


def fail(kernel: Kernel, job: int) -> None:
    """Make the job that `drive` runs now a failure; it occupies its worker like any other job."""
    kernel._end_statuses[job] = FAILED
