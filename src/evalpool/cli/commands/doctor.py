"""``evalpool doctor``: what works on this machine, and why the rest does not.

A backend works if a job was really run on it. Ray and MPI are tested in processes of their own, because starting
either changes the process that does it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from evalpool._launchers import child_environment
from evalpool._version import __version__
from evalpool.cli._exit_codes import FAILED
from evalpool.cli._lines import say
from evalpool.cli._options import add_json
from evalpool.cli._words import clean, paint, write_json
from evalpool.errors import BadArgument, EvalpoolError

__all__ = ["HELP", "SUMMARY", "add_options", "main"]

ANSWER_WITHIN = 60.0
"""Seconds that an engine may take to answer."""
PACKAGES = {
    "numpy": "", "cloudpickle": "", "pydantic": "", "psutil": "", "tqdm": "", "ray": "ray", "mpi4py": "mpi",
    "redis": "redis", "pandas": "pandas", "pyarrow": "pandas", "matplotlib": "plot", "optuna": "optuna", "rich": "live",
}  # fmt: skip
"""Packages that evalpool uses -> the extra that installs them; "" for those that are always installed."""
LAUNCHERS = ("mpirun", "mpiexec", "srun")


class Finding(NamedTuple):
    """Whether something works; None: not tried."""

    works: bool | None
    text: str


SUMMARY = "Report what works on this machine, and why the rest does not."
HELP = """\
examples:
  evalpool doctor
  evalpool doctor --backend ray --json
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--backend", metavar="NAME", action="append",
        help="only this one; the exit code is 1 if it does not work. May be repeated",
    )  # fmt: skip
    add_json(parser)


def main(arguments: argparse.Namespace) -> int:
    checks: dict[str, Callable[[], Finding]] = {
        "serial": lambda: _try_out("serial"),
        "thread": lambda: _try_out("thread"),
        "process": lambda: _try_out("process"),
        "ray": _ray,
        "mpi": _mpi,
    }
    asked = arguments.backend or list(checks)
    for name in asked:
        if name not in checks:
            raise BadArgument(f"--backend is {name!r}; doctor can check {', '.join(checks)}.")
    backends = {name: checks[name]() for name in asked}
    report = {
        "versions": _versions(),
        "cpus": _cpus(),
        "backends": {name: finding._asdict() for name, finding in backends.items()},
        "storages": {name: finding._asdict() for name, finding in _storages().items()},
        "environment": {
            name: _without_password(os.environ[name]) for name in sorted(os.environ) if name.startswith("EVALPOOL_")
        },
    }
    if arguments.json:
        write_json(report)
    else:
        _print(report, backends)
    needed = asked if arguments.backend else ["serial", "thread", "process"]
    return FAILED if any(backends[name].works is False for name in needed) else 0


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {
        "evalpool": __version__, "python": platform.python_version(), "system": platform.platform()
    }  # fmt: skip
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def _cpus() -> dict[str, int]:
    from evalpool.batch._cpus import usable_cpus

    return {"usable": usable_cpus(), "of the machine": os.cpu_count() or 1}


def _answer(job: Any) -> int:
    return 42 if job["x"] == 1 else 0


def _try_out(method: str) -> Finding:
    from evalpool.evaluator._evaluator import Evaluator

    try:
        with Evaluator.create(_answer, method, {"job_timeout": ANSWER_WITHIN}) as evaluator:
            evaluator.submit([{"x": 1}])
            (job,) = evaluator.gather()
    except (EvalpoolError, OSError) as error:
        return Finding(False, str(error))
    return Finding(True, "ran a job") if job.objective == 42 else Finding(False, job.error or str(job.objective))


def _ray() -> Finding:
    if importlib.util.find_spec("ray") is None:
        return Finding(False, 'Ray is not installed: pip install "evalpool[ray]"')
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        return Finding(None, "installed; RAY_ADDRESS is not set, so a cluster of this machine alone would be started")
    asked = _ask(
        "import ray; ray.init(log_to_driver=False, logging_level='error'); "
        "nodes = [node for node in ray.nodes() if node['Alive']]; "
        "print(len(nodes), 'nodes,', int(ray.cluster_resources().get('CPU', 0)), 'CPUs')"
    )
    if asked.works:
        return Finding(True, f"the cluster at {address} answers: {asked.text}")
    return Finding(False, f"the cluster at {address} (RAY_ADDRESS) does not answer: {asked.text}")


