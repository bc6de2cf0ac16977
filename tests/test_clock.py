"""The clocks that evalpool goes by are nobody's to freeze."""

from __future__ import annotations

import ast
import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from freezegun import freeze_time

import evalpool
from evalpool import Evaluator

SOURCE = Path(evalpool.__file__).parent
CLOCKS = {"monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "time", "time_ns"}
LONG = 60.0


def test_no_file_but_one_reads_a_clock_of_the_module_time() -> None:
    found = []
    for path in SOURCE.rglob("*.py"):
        if path.parent.name == "testing":  # the contract suites are programs of their own
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "time":
                names = [node.attr]
            elif isinstance(node, ast.ImportFrom) and node.module == "time":
                names = [alias.name for alias in node.names]
            else:
                continue
            found += [f"{path.name}:{node.lineno}: time.{name}" for name in names if name in CLOCKS]
    assert [each for each in found if not each.startswith("_clock.py:")] == [], "use evalpool._clock"


def at_once(job: Any) -> float:
    return float(job["x"])


async def soon(job: Any) -> float:
    await asyncio.sleep(0.01)
    return float(job["x"])


def hangs(job: Any) -> None:
    time.sleep(LONG)


async def hangs_async(job: Any) -> None:
    await asyncio.sleep(LONG)


def ends_when_told(job: Any) -> None:
    while not job.stopped():
        time.sleep(0.01)


PLACES = [("serial", hangs_async), ("thread", ends_when_told), ("process", hangs)]


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize(("method", "hang"), PLACES)
def test_every_limit_is_kept_while_the_programs_clock_stands_still(method: str, hang: Callable[..., Any]) -> None:
    workers = {"num_workers": 1}
    before = time.time()
    with freeze_time("2020-01-01"):
        assert time.time() < before  # it stands still
        with Evaluator.create(at_once, method=method, method_kwargs=workers) as evaluator:
            evaluator.submit([{"x": 1}, {"x": 2}])
            jobs = evaluator.gather()
            assert sorted(job.objective for job in jobs) == [1.0, 2.0]
            ends = [job.metadata["timestamp_end"] for job in jobs]
        with Evaluator.create(hang, method=method, method_kwargs={**workers, "job_timeout": 0.2}) as evaluator:
            evaluator.submit([{}])
            assert [job.objective for job in evaluator.gather()] == ["F_timeout"]
        with Evaluator.create(hang, method=method, method_kwargs=workers) as evaluator:
            evaluator.submit([{}])
            assert evaluator.gather("BATCH", timeout=0.1) == []
            assert asyncio.run(evaluator.agather("BATCH", timeout=0.1)) == []
            evaluator.timeout = 0.2
            assert [job.objective for job in evaluator.gather()] == ["F_CANCELLED"]
    assert all(0 < end < LONG for end in ends)  # seconds since the search began, in real time
    assert max(ends) > min(ends)


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("method", ["serial", "thread", "process"])
def test_clocks_that_are_frozen_while_jobs_run_hold_up_nothing(method: str) -> None:
    evaluator = Evaluator.create(soon, method=method, method_kwargs={"num_workers": 2})
    evaluator.submit([{"x": x} for x in range(6)])
    first = evaluator.gather("BATCH", 2)
    frozen = freeze_time("2020-01-01")
    frozen.start()
    try:
        second = evaluator.gather("BATCH", 1, timeout=LONG)
        evaluator.submit([{"x": x} for x in range(6, 9)])
    finally:
        frozen.stop()
    third = evaluator.gather("ALL", timeout=LONG)
    evaluator.submit([{"x": x} for x in range(9, 12)])
    with freeze_time("2035-01-01", auto_tick_seconds=15):
        evaluator.close()  # while jobs run
    assert sorted(job.objective for job in first + second + third) == [float(x) for x in range(9)]
