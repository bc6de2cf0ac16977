"""Who owns a job, whether the process of that owner still runs, and how another client takes over a lost job.

An owner is a client that submits jobs. Its name identifies its process, so that other clients on the same machine can
see that this process has ended without waiting until the lease expires. A process id alone is not enough: an id is used
again later, and other machines, and containers on this one, use the same ids. So the name contains the machine's
name, the id of its boot, its process namespace, the process id and the moment at which that process started.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Container
from functools import lru_cache
from typing import TYPE_CHECKING

from evalpool._clock import unix_time
from evalpool.errors import BadArgument
from evalpool.outcomes import JobStatus
from evalpool.storage._events import Event
from evalpool.storage._fold import JobState, SearchState
from evalpool.storage._records import job_record

if TYPE_CHECKING:
    from evalpool.models import JobRecord
    from evalpool.storage._base import Storage

__all__ = ["GIVEN_UP", "claim_lost", "is_lost", "lease", "new_owner", "owner_is_gone", "owner_lives"]

_HAS_PROC = os.path.exists("/proc/self/stat")
_PID = re.compile(r"[0-9]{1,9}")
GIVEN_UP = 0.0
"""The expiry time of a lease that its owner gave up. Nobody needs to wait for it, and nothing was lost."""
_LOSABLE = frozenset({JobStatus.READY, JobStatus.RUNNING})


def new_owner() -> str:
    """Return a name for an owner in this process: ``"<random>@<machine>/<pid>/<start>"``."""
    return f"{os.urandom(16).hex()}@{_machine()}/{os.getpid()}/{_start_of(os.getpid())}"


def owner_is_gone(owner: str) -> bool:
    """Return whether the owner's process has certainly ended. False where this cannot be known from this process."""
    _, _, place = owner.rpartition("@")
    machine, _, process = place.partition("/")
    pid, _, start = process.partition("/")
    if machine != _machine() or not _PID.fullmatch(pid) or not start:
        return False
    found = _start_of(int(pid))
    if not found and _is_hidden(int(pid)):
        return False
    return found != start


def owner_lives(search: SearchState, owner: str) -> bool:
    """Return whether the owner holds a lease that has not expired, and its process is not known to have ended."""
    return search.leases.get(owner, 0.0) > unix_time() and not owner_is_gone(owner)


def lease(storage: Storage, search_id: str, owner: str, ttl: float) -> None:
    """See `Storage.lease`."""
    if not ttl >= 0:
        raise BadArgument(f"a lease of {ttl!r} seconds; give how long the owner will live at least.")
    storage._search_known(search_id)
    expires = unix_time() + ttl if ttl else GIVEN_UP
    storage.append([Event("lease", search_id, None, {"owner": owner, "expires": expires})])


def claim_lost(storage: Storage, search_id: str, owner: str, numbers: Container[int] | None = None) -> list[JobRecord]:
    """See `Storage.claim_lost`. Only jobs with one of `numbers` are claimed, if given.

    The cost grows with the number of jobs that have not finished.
    """
    with storage._fold_lock:
        search = storage._search(search_id)
        claims = {}
        lost = [job for job in _lost(search, owner) if numbers is None or job.number in numbers]
        for number, attempt in [(job.number, job.attempt + 1) for job in lost]:
            claimed = storage._claim(search_id, number, attempt, owner)
            if claimed is not None:
                claims[number] = claimed
        if not claims:
            return []
        # The first claim in the log counts. Reading the log again shows which client wrote it.
        storage.append(
            [
                Event("queued", search_id, number, {"attempt": attempt, "owner": owner})
                for number, attempt in claims.items()
            ]
        )
        search = storage._search(search_id)
        jobs = (search.jobs[number] for number in claims)
        return [
            job_record(search_id, job)
            for job in jobs
            if job.owner == owner and job.attempt == claims[job.number] and job.status is JobStatus.READY
        ]


def is_lost(search: SearchState, job: JobState, claimant: str) -> bool:
    """Return whether the job waits or runs, and its owner is not the claimant and does not run anymore."""
    if job.status not in _LOSABLE or job.owner is None or job.owner == claimant:
        return False  # a job without an owner was stored by hand, and no evaluator runs it
    return not owner_lives(search, job.owner)


def _lost(search: SearchState, claimant: str) -> list[JobState]:
    lives: dict[str | None, bool] = {}  # found out once for each owner, not for each job
    lost = []
    for number in sorted(search.unfinished):
        job = search.jobs[number]
        if job.status in _LOSABLE:
            if job.owner not in lives:
                lives[job.owner] = not is_lost(search, job, claimant)
            if not lives[job.owner]:
                lost.append(job)
    return lost


@lru_cache(maxsize=1)
def _machine() -> str:
    """Return a name for the area in which a process id is unique: the host's name, its boot and process namespace."""
    parts = [socket.gethostname()]
    for read in (_boot_id, lambda: os.readlink("/proc/self/ns/pid").strip("pid:[]")):
        try:
            parts.append(read())
        except OSError:  # not Linux
            parts.append("")
    # Names of owners are used as names of files, on file systems of every kind.
    return re.sub(r"[^A-Za-z0-9.+-]", "_", "+".join(parts))


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read(8)


def _is_hidden(pid: int) -> bool:
    """Return whether a process with this id exists that /proc does not show (another user's, with hidepid)."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def _start_of(pid: int) -> str:
    """Return when the process with this id started, as a text to compare. "" if there is none, or only a zombie."""
    if _HAS_PROC:
        # psutil's create_time changes when the wall clock is set; the kernel's ticks since boot do not.
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return ""
        return "" if fields[0] in (b"Z", b"X") else fields[19].decode()
    import psutil

    try:
        return str(round(psutil.Process(pid).create_time()))
    except psutil.NoSuchProcess:
        return ""
