"""The whole loop of a kernel for a run-function that is called in this thread, about three times as fast.

It does the work of `Kernel.poll`, `ask` and `finish` in one function, by the same rules; tests compare both.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from evalpool.errors import SimulationError
from evalpool.simulation._kernel import INF, Kernel
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
    trace, ends, since = kernel._trace, kernel._ends, kernel._since
    idle: Any = kernel._idle
    end_statuses = kernel._end_statuses
    workers, starts, charges = trace.worker.append, trace.start.append, trace.charged.append
    max_submits, max_time = kernel._max_submits, kernel._max_time
    tells_from, serial = kernel._tells_from, kernel._serial
    running: Any = ends  # in this function, each entry also has the configuration and the results
    asked = told = 0
    left = kernel._max_evals
    end = free = decided = 0.0
    hand = -1  # the first idle worker, kept outside of the queue because it is mostly the only one; idle since `free`
    try:
        while left:
            if hand < 0 and idle:
                hand = idle.popleft()
                free = since[hand]
            if hand >= 0 and asked < max_submits:
                at = free if free > decided else decided
                if at < max_time and (not running or running[0][0] > at or asked < tells_from):
                    configuration = ask()
                    results = run(configuration)
                    try:
                        seconds = results[runtime]
                    except (KeyError, TypeError, IndexError):
                        seconds = None
                    if seconds.__class__ is not float or not 0.0 <= seconds < INF:
                        seconds = _charged(kernel, asked, seconds)
                    if overhead is None:
                        start = at
                    else:
                        start = at + check_overhead(overhead(asked, told))
                        if serial:
                            decided = start
                    workers(hand)
                    starts(start)
                    charges(seconds)
                    heappush(running, (start + seconds, asked, hand, configuration, results))
                    asked += 1
                    hand = -1
                    continue
            if not running or running[0][0] > max_time:
                kernel.over = "max_submits" if not running and asked >= max_submits else "max_time"
                break
            end, job, worker, configuration, results = heappop(running)
            if hand < 0:
                hand, free = worker, end
            else:
                since[worker] = end
                idle.append(worker)
            if end_statuses:
                kernel._settle(job)
            told += 1
            left -= 1
            tell(job, configuration, results)
        else:
            kernel.over = "max_evals"
    finally:
        ends[:] = [entry[:3] for entry in running]
        kernel.num_submitted, kernel.num_completed = asked, told
        kernel.clock = kernel.ended = end
        kernel._decided = decided
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