def _mpi() -> Finding:
    if importlib.util.find_spec("mpi4py") is None:
        return Finding(False, 'mpi4py is not installed: pip install "evalpool[mpi]"')
    launchers = [path for name in LAUNCHERS if (path := shutil.which(name))]
    library = _ask("from mpi4py import MPI; print(MPI.Get_library_version().splitlines()[0])")
    if not library.works:
        advice = "pip install mpich, or your cluster's module"
        return Finding(False, f"mpi4py finds no MPI library ({advice}): {library.text}")
    if not launchers:
        return Finding(False, f"{library.text}, but none of {', '.join(LAUNCHERS)} is on the PATH to start ranks")
    return Finding(None, f"{library.text}; start it by {launchers[0]} -n N python -m evalpool.mpi -m evalpool run ...")


def _ask(code: str) -> Finding:
    """Run a line of Python in a process of its own, and return the last line of its output."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=ANSWER_WITHIN,
            stdin=subprocess.DEVNULL,
            env=child_environment(),
        )
    except subprocess.TimeoutExpired:
        return Finding(False, f"no answer for {ANSWER_WITHIN:.0f} s")
    lines = (done.stdout if done.returncode == 0 else done.stderr or done.stdout).strip().splitlines()
    return Finding(done.returncode == 0, lines[-1].strip() if lines else f"exit code {done.returncode}")


def _storages() -> dict[str, Finding]:
    import sqlite3

    from evalpool.storage._mounts import network_file_system

    network = network_file_system(os.getcwd())
    if network is None:
        sqlite = Finding(True, f"SQLite {sqlite3.sqlite_version}; the working directory is on a disk of this machine")
    else:
        sqlite = Finding(False, f"the working directory is on {network}: use journal:///directory there")
    return {"sqlite": sqlite, "journal": Finding(True, "on every file system"), "redis": _redis()}


def _redis() -> Finding:
    if importlib.util.find_spec("redis") is None:
        return Finding(False, 'the client is not installed: pip install "evalpool[redis]"')
    url = os.environ.get("EVALPOOL_STORAGE", "")
    if not url.startswith(("redis://", "rediss://", "redis+unix://")):
        return Finding(None, "the client is installed; EVALPOOL_STORAGE names no server to ask")
    from evalpool.storage import storage_from_url

    try:
        with storage_from_url(url) as storage:
            return Finding(True, f"{storage!r} answers, with {len(storage.load_all_search_ids())} searches")
    except EvalpoolError as error:
        return Finding(False, str(error))


def _print(report: dict[str, Any], backends: dict[str, Finding]) -> None:
    versions, cpus = report["versions"], report["cpus"]
    say(f"evalpool {versions['evalpool']}, Python {versions['python']}, {versions['system']}")
    say(f"{cpus['usable']} usable CPUs of {cpus['of the machine']}")
    for title, findings in (("backends", backends), ("storages", _storages_of(report))):
        _title(title)
        for name, finding in findings.items():
            mark, style = {True: ("works", "green"), False: ("no", "red"), None: ("maybe", "yellow")}[finding.works]
            say(f"  {name:<9} {paint(f'{mark:<6}', style)} {clean(' '.join(finding.text.split()))}", indent=19)
    _title("packages")
    for package, extra in PACKAGES.items():
        found = versions[package] or paint(f'not installed: pip install "evalpool[{extra}]"', "dim")
        say(f"  {package:<12} {found}", indent=15)
    if report["environment"]:
        _title("environment")
        for name in report["environment"]:
            say(f"  {name}={clean(report['environment'][name])}", indent=4)


def _title(title: str) -> None:
    say()
    say(paint(title, "bold"))


def _storages_of(report: dict[str, Any]) -> dict[str, Finding]:
    return {name: Finding(**finding) for name, finding in report["storages"].items()}


def _without_password(text: str) -> str:
    """The text without the password that a URL may hold, because reports are sent to others."""
    scheme, mark, rest = text.partition("://")
    if not mark or "@" not in rest:
        return text
    return f"{scheme}://...@{rest.rpartition('@')[2]}"
