"""Who connects to evalpool: the proof, and what unknown clients can use up. Sockets of this host only."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from queue import Queue
from typing import Any

import pytest

from evalpool._net import _listener, _proof
from evalpool._net._connect import connect
from evalpool._net._listener import Listener, Peer, new_key
from evalpool._net._proof import MOST_BYTES, ProofFailed
from evalpool._net._sockets import listen_at, listen_locally, reach

BOUND = 30.0
NOBODY = 65534


class Listening:
    """A listener at both kinds of addresses, and those whom it let in."""

    def __init__(self) -> None:
        nearby, self.local = listen_locally()
        port, self.port = listen_at("127.0.0.1")
        self.let_in: Queue[Peer] = Queue()
        self.listener = Listener([nearby, port], self.let_in.put, "evalpool-test-listener")
        self.key = self.listener.key

    def address(self, which: str) -> Any:
        return {"local": self.local, "port": self.port}[which]

    def hello_of_next(self) -> dict[str, Any]:
        peer = self.let_in.get(timeout=BOUND)
        peer.socket.close()
        return peer.hello


@pytest.fixture
def listening() -> Iterator[Listening]:
    listening = Listening()
    yield listening
    listening.listener.close()
    while not listening.let_in.empty():
        listening.let_in.get().socket.close()


both = pytest.mark.parametrize("where", ["local", "port"])


def unknown_client(address: Any) -> socket.socket:
    """Connected, and says nothing."""
    sock = reach(address, socket.SOCK_STREAM, BOUND)
    sock.settimeout(BOUND)
    return sock


def read_to_end(sock: socket.socket) -> bytes:
    data = b""
    try:
        while part := sock.recv(4096):
            data += part
    except ConnectionResetError:  # closed on what it did not want to read
        pass
    return data


@both
def test_both_sides_prove_the_key_and_say_what_they_have_to(listening: Listening, where: str) -> None:
    with connect(listening.address(where), listening.key, {"role": "data", "n": 3}) as ours:
        peer = listening.let_in.get(timeout=BOUND)
        assert peer.hello == {"role": "data", "n": 3}
        with peer.socket as theirs:
            theirs.sendall(b"from the listener")
            assert ours.recv(100) == b"from the listener"
            assert theirs.getblocking()
            assert ours.getblocking()
            assert not theirs.get_inheritable()


@both
def test_who_does_not_know_the_key_is_told_so(listening: Listening, where: str) -> None:
    with pytest.raises(ProofFailed, match="another listener's"):
        connect(listening.address(where), new_key())
    assert listening.let_in.empty()


@both
def test_who_listens_without_the_key_is_not_believed(where: str) -> None:
    other, address = listen_locally() if where == "local" else listen_at("127.0.0.1")
    key = new_key()

    def answer_without_it() -> None:
        accepted, _ = other.accept()
        with accepted:
            challenge = _proof.Challenge(new_key())
            accepted.sendall(challenge.text)
            accepted.recv(MOST_BYTES)
            accepted.sendall(_proof.PROVEN + b"x" * _proof.PROOF)

    thread = threading.Thread(target=answer_without_it)
    thread.start()
    with pytest.raises(ProofFailed, match="does not know the key"):
        connect(address, key)
    thread.join()
    other.close()


def test_the_key_is_not_on_the_wire_and_a_proof_is_good_once() -> None:
    key = new_key()
    first, second = _proof.Challenge(key), _proof.Challenge(key)
    sent, _ = _proof.answer(key, first.text, {"a": 1})
    assert key not in first.text + sent
    assert first.feed(sent) == {"a": 1}
    assert key not in first.verdict
    with pytest.raises(ProofFailed):
        second.feed(sent)
    altered = _proof.Challenge(key)
    sent, _ = _proof.answer(key, altered.text, {"a": 1})
    with pytest.raises(ProofFailed):
        altered.feed(sent.replace(b'"a": 1', b'"a": 2'))


@both
@pytest.mark.parametrize(
    "nonsense",
    [b"\xff" * (MOST_BYTES + 10), struct.pack("<IB", 0xFFFFFFF0, 2) + b"A" * 60_000, b"GET / HTTP/1.1\r\n\r\n" * 9],
    ids=["too long", "a gigabyte promised", "another protocol"],
)
def test_what_is_no_proof_ends_the_connection(listening: Listening, where: str, nonsense: bytes) -> None:
    with unknown_client(listening.address(where)) as sock:
        with contextlib.suppress(OSError):  # it has heard enough
            sock.sendall(nonsense)
        read_to_end(sock)
    with connect(listening.address(where), listening.key):
        assert listening.hello_of_next() == {}


@both
def test_a_proof_may_come_byte_by_byte(listening: Listening, where: str) -> None:
    with unknown_client(listening.address(where)) as sock:
        challenge = sock.recv(8 + 32)
        sent, expected = _proof.answer(listening.key, challenge, {"slow": True})
        for n in range(len(sent)):
            sock.sendall(sent[n : n + 1])
        assert listening.hello_of_next() == {"slow": True}
        assert sock.recv(100) == expected


@both
def test_many_silent_connections_keep_nobody_out_and_hold_few_descriptors(listening: Listening, where: str) -> None:
    address = listening.address(where)
    before = len(os.listdir("/proc/self/fd"))
    with ExitStack() as silent:
        for _ in range(3 * _listener.MOST):
            silent.enter_context(unknown_client(address))
        for n in range(5):
            with connect(address, listening.key, {"n": n}):
                assert listening.hello_of_next() == {"n": n}
        assert len(os.listdir("/proc/self/fd")) - before <= 3 * _listener.MOST + _listener.MOST + 1


def test_who_stays_silent_is_closed_in_time(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_listener, "WITHIN", 0.05)
    with unknown_client(listening.local) as sock:
        assert read_to_end(sock).startswith(b"evalpool")  # and then the end


@pytest.mark.slow
def test_another_user_of_this_host_is_turned_away_before_it_says_anything(
    listening: Listening, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    pid = os.fork()
    if pid == 0:
        try:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(BOUND)
            sock.connect(f"\0{listening.local[1:]}")
            os._exit(0 if sock.recv(100) == b"" else 3)
        finally:
            os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    with connect(listening.local, listening.key):
        assert listening.hello_of_next() == {}
    assert f"it belongs to user {NOBODY}" in caplog.text


def test_an_error_in_taking_over_a_peer_keeps_nobody_out(caplog: pytest.LogCaptureFixture) -> None:
    sock, address = listen_locally()
    let_in: Queue[dict[str, Any]] = Queue()

    def take(peer: Peer) -> None:
        let_in.put(peer.hello)
        if "bad" in peer.hello:
            raise RuntimeError("can't start new thread")
        peer.socket.close()

    listener = Listener([sock], take, "evalpool-test-listener")
    with connect(address, listener.key, {"bad": True}) as ours:
        assert let_in.get(timeout=BOUND) == {"bad": True}
        assert ours.recv(10) == b""
    connect(address, listener.key).close()
    assert let_in.get(timeout=BOUND) == {}
    listener.close()
    assert "could not be taken over" in caplog.text


def test_nobody_can_connect_to_a_closed_listener() -> None:
    listening = Listening()
    listening.listener.close()
    listening.listener.close()
    for address in (listening.local, listening.port):
        with pytest.raises(ConnectionRefusedError):
            connect(address, listening.key, within=BOUND)


@pytest.mark.slow
def test_a_forked_child_closes_the_listener_and_its_parent_still_listens(listening: Listening) -> None:
    here, there = socket.socketpair()
    with unknown_client(listening.local), here, there:
        pid = os.fork()
        if pid == 0:
            there.sendall(str(polls()).encode())
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert int(here.recv(10)) == polls() - 1  # but the listener's: libraries leave some of their own in a process
        with connect(listening.local, listening.key):
            assert listening.hello_of_next() == {}


def polls() -> int:
    """How many epoll files are open in this process."""
    links = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _open(fd)]
    return sum("eventpoll" in link for link in links)


def _open(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


def test_messages_are_kept_apart_where_that_is_wished() -> None:
    if sys.platform != "linux":
        pytest.skip("no local sockets that keep messages apart")
    sock, address = listen_locally(packets=True)
    let_in: Queue[Peer] = Queue()
    listener = Listener([sock], let_in.put, "evalpool-test-listener")
    with connect(address, listener.key, {"x": 1}, packets=True) as ours, let_in.get(timeout=BOUND).socket as theirs:
        ours.sendall(b"one")
        ours.sendall(b"two")
        assert theirs.recv(100) == b"one"
        assert theirs.recv(100) == b"two"
    listener.close()
