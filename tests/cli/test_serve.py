"""What ``evalpool serve`` answers, and to whom."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from cli.conftest import Command
from evalpool.cli import Server
from evalpool.cli._feed import AT_ONCE
from evalpool.cli._serve import MOST_UNPROVEN
from evalpool.errors import BackendError
from evalpool.storage import Event, MemoryStorage
from evalpool.testing._bench import wait_until


def filled(jobs: int) -> MemoryStorage:
    storage = MemoryStorage()
    storage.create_new_search(start=0.0)
    for number in range(jobs):
        args = {"x": number, "kind": "sgd" if number % 2 else "adam"}
        result = {"status": "DONE", "objective": float(number % 100), "worker": f"process-{number % 4}", "attempts": 1}
        if number % 10 == 3:
            result |= {"status": "FAILED", "objective": "F_ValueError", "kind": "raised"}
            result["error"] = "Traceback\nValueError: <img src=x onerror=\"document.title='pwned'\">"
        times = {"timestamp_start": number / 10, "timestamp_end": number / 10 + 0.3}
        storage.append(
            [Event("created", "0", number, {"args": args}), Event("finished", "0", number, {**result, **times})]
        )
    return storage


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(filled(12), name="</script><b>runs") as server:
        yield server


def ask(server: Server, path: str = "", method: str = "GET", host: str | None = None, root: str | None = None) -> Any:
    url = urlsplit(server.url)
    connection = http.client.HTTPConnection("127.0.0.1", url.port, timeout=30)
    try:
        connection.putrequest(method, (url.path if root is None else root) + path, skip_host=True)
        connection.putheader("Host", f"127.0.0.1:{url.port}" if host is None else host)
        connection.endheaders()
        answer = connection.getresponse()
        answer.body = answer.read()  # type: ignore[attr-defined]
        return answer
    finally:
        connection.close()


@pytest.mark.parametrize("root", ["/", "/wrong/", "/%00/", "", "//", "/%C3%A9/"])
def test_without_the_secret_there_is_nothing(server: Server, root: str) -> None:
    for path in ("", "rows?after=0", "job?search=0&number=0"):
        answer = ask(server, path, root=root or "/" + path)
        assert answer.status == 404
        assert b"runs" not in answer.body


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "10.0.0.1:80"])
def test_a_name_that_is_not_of_this_machine_is_refused(server: Server, host: str) -> None:
    assert ask(server, host=host).status == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:9999", "127.0.0.1", "[::1]:80"])
def test_a_tunnel_may_use_another_port(server: Server, host: str) -> None:
    assert ask(server, host=host).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_nothing_can_be_changed(server: Server, method: str) -> None:
    answer = ask(server, "rows", method)
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"


def test_the_page_stands_alone_and_runs_only_its_own_script(server: Server) -> None:
    answer = ask(server)
    page = answer.body.decode()
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'nonce-")
    assert "unsafe" not in policy
    assert page.count("<script") == 2
    assert "</script><b>" not in page
    assert "@@" not in page
    assert "http://" not in page
    assert "https://" not in page
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert ask(server).headers["Content-Security-Policy"] != policy
    assert ask(server, method="HEAD").body == b""


def test_rows_come_once_and_then_only_what_is_new() -> None:
    storage = filled(12)
    with Server(storage) as server:
        look_at_rows(server, storage)


def look_at_rows(server: Server, storage: MemoryStorage) -> None:
    first = json.loads(ask(server, "rows?after=0").body)
    assert [row[0] for row in first["rows"]] == list(range(12))
    assert first["rows"][3][1:5] == ["FAILED", "F_ValueError", "raised", "process-3"]
    assert first["summary"]["evaluated"] == 12
    storage.append([Event("created", "0", 12, {"args": {}})])
    storage.append([Event("metadata", "0", 4, {"note": "new"})])
    news = json.loads(ask(server, f"rows?search=0&after={first['version']}").body)
    assert [row[0] for row in news["rows"]] == [12, 4]
    assert news["more"] == 0


def test_many_rows_come_in_parts() -> None:
    with Server(filled(AT_ONCE + 5)) as server:
        first = json.loads(ask(server, "rows?after=0").body)
        assert (len(first["rows"]), first["more"]) == (AT_ONCE, 5)
        rest = json.loads(ask(server, f"rows?after={first['version']}").body)
        assert (len(rest["rows"]), rest["more"]) == (5, 0)


def test_a_job_is_told_whole(server: Server) -> None:
    job = json.loads(ask(server, "job?search=0&number=3").body)
    assert job["error"].startswith("Traceback")
    assert json.loads(job["configuration"]) == {"x": 3, "kind": "sgd"}


@pytest.mark.parametrize(
    "path", ["rows?after=x", "rows?search=7", "job?search=0&number=99", "job", "rows/../x", "else"]
)
def test_what_there_is_not_is_not_found(server: Server, path: str) -> None:
    assert ask(server, path).status == 404


def test_values_that_browsers_cannot_read_become_text() -> None:
    storage = MemoryStorage()
    job = storage.create_new_job(storage.create_new_search())
    storage.store_job_in(job, {"x": float("nan")})
    storage.store_job_out(job, float("inf"))
    storage.store_job_metadata(job, "m", float("-inf"))
    storage.store_job_status(job, "DONE")
    with Server(storage) as server:
        assert json.loads(ask(server, "rows?after=0").body)["rows"][0][2] == "inf"
        assert "NaN" in json.loads(ask(server, "job?search=0&number=0").body)["configuration"]


def test_a_storage_without_a_search_is_served() -> None:
    with Server(MemoryStorage()) as server:
        assert ask(server).status == 200


def test_a_port_that_is_taken_is_told(server: Server) -> None:
    with pytest.raises(BackendError, match="cannot be used"):
        Server(MemoryStorage(), port=urlsplit(server.url).port or 0)


def test_many_connections_that_say_nothing_keep_nobody_out_and_hold_few_threads_and_files(server: Server) -> None:
    address = "127.0.0.1", urlsplit(server.url).port or 0
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    with contextlib.ExitStack() as held:
        reader = http.client.HTTPConnection(*address, timeout=30)
        held.callback(reader.close)
        for _ in range(2):
            for n in range(3 * MOST_UNPROVEN):
                silent = held.enter_context(socket.create_connection(address))
                silent.sendall(b"GET /" * (n % 2))  # or little
            reader.request("GET", urlsplit(server.url).path)  # by the connection that has shown the secret before
            assert reader.getresponse().read()
        assert ask(server).status == 200
        assert threading.active_count() - threads <= 2 * MOST_UNPROVEN + 2
        assert len(os.listdir("/proc/self/fd")) - files <= 8 * MOST_UNPROVEN + 3  # six of eight are ours
    wait_until(lambda: threading.active_count() <= threads)


@pytest.mark.slow
def test_the_command_serves_a_file_until_ctrl_c(evalpool: Command) -> None:
    evalpool("run", "program:run", "--configs", "grid.jsonl", "--storage", "sqlite:///runs.db", "--progress", "off")
    process = evalpool.start("serve", "runs.db")
    assert process.stdout is not None
    url = urlsplit(process.stdout.readline().strip())
    connection = http.client.HTTPConnection("127.0.0.1", url.port, timeout=30)
    connection.request("GET", url.path + "rows?after=0")
    assert len(json.loads(connection.getresponse().read())["rows"]) == 8
    connection.request("GET", url.path + "rows?after=999999")  # waits for news
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    connection.close()
    assert process.returncode == 0
