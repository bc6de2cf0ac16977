"""Memory that two processes of a host use again and again for large arrays."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalpool.backends._pool import _lend, _wire
from evalpool.backends._ray import _ring

pytestmark = pytest.mark.skipif(not _lend.can_lend(), reason="this system passes no memory between processes")
SMALL = 1 << 14


@pytest.fixture
def sides(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[_ring.Ring, _ring.Ring]]:
    """The sender's and the receiver's view of one ring of 16 kB."""
    monkeypatch.setattr(_ring, "SIZE", SMALL)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        there, here = _ring.offer(ours), _ring.receive(theirs)
        assert there is not None
        assert here is not None
        yield there[0], here[0]


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.one_of(st.none(), st.lists(st.integers(0, SMALL // 2), max_size=3)), max_size=60))
def test_frames_come_out_as_they_went_in_whenever_they_are_taken(
    sides: tuple[_ring.Ring, _ring.Ring], steps: list[list[int] | None]
) -> None:
    sender, receiver = sides
    out: deque[tuple[memoryview, bytes, list[bytes]]] = deque()
    for number, step in enumerate([*steps, *[None] * len(steps)]):
        if step is None:
            if out:
                head, payload, buffers = out.popleft()
                assert _ring.is_in_ring(head)
                kind, found, arrays = receiver.take(head)
                assert (kind, bytes(found), [bytes(a) for a in arrays]) == (_wire.ONE_JOB, payload, buffers)
            continue
        payload, buffers = b"p" * (number % 7), [bytes([number % 256]) * size for size in step]
        sent = sender.put(_wire.ONE_JOB, (number, 1), payload, [memoryview(b) for b in buffers])
        if sent is not None:
            head = memoryview(sent[0])[_wire.HEADER.size :]
            assert _wire.JOB.unpack_from(head) == (number, 1)
            out.append((head, payload, buffers))
        else:  # it was full, or this is more than it ever holds
            assert out or sum(step) > SMALL - 64 * (len(step) + 1)
    assert not out


def test_what_does_not_fit_goes_another_way(sides: tuple[_ring.Ring, _ring.Ring]) -> None:
    sender, receiver = sides
    half = memoryview(bytes(SMALL // 2))
    first = sender.put(_wire.ONE_JOB, (0, 1), b"", [half])
    assert first is not None
    assert sender.put(_wire.ONE_JOB, (1, 1), b"", [half, half]) is None
    assert sender.put(_wire.ONE_JOB, (2, 1), b"x", [half]) is None
    receiver.take(memoryview(first[0])[_wire.HEADER.size :])
    assert sender.put(_wire.ONE_JOB, (2, 1), b"x", [half]) is not None
