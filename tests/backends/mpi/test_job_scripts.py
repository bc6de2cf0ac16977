"""The job scripts of docs/clusters.md under a real Slurm: told to end they suspend; submitted again they go on."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
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


@pytest.fixture
def ray_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for Ray, short enough for names of sockets; daemons that Slurm does not reach end with the test."""
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        yield Path(folder)
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("RAY_TMPDIR") == folder:
                    process.kill()
                    process.wait(10)


def test_the_job_script_for_ray_works_though_its_user_has_a_token_from_elsewhere(
    slurm: Slurm, tmp_path: Path, ray_folder: Path
) -> None:
    """On one node, so that the step for the other nodes is left out."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    text = re.sub(r"srun --nodes=\$\(\(.*?&\n", "", script_of("Slurm and Ray"), flags=re.DOTALL)
    text = text.replace("6379", str(port))
    text = text.replace("--head ", "--head --node-ip-address=127.0.0.1 --include-dashboard=false ")
    (tmp_path / "job.sh").write_text(text)
    (tmp_path / "search.py").write_text(search_of_the_page().replace('"go-on"', repr(str(tmp_path / "go-on"))))
    (tmp_path / "go-on").touch()
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("0123456789abcdef0123456789abcdef")
    environment = {
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{slurm.environment['PATH']}",
        "RAY_TMPDIR": str(ray_folder),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray listens on loopback only
    }
    job = slurm.submit(tmp_path / "job.sh", "--nodes=1", "--time=5", "--signal=USR1@1", **environment)
    wait_until(slurm, job, tmp_path)
    with JournalStorage(tmp_path / "results") as storage:
        assert [record.status.value for record in storage.records("0")] == ["DONE"] * 8, said(tmp_path)
