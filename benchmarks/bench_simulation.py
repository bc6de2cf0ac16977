"""What simulated time costs: the kernel against a bare heap loop, the wrapper against mfhpo-simulator.

    python benchmarks/bench_simulation.py [--quick]

The bare loop is what one would write by hand for an optimiser that asks and tells: a heap of ends, and nothing else;
no limits, no overhead, no trace, no fixed order of equal ends. Both
ask the same optimiser and call the same run-function, in
alternation. The kernel is measured twice: as the loop that it offers for a run-function that is called right here
(`drive`), and by the single steps with which the evaluators drive it.

The wrapper is called from 4 processes that do nothing else, ours and mfhpo-simulator's: from the first start of a
process until the last has ended, and, for ours, at several numbers of evaluations. Between two evaluations lie two
wake-ups of a process, so the rate depends on the machine: the table shows beside it what a bare ping-pong over the same
kind of socket reaches. Only one process at a time has something to do. So both are also measured on one CPU, at
real-time priority where that is permitted: this shows what an evaluation costs without other programs, and without
waking another CPU.

Ask and tell through the wrapper writes its log as it goes; mfhpo-simulator writes at the end. `simulate` gives each
run-function a running job, standardises what it returns, and keeps the schedule; with an evaluator, each job takes the
whole path of a job besides.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import heapq
import multiprocessing
import os
import random
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

from _tables import alternate, heading, row

from evalpool import simulate
from evalpool.simulation import ObjectiveFuncWrapper, _drive
from evalpool.simulation._kernel import ASK, Kernel

SENTINEL = 1 << 30
ASKED = {"simulate, in this thread": 3, 'simulate, evaluator="serial"': 1}
_rng = random.Random(0)
DRAWN = [
    _rng.expovariate(1.0) + 0.01 for _ in range(16_384)
]  # more than there are workers, so that no two ends are equal


class Optimizer:
    """Three parameters at random; remembers the best."""

    def __init__(self) -> None:
        self._rng = random.Random(1)
        self.best = float("inf")

    def ask(self) -> dict[str, float]:
        draw = self._rng.random
        return {"lr": draw(), "layers": draw(), "momentum": draw()}

    def tell(self, configuration: dict[str, float], results: dict[str, float]) -> None:
        if results["loss"] < self.best:
            self.best = results["loss"]

    def hear(self, job: int, configuration: dict[str, float], results: dict[str, float]) -> None:
        """As `tell`, for `drive`."""
        if results["loss"] < self.best:
            self.best = results["loss"]


class TheirOptimizer(Optimizer):
    """The same in mfhpo-simulator's form, which is also the wrapper's."""

    def ask(self) -> Any:
        return super().ask(), None, None

    def tell(self, eval_config: Any, results: Any, *, fidels: Any = None, config_id: Any = None) -> None:
        super().tell(eval_config, results)


class Objective:
    """Answers from a table."""

    def __init__(self) -> None:
        self._calls = 0

    def run(self, configuration: dict[str, float]) -> dict[str, float]:
        self._calls += 1
        return {"loss": configuration["lr"], "runtime": DRAWN[self._calls & 16_383]}

    def __call__(self, eval_config: dict[str, float], fidels: Any = None, seed: Any = None) -> dict[str, float]:
        return self.run(eval_config)


def bare(workers: int, count: int) -> float:
    """The loop that one writes by hand."""
    optimizer, run = Optimizer(), Objective().run
    ask, tell = optimizer.ask, optimizer.tell
    heap: list[Any] = []
    number = done = 0
    for worker in range(workers):
        configuration = ask()
        results = run(configuration)
        heapq.heappush(heap, (results["runtime"], number, worker, configuration, results))
        number += 1
    while True:
        end, _, worker, configuration, results = heapq.heappop(heap)
        tell(configuration, results)
        done += 1
        if done == count:
            return float(end)
        configuration = ask()
        results = run(configuration)
        heapq.heappush(heap, (end + results["runtime"], number, worker, configuration, results))
        number += 1


def drive(workers: int, count: int) -> float:
    optimizer = Optimizer()
    kernel = Kernel(workers, max_evals=count)
    _drive.drive(kernel, optimizer.ask, Objective().run, optimizer.hear)
    return kernel.clock


def steps(workers: int, count: int) -> float:
    optimizer, run = Optimizer(), Objective().run
    kernel, jobs = Kernel(workers, max_evals=count), {}
    while True:
        answer = kernel.poll()
        if answer >= 0:
            optimizer.tell(*jobs.pop(answer))
        elif answer == ASK:
            configuration = optimizer.ask()
            job = kernel.ask(0.0)
            results = run(configuration)
            kernel.finish(job, results["runtime"])
            jobs[job] = (configuration, results)
        else:
            return kernel.clock


def rate(loop: Callable[[int, int], float], workers: int, count: int) -> float:
    gc.collect()
    start = time.perf_counter()
    loop(workers, count)
    return count / (time.perf_counter() - start)


def kernels(quick: bool) -> None:
    count, repeats = (20_000, 3) if quick else (100_000, 7)
    print(heading("Kernel, evaluations per second"))
    print("| | evalpool | bare heap loop | ratio (least - most) | asked |\n|---|---|---|---|---|")
    for workers in (4, 1024, 10_000):
        assert bare(workers, count) == drive(workers, count) == steps(workers, count)
        found = alternate(
            {loop.__name__: functools.partial(rate, loop, workers, count) for loop in (bare, drive, steps)}, repeats
        )
        print(row(f"drive, {workers:,} workers", found["drive"], found["bare"], 0.7, "/s"))
        print(row(f"single steps, {workers:,} workers", found["steps"], found["bare"], None, "/s"))


def million(quick: bool) -> None:
    count, workers = (100_000 if quick else 1_000_000), 10_000
    optimizer, kernel, objective = Optimizer(), Kernel(10_000, max_evals=count), Objective()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, marks, told = time.perf_counter(), [], 0

    def tell(job: int, configuration: Any, results: Any) -> None:
        nonlocal told
        told += 1
        optimizer.tell(configuration, results)
        if told % (count // 4) == 0:
            marks.append(time.perf_counter() - start)

    _drive.drive(kernel, optimizer.ask, objective.run, tell)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    quarters = [(after - at) * 4e6 / count for at, after in zip([0.0, *marks], marks, strict=False)]
    print(
        f"{count:,} evaluations on {workers:,} virtual workers: {marks[-1]:.2f} s, {grown / count:.0f} bytes each; "
        f"microseconds per evaluation by quarter: {', '.join(f'{each:.2f}' for each in quarters)}\n"
    )


# Callers in processes.


def call(wrapper: Any, first: int) -> None:
    number = first
    while wrapper(eval_config={"lr": number})["loss"] < SENTINEL:
        number += 4


def processes(make: Callable[[str, int], Any], count: int) -> float:
    with tempfile.TemporaryDirectory() as directory:
        before = os.getcwd()
        os.chdir(directory)
        try:
            wrapper = make(directory, count)
            context = multiprocessing.get_context("fork")
            callers = [context.Process(target=call, args=(wrapper, first)) for first in range(4)]
            start = time.perf_counter()
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join()
            elapsed = time.perf_counter() - start
            if hasattr(wrapper, "close"):
                wrapper.close()
        finally:
            os.chdir(before)
    return count / elapsed


def ours(directory: str, count: int) -> Any:
    return ObjectiveFuncWrapper(Objective(), n_workers=4, n_evals=count, n_actual_evals_in_opt=count + 4)


def theirs(directory: str, count: int) -> Any:
    from benchmark_simulator import ObjectiveFuncWrapper as Theirs

    warnings.simplefilter("ignore")
    return Theirs(
        obj_func=Objective(), n_workers=4, n_evals=count, n_actual_evals_in_opt=count + 4, save_dir_name="run"
    )


def theirs_bounded(count: int) -> float:
    """Measure mfhpo-simulator in a program of its own, because it may hang."""
    program = (
        f"import sys; sys.path[:0] = {[os.path.dirname(os.path.abspath(__file__)), *sys.path]!r}; "
        f"from bench_simulation import processes, theirs; print(processes(theirs, {count}))"
    )
    for _ in range(3):
        try:
            done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
            return float(done.stdout)
        except (subprocess.TimeoutExpired, ValueError):
            continue
    return float("nan")


def ping_pong(count: int) -> float:
    """A message to one of four processes, and its answer, one after the other; nothing else."""
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(4)]
    children = []
    for _, its in pairs:
        child = os.fork()
        if not child:
            for other, _ in pairs:
                other.close()
            while its.recv(256) != b"end":
                its.send(b"x" * 45)
            os._exit(0)
        its.close()
        children.append(child)
    start = time.perf_counter()
    for number in range(count):
        mine = pairs[number % 4][0]
        mine.send(b"x" * 22)
        mine.recv(256)
    elapsed = time.perf_counter() - start
    for (mine, _), child in zip(pairs, children, strict=True):
        mine.send(b"end")
        os.waitpid(child, 0)
        mine.close()
    return count / elapsed


def on_one_cpu(measure: Callable[[], float]) -> float:
    """Measure in a process that stays on one CPU, with all that it starts; before other programs if it may."""
    reader, writer = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=_measure_on_one_cpu, args=(measure, writer))
    child.start()
    writer.close()
    found: float = reader.recv()
    child.join()
    return found


def _measure_on_one_cpu(measure: Callable[[], float], writer: Any) -> None:
    if sys.platform == "linux":
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    writer.send(measure())


def wrappers(quick: bool) -> None:
    repeats = 2 if quick else 7
    print("\n" + heading("Wrapper over 4 processes, evaluations per second", "mfhpo-simulator"))
    print("| | evalpool | mfhpo-simulator | ratio (least - most) | asked |\n|---|---|---|---|---|")
    found = alternate(
        {
            "ours": lambda: processes(ours, 500),
            "theirs": lambda: theirs_bounded(500),
            "socket": lambda: ping_pong(5000),
        },
        repeats,
    )
    print(row("500 evaluations, processes started", found["ours"], found["theirs"], 100, "/s"))
    print(row("a bare ping-pong over a socket", found["socket"], found["theirs"], None, "/s"))
    print("\n| evaluations; 40 microseconds each are asked | microseconds each | on one CPU, first |\n|---|---|---|")

    def both(name: str, measure: Callable[[], float]) -> None:
        found = alternate({"free": measure, "alone": lambda: on_one_cpu(measure)}, repeats)
        print(f"| {name} | {_each(found['free'])} | {_each(found['alone'])} |", flush=True)

    for count in (1000, 10_000) if quick else (1000, 10_000, 100_000):
        both(f"{count:,}", functools.partial(processes, ours, count))
    both("10,000 times ping-pong", functools.partial(ping_pong, 10_000))


def _each(rates: list[float]) -> str:
    """Microseconds of one evaluation at these rates: median, least and most."""
    return f"{1e6 / statistics.median(rates):.1f} ({1e6 / max(rates):.1f} - {1e6 / min(rates):.1f})"


def ask_and_tell(quick: bool) -> None:
    count, repeats = (2000, 2) if quick else (5000, 7)
    print("\n" + heading("Ask and tell, evaluations per second", "mfhpo-simulator"))
    print("| | evalpool | mfhpo-simulator | ratio (least - most) | asked |\n|---|---|---|---|---|")

    from benchmark_simulator import ObjectiveFuncWrapper as Theirs

    warnings.simplefilter("ignore")
    for workers in (4, 64, 1024):
        theirs = functools.partial(by_wrapper, Theirs, workers, count)
        measures = {
            "simulate, in this thread": functools.partial(by_simulate, None, workers, count),
            'simulate, evaluator="serial"': functools.partial(by_simulate, "serial", workers, count),
            "the wrapper": functools.partial(by_wrapper, ObjectiveFuncWrapper, workers, count),
        }
        try:
            theirs()
        except TimeoutError:  # it asks that the whole first round of decisions is shorter than any evaluation
            for name, found in alternate(measures, repeats).items():
                print(f"| {name}, {workers:,} workers | {statistics.median(found):,.0f} /s | it refuses | | |")
            continue
        found = alternate({**measures, "theirs": theirs}, repeats)
        for name in measures:
            print(row(f"{name}, {workers:,} workers", found[name], found["theirs"], ASKED.get(name), "/s"))
    print("\n| evaluations by simulate, 1,000 workers | microseconds each |\n|---|---|")
    for size in (1000, 10_000, 100_000) if quick else (1000, 10_000, 100_000, 1_000_000):
        print(
            f"| {size:,} | {1e6 / max(by_simulate(None, 1000, size) for _ in range(1 if size > 100_000 else 3)):.1f} |"
        )


def by_wrapper(make: Any, workers: int, count: int) -> float:
    with tempfile.TemporaryDirectory() as directory:
        before = os.getcwd()
        os.chdir(directory)
        try:
            settings = {"n_workers": workers, "n_evals": count, "n_actual_evals_in_opt": count + workers}
            wrapper = make(obj_func=Objective(), ask_and_tell=True, save_dir_name="run", **settings)
            optimizer = TheirOptimizer()
            start = time.perf_counter()
            wrapper.simulate(optimizer)
            return count / (time.perf_counter() - start)
        finally:
            os.chdir(before)


def by_simulate(evaluator: Any, workers: int, count: int) -> float:
    table = Objective()

    def run(job: Any) -> dict[str, float]:
        results = table.run(job)
        results["objective"] = results["loss"]
        return results

    start = time.perf_counter()
    simulate(TheirOptimizer(), run, num_workers=workers, max_evals=count, evaluator=evaluator)
    return count / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    million(quick)  # first: memory that others have given back would hide what it takes
    kernels(quick)
    try:
        import benchmark_simulator  # noqa: F401
    except ImportError:
        print("\nmfhpo-simulator is not installed: pip install -r benchmarks/requirements.txt")
        return
    wrappers(quick)
    ask_and_tell(quick)
    shutil.rmtree("mfhpo-simulator-info", ignore_errors=True)


if __name__ == "__main__":
    main()
