"""Makes sure that workers end when their parent does, and that a killed job leaves no process.

There are three mechanisms, each for cases that the previous one misses. A worker's control thread notices that the
parent has ended; but if the run-function is in C code that holds the GIL, that thread cannot run. So a *reaper*, a
shell of a few hundred kilobytes, has a pipe from the parent: however the parent ends, the pipe is closed and the reaper
kills the process groups of all workers. And a job that is stopped by force is killed with its whole process tree,
including children in other sessions.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading

from evalpool._descriptors import make_room
from evalpool._interpreter import interpreter
from evalpool._launchers import child_environment
from evalpool._log import get_logger

__all__ = ["EXIT_TIMEOUT", "Reaper", "kill_tree", "tell_of_cut"]

logger = get_logger()

EXIT_TIMEOUT = 5.0
"""Seconds that a worker without a job may take to end, unless the user says otherwise."""

_SCRIPT = """
trap '' INT TERM HUP
groups=' '
while read -r what group; do
    case $what in
        +) groups="$groups$group " ;;
        -) case $groups in *" $group "*) groups="${groups%% $group *} ${groups#* $group }" ;; esac ;;
    esac
done
below() {
    for threads in /proc/$1/task/*/children; do
        children=
        { read -r children < "$threads"; } 2>/dev/null  # without `cat`, which may be missing
        for child in $children; do
            all="$all $child"
            below "$child"
        done
    done
}
all=
for group in $groups; do
    kill -STOP "-$group" 2>/dev/null
    below "$group"
done
for process in $all; do kill -9 "$process" 2>/dev/null; done
for group in $groups; do kill -9 "-$group" 2>/dev/null; done
"""
# The groups are stopped first, so that nothing forks while we search for children that moved to other sessions.

_WITHOUT_A_SHELL = """
import glob, os, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
groups = []
for line in sys.stdin:
    what, group = line.split()
    if what == '+':
        groups.append(int(group))
    elif int(group) in groups:
        groups.remove(int(group))
def kill(process, number=signal.SIGKILL):
    try:
        os.kill(process, number)
    except OSError:
        pass
below = []
def look(process):
    for name in glob.glob(f'/proc/{process}/task/*/children'):
        try:
            children = open(name).read().split()
        except OSError:
            continue
        for child in map(int, children):
            below.append(child)
            look(child)
for group in groups:
    kill(-group, signal.SIGSTOP)
    look(group)
for process in below:
    kill(process)
for group in groups:
    kill(-group)
"""
# The same for container images without a shell: it needs 10 MB and 20 ms; a shell needs some hundred kB and 1 ms.


class Reaper:
    """Kills process groups when this process has ended. One per pool or helper; only one thread at a time uses it."""

    def __init__(self) -> None:
        make_room(8)
        try:
            self._process = self._begin(["/bin/sh", "-c", _SCRIPT])
        except OSError:  # there is no shell, or this user may not run it
            self._process = self._begin([interpreter(), "-I", "-S", "-c", _WITHOUT_A_SHELL])

    @staticmethod
    def _begin(command: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=child_environment(),
            start_new_session=True,
            close_fds=True,
        )

    def watch(self, group: int) -> None:
        """From now on, kill this group when the parent has ended."""
        self._write(f"+ {group}\n")

    def forget(self, group: int) -> None:
        """Drop a group that has ended."""
        self._write(f"- {group}\n")

    def _write(self, line: str) -> None:
        stream = self._process.stdin
        if stream is not None:
            # If somebody killed the reaper, the other mechanisms remain.
            with contextlib.suppress(BrokenPipeError):
                os.write(stream.fileno(), line.encode())

    def close(self) -> None:
        """End the reaper; groups that it still watches are killed."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def close_in_fork(self) -> None:
        """In a forked child: close our copy of the pipe, so that the reaper notices the parent's end."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.returncode = 0  # it is not our child: do not wait for it, and do not warn about that


def kill_tree(pid: int) -> None:
    """Kill a worker, its process group and all its descendants, also those in other sessions."""
    import psutil

    try:
        tree = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        tree = []
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for process in tree:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def tell_of_cut(who: str, exit_timeout: float) -> None:
    """Log that a worker did not end in its time."""
    logger.warning(
        "%s had not ended %g s after its last job, and was killed. Functions that it had registered with atexit, such "
        "as an upload, may be incomplete. Set a larger exit_timeout.",
        who,
        exit_timeout,
    )


kill_lock = threading.Lock()
"""Held while a pid is checked and killed, and while it is reaped, so that no other process can get the pid between."""
