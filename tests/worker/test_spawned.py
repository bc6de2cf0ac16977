"""A run-function whose own pool spawns processes: they know the script's names, and the script is not run again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from evalpool import Evaluator

@dataclass
class Point:
    x: float

def half(point):
    return Point(point.x / 2)

def put_half(queue, point):
    queue.put(half(point))

def in_a_grandchild(point):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(half, (point,))

def halved(how, point):
    context = multiprocessing.get_context("forkserver" if how == "forkserver" else "spawn")
    if how == "executor":
        with ProcessPoolExecutor(1, mp_context=context) as executor:
            return executor.submit(half, point).result()
    if how == "process":
        queue = context.SimpleQueue()
        child = context.Process(target=put_half, args=(queue, point))
        child.start()
        found = queue.get()
        child.join()
        return found
    if how == "loky":
        import loky
        with loky.ProcessPoolExecutor(1) as executor:
            return executor.submit(half, point).result()
    if how == "grandchild":
        with ProcessPoolExecutor(1, mp_context=context) as executor:
            return executor.submit(in_a_grandchild, point).result()
    with context.Pool(2) as pool:
        return pool.map(half, [point])[0]

def run(job):
    found = halved(job["how"], Point(8.0))
    assert type(found) is Point
    return found.x

print("begins")
with Evaluator.create(run, "process", method_kwargs={"num_workers": 1}) as evaluator:
    for how in sys.argv[1:]:
        [job] = evaluator.submit([{"how": how}])
        evaluator.gather("ALL", timeout=60)
        print(how, job.error or job.objective)
"""


@pytest.mark.slow
@pytest.mark.parametrize("from_a_file", [True, False])
def test_processes_that_a_run_function_spawns_know_the_script(from_a_file: bool, tmp_path: Path) -> None:
    ways = ["spawn", "forkserver", "executor", "process", "loky", "grandchild"]
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py" if from_a_file else "-", *ways],
        cwd=tmp_path,
        input="" if from_a_file else SCRIPT,
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["begins", *(f"{way} 4.0" for way in ways)], done.stderr
    assert done.stderr == ""
