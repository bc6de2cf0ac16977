"""Programs with more open files than `select` can name, and workers that get none of them."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import evalpool

SOURCE = Path(evalpool.__file__).parent
BOUND = 120.0

EVERY_BACKEND = """
import os, resource
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from evalpool import Evaluator, profile
from evalpool.storage import SharedMemoryStorage

def open_files():
    return [fd for fd in map(int, os.listdir("/proc/self/fd")) if os.path.lexists(f"/proc/self/fd/{fd}")]

def run(job):
    job.record(1, 0.5)
    files = open_files()
    return {
        "objective": 2.0 * job["x"],
        "nulls": sum(os.readlink(f"/proc/self/fd/{fd}") == "/dev/null" for fd in files),
        "limit": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "inheritable": sum(os.get_inheritable(fd) for fd in files if fd > 2),
    }

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (1400, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    held = [open("/dev/null") for _ in range(1300)]
    os.set_inheritable(held[-1].fileno(), True)
    pool = ProcessPoolExecutor(1, get_context("spawn"))
    for method, function, options in (
        ("process", run, {"num_workers": 2, "storage": SharedMemoryStorage()}),
        ("thread", profile(memory=True)(run), {"num_workers": 2}),
        ("executor", run, {"num_workers": 1, "executor": pool}),
    ):
        with Evaluator.create(function, method, options) as evaluator:
            evaluator.submit([{"x": x} for x in range(4)])
            for job in sorted(evaluator.gather(), key=lambda job: job.number):
                print(method, *(job.output or {}).values(), (job.error or "")[-300:])
        if "storage" in options:
            options["storage"].close()
    pool.shutdown()
"""

AT_THE_LIMIT = """
import os, resource, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
from evalpool import Evaluator

def run(job):
    open(f"{job['place']}/{os.getpid()}", "x").close()
    deadline = time.monotonic() + 60.0
    while len(os.listdir(job["place"])) < 12:  # all of them run at the same time
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return {"objective": 1.0, "limit": resource.getrlimit(resource.RLIMIT_NOFILE)[0]}

if __name__ == "__main__":
    os.mkdir("begun")
    with Evaluator.create(run, "process", {"num_workers": 12}) as evaluator:
        evaluator.submit([{"x": x, "place": os.path.abspath("begun")} for x in range(12)])
        jobs = evaluator.gather()
    print({(job.objective, job.output and job.output["limit"], job.error) for job in jobs})
"""

NO_MORE = """
import logging, resource, sys, threading
resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))
from evalpool import Evaluator

given_up = threading.Event()

class Waits(logging.Handler):
    def emit(self, record):
        sys.stderr.write(record.getMessage() + "\\n")
        if "given up" in record.getMessage():
            given_up.set()

def run(job):
    return 1.0

if __name__ == "__main__":
    logging.getLogger("evalpool").addHandler(Waits())
    with Evaluator.create(run, "process", {"num_workers": 12}) as evaluator:
        evaluator.submit([{"x": x} for x in range(12)])
        print({job.objective for job in evaluator.gather()}, given_up.wait(60.0))
"""


def output_of(program: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "program.py"
    script.write_text(program)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=BOUND, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    return done


def enough_files() -> bool:
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return hard == resource.RLIM_INFINITY or hard >= 2000


linux = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks at open files by /proc")
many = pytest.mark.skipif(sys.platform == "win32" or not enough_files(), reason="the hard limit of open files is below")


@linux
@many
@pytest.mark.slow
def test_a_program_with_thousands_of_open_files_works_and_its_workers_get_none_of_them(tmp_path: Path) -> None:
    lines = [line.split() for line in output_of(EVERY_BACKEND, tmp_path).stdout.splitlines()]
    assert [line[:2] for line in lines] == [
        [method, str(2.0 * x)] for method in ("process", "thread", "executor") for x in range(4)
    ]
    for line in lines:
        assert int(line[2]) <= 2, "standard input, and what a worker opened itself"
        assert line[3] == "1400", "a worker has the limit that the program had set"
        if line[0] != "executor":  # its workers are the pool's
            assert line[4] == "0", "programs that a run-function starts get none of the worker's connections"


@linux
@pytest.mark.slow
def test_more_workers_than_the_soft_limit_of_open_files_allows_are_started_all_the_same(tmp_path: Path) -> None:
    done = output_of(AT_THE_LIMIT, tmp_path)
    assert done.stdout == "{(1.0, 64, None)}\n", done.stderr


@linux
@pytest.mark.slow
def test_where_the_hard_limit_forbids_more_workers_the_log_says_what_to_do_and_the_others_go_on(tmp_path: Path) -> None:
    done = output_of(NO_MORE, tmp_path)
    assert done.stdout == "{1.0} True\n", done.stderr
    assert "Too many open files" in done.stderr
    assert "ulimit -n" in done.stderr


def test_select_is_nowhere_in_the_package() -> None:
    """It takes no descriptor above 1 023; `poll`, `epoll` and the selectors of the standard library have no limit."""
    found = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr == "select" and getattr(node.value, "id", "") == "select":
                found.append(f"{path.relative_to(SOURCE)}:{node.lineno}")
            if isinstance(node, ast.ImportFrom) and node.module == "select":
                found.append(f"{path.relative_to(SOURCE)}:{node.lineno}")
    assert not found
