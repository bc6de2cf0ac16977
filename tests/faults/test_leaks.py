"""After many evaluators nothing has piled up: no file descriptor, thread, process, shared memory or temporary file."""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from evalpool import Evaluator, profile
from evalpool.callbacks import CSVLoggerCallback
from faults import culprits
from faults.programs import GONE, wait_until

pytestmark = pytest.mark.slow


OURS = ("evalpool", "psm_", f"sem.loky-{os.getpid()}-")
"""How names of shared memory begin that this program would leave; others are other programs'.

Those of Python's own semaphores are unlinked as they are made, and those of loky name the process that made them.
"""
EVALUATORS = 50
"""As many as show each kind of life twice; what piles up does so with each of its kind."""


def held() -> dict[str, Any]:
    """What this process holds that may leak."""
    gc.collect()
    return {
        "files": sorted(_open_files()),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "processes": sorted(child.pid for child in psutil.Process().children(recursive=True)),
        "shared memory": sorted(name for name in os.listdir("/dev/shm") if name.startswith(OURS)),
        "temporary files": sorted(os.listdir(tempfile.gettempdir())),
    }


def _open_files() -> Iterator[str]:
    for fd in os.listdir("/proc/self/fd"):
        try:
            yield f"{fd}: {os.readlink(f'/proc/self/fd/{fd}')}"
        except FileNotFoundError:  # of the listing itself
            continue


def live_once(method: str, number: int, folder: Path) -> None:
    """One evaluator's life, each with a little of what may go wrong."""
    kwargs: dict[str, Any] = {"num_workers": 1 + (number % 10 == 9)}
    if number % 4 == 1:
        kwargs["job_timeout"] = 30.0
    if number % 4 == 2:
        kwargs["callbacks"] = [CSVLoggerCallback(folder / "results.csv")]
    run: Any = culprits.mostly_harmless
    if number % 25 == 3:
        run = profile(memory=True)(run)
    with Evaluator.create(run, method, kwargs) as evaluator:
        deed = {"do": "die"} if method == "process" and number % 10 == 5 else {"x": 1}
        evaluator.submit([deed, {"x": 2}])
        jobs = evaluator.gather("ALL" if number % 3 else "BATCH")
        assert jobs
        evaluator.submit([{"x": 3}] * (number % 3))


@pytest.mark.parametrize("method", ["serial", "thread", "process"])
def test_nothing_piles_up_over_many_evaluators(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "temporary"  # other programs of this host make files in the common directory
    own.mkdir()
    monkeypatch.setenv("TMPDIR", str(own))
    monkeypatch.setattr(tempfile, "tempdir", None)
    for number in range(26):  # whatever is loaded or opened once, is
        if number < 6 or number % 25 == 3:
            live_once(method, number, tmp_path)
    before = held()
    for number in range(EVALUATORS):
        live_once(method, number, tmp_path)
    with contextlib.suppress(AssertionError):  # what follows says what is left
        wait_until(lambda: not _more(before, held()) or _more(before, held(), than=10), GONE)
    more = _more(before, held())
    assert not more, (more, before)


def _more(before: dict[str, Any], now: dict[str, Any], than: int = 0) -> dict[str, Any]:
    """What there is more of, by more than may still be ending; less, if something of the first ones was ending."""
    return {name: now[name] for name in before if len(now[name]) > len(before[name]) + than}


def test_an_evaluator_that_is_forgotten_ends_with_the_interpreter_and_not_before(
    program: Callable[..., Any],
) -> None:
    search = program(
        """
        import gc
        def forget():
            evaluator = Evaluator.create(culprits.mostly_harmless, "process", {"num_workers": 1})
            evaluator.submit([{"x": 1}])
            return evaluator.gather()[0].objective
        say("result", forget())
        gc.collect()
        say("known")
        """
    )
    assert search.expect("result") == "10.0"
    search.expect("known")
    assert search.wait() == 0
    assert search.stderr() == ""


def test_no_file_of_the_caller_reaches_a_worker(make: Callable[..., Any], tmp_path: Path) -> None:
    def run(job: Any) -> Any:
        import os

        return {"files": [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]}

    secret = tmp_path / "secret"
    with secret.open("w") as file:
        os.set_inheritable(file.fileno(), False)
        evaluator = make(run, "process", num_workers=2, job_type="task")
        evaluator.submit([{}])
        (job,) = evaluator.gather()
    assert str(secret) not in job.output["files"]
