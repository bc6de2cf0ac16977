"""What other processes do to a storage in these tests: ``python -m storage.workloads NAME CLIENT ARGUMENT...``

`CLIENT` is a pickled storage client in hexadecimal digits. A workload says what it has done on standard
output, one line each, so that the test can wait for it; it ends with its standard input.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evalpool.errors import MaximumJobsSpawnReached
from evalpool.storage import Event, Storage, new_owner

TESTS = Path(__file__).parent.parent


def _created(search_id: str, number: int, owner: str) -> Event:
    return Event("created", search_id, number, {"args": {"x": number}, "submit": 0.0, "owner": owner})


def _finished(search_id: str, number: int) -> Event:
    return Event("finished", search_id, number, {"status": "DONE", "objective": float(number), "attempts": 1})


def evaluate(storage: Storage, search_id: str, jobs: str) -> None:
    """Submit and finish so many jobs, one by one, and follow what others finish until all of it is there."""
    owner = new_owner()
    follower = storage.follow(search_id, owner)
    seen: list[int] = []
    _wait_for_go()
    for _ in range(int(jobs)):
        number = storage.reserve(search_id, 1)
        storage.append([_created(search_id, number, owner)])
        storage.append_soon([_finished(search_id, number)])
        seen += [record.number for record in follower.poll()]
        _say(number)
    storage.flush()
    _say("done")
    _wait_for_go()
    seen += [record.number for record in follower.poll()]
    _say(*sorted(seen))


def spend_cap(storage: Storage, search_id: str, cap: str) -> None:
    """Take numbers, three at a time and then one by one, until the cap refuses."""
    _wait_for_go()
    for n in (3, 1):
        try:
            while True:
                first = storage.reserve(search_id, n, cap=int(cap))
                _say(*range(first, first + n))
        except MaximumJobsSpawnReached:
            pass


def run_until_killed(storage: Storage, search_id: str) -> None:
    """Submit, finish and gather jobs until killed; say each number once its job is gathered."""
    owner = new_owner()
    storage.lease(search_id, owner, ttl=3600)
    while True:
        first = storage.reserve(search_id, 3)
        numbers = range(first, first + 3)
        storage.append([_created(search_id, number, owner) for number in numbers])
        storage.append_soon([_finished(search_id, number) for number in numbers])
        storage.append([Event("gathered", search_id, number, {"timestamp_gather": 1.0}) for number in numbers[:2]])
        _say(*numbers[:2])


def leave_jobs(storage: Storage, search_id: str, n: str) -> None:
    """Submit jobs under a long lease, start the first, and wait to be ended."""
    owner = new_owner()
    storage.lease(search_id, owner, ttl=3600)
    first = storage.reserve(search_id, int(n))
    storage.append([_created(search_id, number, owner) for number in range(first, first + int(n))])
    storage.append([Event("started", search_id, first, {"start": 0.0, "attempt": 1})])
    _say(owner)
    _wait_for_go()


def claim(storage: Storage, search_id: str) -> None:
    """Claim lost jobs and say their numbers."""
    owner = new_owner()
    storage.lease(search_id, owner, ttl=3600)
    _wait_for_go()
    _say(*(record.number for record in storage.claim_lost(search_id, owner)))
    _wait_for_go()


def make_searches(storage: Storage, n: str) -> None:
    """Create so many searches and say their ids."""
    for _ in range(int(n)):
        _say(storage.create_new_search())


def write_jobs(storage: Storage, n: str) -> None:
    """Create a search and so many jobs with an output, one record each."""
    search_id = storage.create_new_search()
    storage.reserve(search_id, int(n))
    for number in range(int(n)):
        out = Event("out", search_id, number, {"out": float(number)})
        storage.append([Event("created", search_id, number, {}), out])


def fill(storage: Storage, search_id: str, limit: str) -> None:
    """Append under a limit on the size of files until it is reached; say the error, lift the limit, go on."""
    import resource

    from evalpool.errors import StorageUnavailable

    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
    kept = 0
    try:
        while True:
            number = storage.reserve(search_id, 1)
            storage.append([Event("created", search_id, number, {"args": {"x": "y" * 2000}})])
            kept = number + 1
    except StorageUnavailable as error:
        _say(kept)
        _say(str(error))
    # What nobody waits for is kept back, and written when it can be.
    storage.append_soon([Event("finished", search_id, 0, {"status": "DONE", "output": "z" * 400_000})])
    try:
        storage.flush()
    except StorageUnavailable:
        _say("kept back")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    storage.flush()
    _say(storage.load_job_status(f"{search_id}.0").name)


def _say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def _wait_for_go() -> None:
    _say("ready")
    if not sys.stdin.readline():
        raise SystemExit("the test is gone")


class Workload:
    """A process that runs a workload; the test's end of it."""

    def __init__(self, name: str, storage: Storage, *arguments: object) -> None:
        command = [sys.executable, "-m", "storage.workloads", name, pickle.dumps(storage).hex()]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in [str(TESTS), *sys.path] if p)}
        self.process = subprocess.Popen(
            [*command, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def line(self) -> str:
        """The next line it says; an error if it ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"ended with {self.process.wait()}"
        return line.strip()

    def lines_until(self, last: str) -> list[str]:
        lines = []
        while (line := self.line()) != last:
            lines.append(line)
        return lines

    def rest(self) -> list[str]:
        """Every further line, to its end."""
        assert self.process.stdout is not None
        return [line.strip() for line in self.process.stdout]

    def go(self) -> None:
        """Let it go on from where it waits; wait until it is there."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def kill(self) -> list[str]:
        """SIGKILL; return what it had said and was not read."""
        self.process.kill()
        self.process.wait()
        return self.rest()

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        self.process.kill()
        self.process.wait()


@contextmanager
def workloads(n: int, name: str, storage: Storage, *arguments: Any) -> Iterator[list[Workload]]:
    """So many processes that run this workload; they end with the block."""
    running = [Workload(name, storage, *arguments) for _ in range(n)]
    try:
        yield running
    finally:
        for workload in running:
            workload.close()


if __name__ == "__main__":
    with pickle.loads(bytes.fromhex(sys.argv[2])) as client:
        globals()[sys.argv[1]](client, *sys.argv[3:])
