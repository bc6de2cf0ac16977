"""A program in which gevent has replaced the standard library: what cannot work there says so, and the rest works."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
from gevent import monkey
monkey.patch_all(**{patches})

from concurrent.futures import ProcessPoolExecutor
from evalpool import BackendError, Evaluator, ExecutorEvaluator, RayEvaluator, profile

def run(job):
    return job["x"] * 1.0

def refused(make):
    try:
        make()
    except BackendError as error:
        print(error)

if __name__ == "__main__":
    refused(lambda: Evaluator.create(run, "process"))
    refused(lambda: RayEvaluator(run))
    with ProcessPoolExecutor(1) as executor:
        refused(lambda: ExecutorEvaluator(run, executor=executor))
    for method, function in (("serial", run), ("thread", run), ("thread", profile(memory=True)(run))):
        with Evaluator.create(function, method, {{"num_workers": 1}}) as evaluator:
            try:
                evaluator.submit([{{"x": 1}}, {{"x": 2}}])
                print([job.error or job.objective for job in evaluator.gather()])
            except BackendError as error:
                print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("patches", "on_threads"),
    [
        ({}, "[1.0, 2.0]"),
        (
            {"thread": False, "os": False},
            "ThreadPoolEvaluator cannot work here: gevent has replaced the standard library's queue",
        ),
        ({"thread": False, "queue": False}, "[1.0, 2.0]"),
    ],
)
def test_what_gevent_would_hang_is_refused_with_the_reason(patches: dict[str, bool], on_threads: str) -> None:
    command = [sys.executable, "-c", PROGRAM.format(patches=patches)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    process, ray, executor, serial, thread, profiled = done.stdout.splitlines()
    assert process.startswith("ProcessPoolEvaluator cannot work here: gevent has replaced socket, select, ")
    assert ray.startswith("RayEvaluator cannot work here")
    assert executor.startswith("ExecutorEvaluator on a ProcessPoolExecutor cannot work here")
    assert serial == "[1.0, 2.0]"
    assert thread.startswith(on_threads)
    assert profiled.count("profile, where it measures memory, cannot work here: gevent") == 2 * (thread == serial)
