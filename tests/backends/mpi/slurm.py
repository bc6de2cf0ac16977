"""A real Slurm of one node for the tests: unpacked in a folder, on loopback, without accounts or cgroups."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

PACKAGES = (
    "slurmctld", "slurmd", "slurm-client", "slurm-wlm-basic-plugins", "libmunge2", "libhwloc15", "libnuma1",
    "libjson-c5", "liblua5.1-0", "libyaml-0-2", "liblz4-1",
)  # fmt: skip
BOUND = 60.0

# MPICH names the memory that ranks share after the number of the Slurm job, and a job that was killed leaves it behind:
# the next job of that number on this host, of another Slurm or of this test run again, would wait in it for ever.
CONFIGURATION = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
FirstJobId={first_job}
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
SlurmctldPort={controller_port}
SlurmdPort={node_port}
PluginDir={root}/usr/lib/x86_64-linux-gnu/slurm-wlm
StateSaveLocation={run}/state
SlurmdSpoolDir={run}/spool
SlurmctldPidFile={run}/controller.pid
SlurmdPidFile={run}/node.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
MpiDefault=pmi2
ReturnToService=2
KillWait=1
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=10000
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 State=UNKNOWN
PartitionName=p Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


class Slurm:
    """Its commands."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def run(self, *command: str, cwd: Path | None = None, **more: str) -> str:
        """What a command prints. Raises `CalledProcessError`."""
        return subprocess.run(
            command, cwd=cwd, env={**self.environment, **more}, check=True, timeout=BOUND, text=True,
            stdout=subprocess.PIPE,
        ).stdout  # fmt: skip

    def submit(self, script: Path, *options: str, **more: str) -> str:
        """Submit a job script; its number. Its output goes to `out` beside it."""
        command = ["sbatch", "--parsable", f"--output={script.parent}/out", "--open-mode=append", *options, str(script)]
        return self.run(*command, cwd=script.parent, **more).strip()

    def is_over(self, job: str) -> bool:
        """Has the job ended?"""
        return self.run("squeue", "--noheader", "--jobs", job, "--states=all", "--format=%T").strip() in (
            "", "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL",
        )  # fmt: skip


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Slurm]:
    """Slurm in a folder. Raises `OSError` or `SubprocessError` where it cannot be had."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise OSError("Slurm is unpacked by apt-get and dpkg, and its daemons run as root")
    root, run = directory / "root", directory / "run"
    for made in (directory / "packages", run / "state", run / "spool"):
        made.mkdir(parents=True)
    packages = directory / "packages"
    subprocess.run(["apt-get", "download", "-qq", *PACKAGES], cwd=packages, check=True, timeout=120,
                   capture_output=True)  # fmt: skip
    for package in packages.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, root], check=True, timeout=60)
    ports = []
    with contextlib.ExitStack() as sockets:
        for _ in range(2):
            free = sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
            ports.append(free.getsockname()[1])
    host = socket.gethostname().partition(".")[0]
    (directory / "slurm.conf").write_text(
        CONFIGURATION.format(
            host=host,
            root=root,
            run=run,
            controller_port=ports[0],
            node_port=ports[1],
            first_job=1 + secrets.randbelow(60_000_000),
        )
    )
    libraries = f"{root}/usr/lib/x86_64-linux-gnu"
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": f"{libraries}/slurm-wlm:{libraries}",
        "SLURM_CONF": str(directory / "slurm.conf"),
        "PATH": f"{root}/usr/bin:{root}/usr/sbin:{os.environ['PATH']}",
    }
    daemons = []
    try:
        with open(directory / "log", "wb") as log:
            for command in (
                ["slurmctld-wlm", "-D"],
                ["slurmd-wlm", "-D", "-N", host, "-d", f"{root}/usr/sbin/slurmstepd-wlm"],
            ):
                program = str(root / "usr/sbin" / command[0])
                daemons.append(
                    subprocess.Popen([program, *command[1:]], env=environment, stdout=log, stderr=log,
                                     start_new_session=True)
                )  # fmt: skip
        slurm = Slurm(environment)
        deadline = time.monotonic() + BOUND
        while True:
            with contextlib.suppress(subprocess.CalledProcessError):
                if "idle" in slurm.run("sinfo", "--noheader", "--format=%T"):
                    break
            if time.monotonic() > deadline:
                raise OSError(f"Slurm does not come up: {(directory / 'log').read_text()[-2000:]}")
            threading.Event().wait(0.2)
        yield slurm
        slurm.run("scancel", "--state=RUNNING", f"--nodelist={host}")
    finally:
        for daemon in daemons:
            daemon.terminate()
        for daemon in daemons:
            daemon.wait(30)
