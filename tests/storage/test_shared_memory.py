"""SharedMemoryStorage: what is its own beside the contract."""

import os
import pickle
import socket
import subprocess
import sys
import threading
from multiprocessing.connection import Connection

import pytest

from evalpool._net._connect import connect
from evalpool._net._sockets import reach
from evalpool.errors import StorageUnavailable
from evalpool.storage import Event, SharedMemoryStorage
from evalpool.storage._hub import Link
from storage.workloads import TESTS


def test_a_copy_sees_what_is_there_already() -> None:
    with SharedMemoryStorage() as storage:
        job_id = storage.create_new_job(storage.create_new_search())
        storage.store_job_out(job_id, {"objective": 0.0, "loss": float("inf")})
        with pickle.loads(pickle.dumps(storage)) as client:
            assert client.load_job(job_id) == storage.load_job(job_id)
            with pickle.loads(pickle.dumps(client)) as second:
                assert second.load_job(job_id) == storage.load_job(job_id)


def test_a_client_of_a_storage_that_was_closed_says_so() -> None:
    with SharedMemoryStorage() as storage:
        client = pickle.loads(pickle.dumps(storage))
        client.create_new_search()
    with pytest.raises(StorageUnavailable, match="has ended, or has closed it"):
        client.create_new_search()
    client.close()


@pytest.mark.slow
def test_a_client_of_a_process_that_was_killed_says_so() -> None:
    code = f"""
import pickle, sys
sys.path[:0] = {[*sys.path, str(TESTS)]!r}
from evalpool.storage import SharedMemoryStorage
print(pickle.dumps(SharedMemoryStorage()).hex(), flush=True)
input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        client = pickle.loads(bytes.fromhex(process.stdout.readline()))
        assert client.create_new_search() == "0"
        process.kill()
    with pytest.raises(StorageUnavailable, match="has ended"):
        client.create_new_search()
    client.close()


@pytest.mark.slow
def test_a_forked_child_does_not_keep_the_storage_of_its_dead_parent_open() -> None:
    code = f"""
import os, pickle, sys
sys.path[:0] = {[*sys.path, str(TESTS)]!r}
from evalpool.storage import SharedMemoryStorage
storage = SharedMemoryStorage()
print(pickle.dumps(storage).hex(), flush=True)
input()
if os.fork() == 0:
    print(os.getpid(), flush=True)
    os.read(0, 1)
    os._exit(0)
os.kill(os.getpid(), 9)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        data = bytes.fromhex(process.stdout.readline())
        client, late = pickle.loads(data), pickle.loads(data)
        client.create_new_search()
        process.stdin.write("go\n")
        process.stdin.flush()
        child = int(process.stdout.readline())
        process.wait()
        for lost in (client, late):
            with pytest.raises(StorageUnavailable, match="has ended"):
                lost.create_new_search()
        os.kill(child, 0)  # it lives
        process.stdin.close()
        process.stdout.read()
    for lost in (client, late):
        lost.close()


def test_who_does_not_know_the_key_is_turned_away() -> None:
    with SharedMemoryStorage() as storage:
        link = Link(storage._link.address, b"wrong")
        with pytest.raises(StorageUnavailable, match="ProofFailed"):
            link.ask(b'{"do":"read","after":null}')
        assert storage.create_new_search() == "0"


def test_what_is_sent_is_never_unpickled() -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return pytest.fail, ("unpickled",)

    with SharedMemoryStorage() as storage:
        address, key = storage._link.address, storage._link.key
        with Connection(connect(address, key).detach()) as connection:
            for request in (pickle.dumps(Evil()), b"[]", b"{}", b'{"do":"append","events":[["x","0",0,{}]]}'):
                connection.send_bytes(request)
                assert connection.recv_bytes().startswith(b'{"error":')
        assert storage.create_new_search() == "0"


def test_a_caller_that_says_nothing_keeps_no_one_out() -> None:
    with SharedMemoryStorage() as storage:
        with reach(storage._link.address, socket.SOCK_STREAM, None):
            with pickle.loads(pickle.dumps(storage)) as client:
                assert client.create_new_search() == "0"


def test_many_clients_at_once_lose_nothing() -> None:
    with SharedMemoryStorage() as storage:
        search_id = storage.create_new_search()
        data = pickle.dumps(storage)

        def work() -> None:
            with pickle.loads(data) as client:
                for _ in range(20):
                    number = client.reserve(search_id, 1)
                    client.append_soon([Event("created", search_id, number, {"args": {"x": number}})])

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [record.configuration["x"] for record in storage.records(search_id)] == list(range(120))
