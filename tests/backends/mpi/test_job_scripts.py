"""The job scripts of docs/clusters.md under a real Slurm: told to end they suspend; submitted again they go on."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalpool.storage import JournalStorage
from services import missing

from .engines import ENGINES, ROOT
from .slurm import Slurm, running

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "clusters.md").read_text()
RUN = """
import os, threading
space = {"x": (0.0, 1.0)}
def run(job):
    if not os.path.exists("go-on"):
        open("begun", "w").close()
        threading.Event().wait(60)
    return job["x"]
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A Slurm that is up; where it cannot be had this skips, and fails in CI."""
    try:
        context = running(tmp_path_factory.mktemp("slurm"))
        slurm = context.__enter__()
    except (OSError, subprocess.SubprocessError) as error:
        missing("slurm", error)
    yield slurm
    context.__exit__(None, None, None)


def script_of(section: str) -> str:
    """The job script of a section of the page."""
    found = re.search(rf"## {section}\n.*?```bash\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def search_of_the_page() -> str:
    found = re.search(r"```python no-run\n(import signal, sys\n.*?)```", PAGE, re.DOTALL)
    assert found is not None
    search = found[1].replace("max_evals=10_000", "max_evals=8").replace("margin=120", "margin=1")
    return RUN + search


def wait_until(slurm: Slurm, job: str, directory: Path, file: str = "") -> None:
    """Until the job has made a file, or without one is over."""
    deadline = time.monotonic() + 60
    while not ((directory / file).exists() if file else slurm.is_over(job)):
        assert time.monotonic() < deadline, said(directory)
        assert not file or not slurm.is_over(job), said(directory)
        threading.Event().wait(0.1)


def said(directory: Path) -> str:
    out = directory / "out"
    return out.read_text() if out.exists() else ""


@pytest.mark.parametrize(
    ("section", "method", "options", "tell"),
    [
        ("Slurm and MPI", "mpicomm", ["--ntasks=3", "--cpus-per-task=1"], ["--signal=USR1"]),
        ("Slurm and Ray", "process", ["--nodes=1"], ["--batch", "--signal=TERM"]),
    ],
)
def test_a_job_script_of_the_page_suspends_when_told_and_goes_on_when_submitted_again(
    slurm: Slurm, tmp_path: Path, section: str, method: str, options: list[str], tell: list[str]
) -> None:
    text = script_of(section)
    if method == "process":  # one node, and no cluster of Ray: how the search is started and told to end stays
        lines = [line for line in text.splitlines() if "ray " not in line or line.startswith("python")]
        text = "\n".join(lines).replace("search.py ray", "search.py process").replace("head=$(", ": $(")
    script = tmp_path / "job.sh"
    script.write_text(text.replace("python ", f"{sys.executable} "))
    (tmp_path / "search.py").write_text(search_of_the_page())
    engine = ENGINES["mpich"].environment() if method == "mpicomm" else {}
    environment = {name: engine[name] for name in ("MPI4PY_LIBMPI", "PYTHONPATH") if name in engine}
    if method == "mpicomm":
        ENGINES["mpich"].install()

    first = slurm.submit(script, *options, "--time=5", "--signal=USR1@1", **environment)
    wait_until(slurm, first, tmp_path, "begun")
    slurm.run("scancel", *tell, first)
    wait_until(slurm, first, tmp_path)
    with JournalStorage(tmp_path / "results") as storage:
        assert {record.status.value for record in storage.records("0")} == {"READY"}, said(tmp_path)

    (tmp_path / "go-on").touch()
    second = slurm.submit(script, *options, "--time=5", "--signal=USR1@1", **environment)
    wait_until(slurm, second, tmp_path)
    with JournalStorage(tmp_path / "results") as storage:
        assert [record.status.value for record in storage.records("0")] == ["DONE"] * 8, said(tmp_path)
