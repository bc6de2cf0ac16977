"""evalpool on MPI ranks beside mpi4py.futures: jobs per second, for a job that does nothing.

Run ``mpirun -n 3 python benchmarks/bench_mpi.py [jobs] [repeats]``: one root and two workers, as in the other
benchmarks. It prints medians and the range; on a busy machine read the ratios, because both run in alternation.
`busy` is evalpool with ``busy_wait=True``. `idle` is the CPU time of the root while it waits.
"""

from __future__ import annotations

import concurrent.futures
import os
import platform
import statistics
import sys
import time
from typing import Any

from mpi4py import MPI
from mpi4py.futures import MPICommExecutor

from evalpool import MPICommEvaluator

CONFIGURATION = {"x": 1.0, "y": 2, "z": 3}
IN_FLIGHT = 4
CHUNK = 25
PEERS = {"futures": "mpi4py.futures", "map": f"map(chunksize={CHUNK}) of mpi4py.futures"}
Rates = dict[str, list[float]]


def nothing(job: Any) -> float:
    return 1.0


def wait_a_second(job: Any) -> float:
    time.sleep(1.0)
    return 1.0


def measure_evalpool(rates: Rates, name: str, jobs: int, **kwargs: Any) -> None:
    with MPICommEvaluator(nothing, **kwargs) as evaluator:
        if not evaluator.is_master:
            return
        evaluator.submit([CONFIGURATION] * 50)
        evaluator.gather()
        began = time.perf_counter()
        evaluator.submit([CONFIGURATION] * jobs)
        evaluator.gather()
        rates.setdefault(f"submit all, {name}", []).append(jobs / (time.perf_counter() - began))
        began = time.perf_counter()
        evaluator.submit([CONFIGURATION] * IN_FLIGHT)
        count = 0
        while count < jobs:
            done = evaluator.gather("BATCH", 1)
            count += len(done)
            evaluator.submit([CONFIGURATION] * len(done))
        evaluator.gather()
        rates.setdefault(f"search loop, {name}", []).append(count / (time.perf_counter() - began))


def measure_futures(rates: Rates, jobs: int) -> None:
    with MPICommExecutor(MPI.COMM_WORLD, root=0) as executor:
        if executor is None:
            return
        concurrent.futures.wait([executor.submit(nothing, CONFIGURATION) for _ in range(50)])
        began = time.perf_counter()
        concurrent.futures.wait([executor.submit(nothing, CONFIGURATION) for _ in range(jobs)])
        rates.setdefault("submit all, futures", []).append(jobs / (time.perf_counter() - began))
        began = time.perf_counter()
        pending = {executor.submit(nothing, CONFIGURATION) for _ in range(IN_FLIGHT)}
        count = 0
        while count < jobs:
            done, pending = concurrent.futures.wait(pending, return_when="FIRST_COMPLETED")
            count += len(done)
            pending |= {executor.submit(nothing, CONFIGURATION) for _ in done}
        concurrent.futures.wait(pending)
        rates.setdefault("search loop, futures", []).append(count / (time.perf_counter() - began))
        began = time.perf_counter()
        assert sum(executor.map(nothing, [CONFIGURATION] * jobs, chunksize=CHUNK)) == jobs
        rates.setdefault("submit all, map", []).append(jobs / (time.perf_counter() - began))


def idle_cpu() -> float | None:
    """CPU seconds of the root per second of waiting for a job."""
    with MPICommEvaluator(wait_a_second) as evaluator:
        if not evaluator.is_master:
            return None
        evaluator.submit([{}])
        used = time.process_time()
        evaluator.gather()
        return time.process_time() - used


def main() -> None:
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    rates: Rates = {}
    for _ in range(repeats):
        measure_evalpool(rates, "evalpool", jobs)
        measure_futures(rates, jobs)
    measure_evalpool(rates, "busy", jobs, busy_wait=True)
    idle = idle_cpu()
    if idle is None:
        return
    library = MPI.Get_library_version().split("\n")[0].rstrip("\0")
    print(f"{library}, Python {platform.python_version()}, {repeats} x {jobs} jobs")
    print(f"  load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs, these ranks included")
    for what, found in sorted(rates.items()):
        print(f"  {what:22} {statistics.median(found):9.0f} jobs/s ({min(found):.0f} to {max(found):.0f})")
    for what, peer in (("submit all", "futures"), ("submit all", "map"), ("search loop", "futures")):
        ratios = [
            ours / theirs for ours, theirs in zip(rates[f"{what}, evalpool"], rates[f"{what}, {peer}"], strict=True)
        ]
        print(f"  {what}: {statistics.median(ratios):.2f} x {PEERS[peer]} ({min(ratios):.2f} to {max(ratios):.2f})")
    print(f"  an idle root uses {100 * idle:.1f} % of a core")


if __name__ == "__main__":
    main()
