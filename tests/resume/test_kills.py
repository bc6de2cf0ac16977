"""Searches whose process is killed with SIGKILL at random moments."""

from __future__ import annotations

import json
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

import services
from evalpool.jobs._seeds import job_seed
from evalpool.outcomes import JobStatus
from evalpool.storage import Storage, storage_from_url
from resume.processes import Program, program

MAX_EVALS = 40
METHODS = ["process", "thread", "serial"]

pytestmark = pytest.mark.slow


def _kill_in_the_middle(search: Program, rng: random.Random) -> list[int]:
    """Kill it while it starts, or anywhere in one of its evaluations; return the numbers of those it had gathered."""
    said = [search.expect("gathered") for _ in range(rng.randrange(MAX_EVALS // 4))]
    threading.Event().wait(rng.random() * (0.01 if said else 0.8))
    search.kill()
    # One that was killed while it started may have been fast enough to end: then it has said its summary, too.
    said += [line.removeprefix("gathered ") for line in search.rest() if line.startswith("gathered ")]
    return [int(number) for number in said]


def _check_end(summary: dict[str, Any], storage: Storage, gathered: set[int]) -> None:
    jobs = summary["jobs"]
    ids = [job["id"] for job in jobs]
    assert len(ids) == len(set(ids)) == MAX_EVALS
    assert summary["told"] == ids  # the restored ones included, each once
    assert {_number(job) for job in jobs if job["restored"]} >= gathered
    # Nothing that the first program did is later than what the second did, and its numbers come first.
    fresh = [job for job in jobs if not job["restored"] and job["output"]["attempt"] == 1]
    if fresh:
        before = [job for job in jobs if job not in fresh]
        assert max((job["submit"] for job in before), default=0.0) < min(job["submit"] for job in fresh)
        assert max(map(_number, before), default=-1) < min(map(_number, fresh))
    for job in jobs:
        assert job["status"] == "DONE"
        assert job["submit"] <= job["end"]
        assert job["seed"] == job["output"]["seed"] == job_seed(summary["seed"], _number(job))
    records = storage.results()
    assert [record.job_id for record in records] == [job["id"] for job in sorted(jobs, key=_number)]
    assert {record.status for record in records} == {JobStatus.DONE}
    assert all(record.timestamp_gather is not None for record in records)
    (search_id,) = storage.load_all_search_ids()
    assert storage.load_search_value(search_id, "seed") == summary["seed"]


def _number(job: dict[str, Any]) -> int:
    return int(job["id"].partition(".")[2])


def _survives_kills(url: str, rng: random.Random, kills: int, method: str) -> None:
    gathered: set[int] = set()
    for _ in range(kills):
        with program("search", url, method, MAX_EVALS) as search:
            gathered.update(_kill_in_the_middle(search, rng))
    with program("search", url, method, MAX_EVALS) as search:
        summary = json.loads(search.skip_to("summary"))
        with storage_from_url(url) as storage:
            _check_end(summary, storage, gathered)


@pytest.mark.parametrize("method", METHODS)
def test_a_search_killed_at_any_moment_ends_with_exactly_its_evaluations(url: str, method: str) -> None:
    _survives_kills(url, random.Random(method), 1, method)


def test_a_search_killed_twice_in_a_row_as_well(url: str) -> None:
    _survives_kills(url, random.Random(7), 2, "thread")


@pytest.mark.stress
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(100, 125))
def test_searches_killed_again_and_again(url: str, seed: int) -> None:
    rng = random.Random(seed)
    _survives_kills(url, rng, rng.randrange(1, 4), rng.choice(METHODS))


def _loses_nothing_that_had_finished(
    url: str, rng: random.Random, method: str, slow_flushes: Path | None = None
) -> None:
    late = _Lateness()
    with ExitStack() as stack:
        thinking = stack.enter_context(program("think", url, method))
        said = [thinking.expect("finished") for _ in range(rng.randrange(5, 200))]
        if slow_flushes is not None:
            has_slept = stack.enter_context(_slow_flushes(thinking.process.pid, slow_flushes))
            while not has_slept():
                said.append(thinking.expect("finished"))
        pause, enough = threading.Event(), time.monotonic() + 0.1 + rng.random() * 0.1
        with late:
            while time.monotonic() < enough + late.most:
                pause.wait(0.01)
        killed = time.monotonic()
        thinking.kill()
        said += [line.removeprefix("finished ") for line in thinking.rest()]
    with storage_from_url(url) as storage:
        done = {record.number for record in storage.results() if record.status is JobStatus.DONE}
    finished = [line.split() for line in said]
    promised = 0.1 + (FLUSH if slow_flushes else 0.0)
    known = {int(number) for number, when in finished if float(when) < killed - promised - late.most}
    assert len(known) >= 5
    assert known <= done


FLUSH = 0.3


@contextmanager
def _slow_flushes(pid: int, said: Path) -> Iterator[Callable[[], bool]]:
    """Each flush to the disk of this process takes longer, as on a busy one; what is yielded says whether one has."""
    inject = ["-e", "trace=fdatasync", "-e", f"inject=fdatasync:delay_enter={int(FLUSH * 1e6)}"]
    try:
        tracer = subprocess.Popen(
            ["strace", "-f", "-q", *inject, "-o", str(said), "-p", str(pid)], stderr=subprocess.PIPE
        )
    except FileNotFoundError as error:
        services.missing("strace", error)

    def has_slept() -> bool:
        if tracer.poll() is not None:
            assert tracer.stderr is not None
            services.missing("strace", OSError(tracer.stderr.read().decode()))
        return said.exists() and "(DELAYED)" in said.read_text()

    try:
        yield has_slept
    finally:
        tracer.terminate()
        tracer.wait(60)
        assert tracer.stderr is not None
        tracer.stderr.close()


def test_while_flushes_are_slow_what_finished_a_flush_and_a_tenth_of_a_second_before_the_kill_is_kept(
    tmp_path: Path,
) -> None:
    """As the page says: outcomes that end while a flush is under way are written when it is over."""
    url = f"journal:///{tmp_path}/runs"
    _loses_nothing_that_had_finished(url, random.Random(0), "process", tmp_path / "strace")


class _Lateness:
    """How late a thread of this machine wakes up at the most while the block runs: others use it as well."""

    def __init__(self) -> None:
        self.most = 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            began = time.monotonic()
            ended = self._end.wait(0.005)
            self.most = max(self.most, time.monotonic() - began - 0.005)
            if ended:
                return


@pytest.mark.parametrize("method", ["process", "thread"])
def test_what_finished_a_tenth_of_a_second_before_the_kill_is_kept(url: str, method: str) -> None:
    """The search was thinking: it had gathered nothing."""
    _loses_nothing_that_had_finished(url, random.Random(method), method)


@pytest.mark.stress
@pytest.mark.parametrize("seed", range(20))
def test_what_finished_before_twenty_kills_is_kept(url: str, seed: int) -> None:
    rng = random.Random(seed)
    _loses_nothing_that_had_finished(url, rng, rng.choice(["process", "thread"]))
