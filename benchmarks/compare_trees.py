"""Two source trees of evalpool side by side: what a change of structure costs, in pairs of alternating runs.

    git worktree add ../before v0.1
    python benchmarks/compare_trees.py ../before . [--pairs 7] [--only process sqlite] [--cpu]
    python benchmarks/compare_trees.py ../before . --only Ray MPI --mpi .venv-mpi-mpich


Each measurement is a fresh interpreter on one tree. The trees of a pair run one after the other, which of them first by
turns, so a machine whose speed drifts slows both. The table gives the median rate of each tree, and the median of new
over old pair by pair with its spread: below 1 the second tree is slower.

With `--cpu` the rates are jobs per second of CPU time, of this process and its workers together, which a busy machine
changes little. They do not include time in which one process waits for another.

The rows of MPI run on three ranks, with the launcher and the library of the prefix that `--mpi` names (`make test` puts
one of MPICH and one of Open MPI into this folder); without the option they are left out. On a busy machine they are
useless, because waiting ranks poll.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__)


def run(job: Any) -> float:
    return job["x"] * 2.0


def table(job: Any) -> dict[str, float]:
    return {"objective": job["x"], "runtime": 1.0 + job["x"]}


def configurations(count: int) -> Iterator[dict[str, Any]]:
    return ({"x": float(n), "y": 1.0, "z": "a"} for n in range(count))


def cpu_seconds() -> float:
    """CPU seconds of this process and of those processes that it has started and that still live."""
    import psutil

    # In microseconds for this process; for the others the system counts in hundredths of a second.
    return time.process_time() + sum(sum(each.cpu_times()[:2]) for each in psutil.Process().children(recursive=True))


CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": cpu_seconds}
clock = CLOCKS["wall"]


def dispatch(method: str, way: str, count: int, storage: Callable[[str], Any] | None = None) -> float:
    """Jobs a second on two workers: four in flight, or all at once."""
    from evalpool import Evaluator

    with tempfile.TemporaryDirectory() as directory:
        kept = None if storage is None else storage(directory)
        with Evaluator.create(run, method, {"num_workers": 2, "storage": kept}) as evaluator:
            evaluator.submit([{"x": 0.0}] * 50)
            assert {job.objective for job in evaluator.gather()} == {0.0}  # failures are fast, and would win
            everything = list(configurations(count))
            start = clock()
            if way == "bulk":
                evaluator.submit(everything)
                assert len(evaluator.gather("ALL")) == count
            else:
                left = iter(everything)
                evaluator.submit([next(left) for _ in range(4)])
                done = 0
                while done < count:
                    jobs = evaluator.gather("BATCH", 1)
                    done += len(jobs)
                    fresh = [found for _ in jobs if (found := next(left, None)) is not None]
                    if fresh:
                        evaluator.submit(fresh)
            rate = count / (clock() - start)
        if kept is not None:
            kept.close()
        return rate


def on_ray(way: str, count: int) -> float:
    """As `dispatch`, on a Ray of this machine."""
    import ray

    ray.init(
        "local",  # also where another Ray runs on this machine
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=80 * 1024 * 1024,
        _node_ip_address="127.0.0.1",
    )
    try:
        return dispatch("ray", way, count)
    finally:
        ray.shutdown()


def on_mpi(way: str, count: int) -> float | None:
    """As `dispatch`, on the ranks of this `mpirun`; None on those that only serve."""
    from mpi4py import MPI

    if MPI.COMM_WORLD.rank == 0:
        return dispatch("mpicomm", way, count)
    from evalpool import MPICommEvaluator

    with MPICommEvaluator(run):
        return None


def simulated(evaluator: str | None, count: int) -> float:
    """Evaluations a second of `simulate` on 64 virtual workers."""
    from evalpool import RandomSearch, simulate

    start = clock()
    simulate(
        RandomSearch({"x": (0.0, 9.0)}, seed=0), table, num_workers=64, max_evals=count, seed=0, evaluator=evaluator
    )
    return count / (clock() - start)


def sqlite(directory: str) -> Any:
    from evalpool.storage import SQLiteStorage

    return SQLiteStorage(f"{directory}/results.db")


def journal(directory: str) -> Any:
    from evalpool.storage import JournalStorage

    return JournalStorage(f"{directory}/results")


ROWS: dict[str, Callable[[], float | None]] = {
    "serial loop": lambda: dispatch("serial", "loop", 10_000),
    "serial bulk": lambda: dispatch("serial", "bulk", 20_000),
    "thread loop": lambda: dispatch("thread", "loop", 10_000),
    "thread bulk": lambda: dispatch("thread", "bulk", 20_000),
    "process loop": lambda: dispatch("process", "loop", 10_000),
    "process bulk": lambda: dispatch("process", "bulk", 40_000),
    "thread loop, sqlite": lambda: dispatch("thread", "loop", 1_000, sqlite),
    "process bulk, sqlite": lambda: dispatch("process", "bulk", 10_000, sqlite),
    "process bulk, journal": lambda: dispatch("process", "bulk", 10_000, journal),
    "simulate": lambda: simulated(None, 20_000),
    "simulate, serial evaluator": lambda: simulated("serial", 5_000),
    "Ray loop": lambda: on_ray("loop", 30_000),  # Ray takes seconds to start, so a second of jobs costs little
    "Ray bulk": lambda: on_ray("bulk", 20_000),
    "MPI loop": lambda: on_mpi("loop", 10_000),
    "MPI bulk": lambda: on_mpi("bulk", 40_000),
}


def measured(tree: Path, row: str, clock: str, mpi: Path | None) -> float:
    """One measurement in an interpreter of its own, or in three under `mpirun`, on that tree."""
    environment = {**os.environ, "PYTHONPATH": str(tree / "src")}
    python = [sys.executable]
    if row.startswith("MPI"):
        assert mpi is not None
        options = ["--allow-run-as-root", "--oversubscribe"] if (mpi / "bin" / "prterun").exists() else []
        python = [str(mpi / "bin" / "mpirun"), *options, "-n", "3", sys.executable]
        environment["MPI4PY_LIBMPI"] = str(next((mpi / "lib").glob("libmpi.so.[0-9]*")))
    command = [*python, str(HERE), str(tree), str(tree), "--measure", row, clock]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise SystemExit(f"{row} failed on {tree}:\n{done.stderr}")
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--only", nargs="+", default=[""], help="rows whose name holds one of these")
    parser.add_argument("--cpu", action="store_true", help="rates by CPU time: for a machine that others load")
    parser.add_argument("--mpi", type=Path, help="prefix of an MPI: bin/mpirun and lib/libmpi.so")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        import evalpool

        global clock
        row, kind = arguments.measure
        clock = CLOCKS[kind]

        assert Path(evalpool.__file__).is_relative_to((arguments.new / "src").resolve()), evalpool.__file__
        rate = ROWS[row]()
        if rate is not None:
            print(rate)
        return
    old, new = arguments.old.resolve(), arguments.new.resolve()
    kind, unit = ("cpu", "of CPU") if arguments.cpu else ("wall", "")
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} CPUs, {arguments.pairs} pairs; jobs a second {unit}\n")
    print("| what | old | new | new / old |\n|---|---|---|---|")
    for row in ROWS:
        if not any(name in row for name in arguments.only) or (row.startswith("MPI") and arguments.mpi is None):
            continue
        rates: dict[Path, list[float]] = {old: [], new: []}
        for turn in range(arguments.pairs):
            for tree in (old, new) if turn % 2 == 0 else (new, old):
                rates[tree].append(measured(tree, row, kind, arguments.mpi))
        ratios = sorted(b / a for a, b in zip(rates[old], rates[new], strict=True))
        print(
            f"| {row} | {statistics.median(rates[old]):,.0f} | {statistics.median(rates[new]):,.0f} | "
            f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} - {ratios[-1]:.2f}) |",
            flush=True,
        )


if __name__ == "__main__":
    main()
