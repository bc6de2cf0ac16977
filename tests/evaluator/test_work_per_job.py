"""How much work a job is: messages, bytes, locks, events and calls, each counted and none of them timed.

Each limit is what was counted when it was written and a tenth or a fifth more. A change that needs more work per job
fails here; one that is worth it raises the limit and says why.
"""

from __future__ import annotations

import pickle
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import pytest
from workloads import CountingLock, as_a_search, calls, configurations, count_traffic, in_bulk, least, run

from evalpool import Evaluator
from evalpool.backends._pool import _wire
from evalpool.backends._pool._held import SIZE, HeldOutcomes
from evalpool.backends._pool._worker import ClaimTurn, serve_batch
from evalpool.backends._pool._worker_channel import SocketChannel
from evalpool.storage import Event, MemoryStorage, NullStorage
from evalpool.worker._call import Task

pytestmark = pytest.mark.slow

COUNT = 2_000


@pytest.fixture
def locks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Locks that are made during the test are counted, those of all threads."""
    monkeypatch.setattr(threading, "Lock", CountingLock)
    yield
    monkeypatch.undo()


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    return count_traffic(monkeypatch)


def warm(evaluator: Evaluator) -> None:
    in_bulk(evaluator, 50)
    as_a_search(evaluator, 50)


Way = Callable[[Evaluator, int], None]


@pytest.mark.parametrize(
    ("method", "way", "limit"),
    [
        ("serial", as_a_search, 6.2),  # 6.0
        ("serial", in_bulk, 3.2),  # 3.0
        ("thread", as_a_search, 6.0),  # 5.0, by who comes first
        ("thread", in_bulk, 4.0),  # 3.0
        ("process", as_a_search, 7.0),  # 4.2, by how many jobs are read at a time
        ("process", in_bulk, 0.5),  # 0.14
    ],
)
@pytest.mark.usefixtures("locks")
def test_locks_taken_per_job(method: str, way: Way, limit: float) -> None:
    with Evaluator.create(run, method, {"storage": NullStorage(), "num_workers": 2}) as evaluator:
        warm(evaluator)

        def taken() -> float:
            before = CountingLock.taken
            way(evaluator, COUNT)
            return (CountingLock.taken - before) / COUNT

        assert 0 < least(taken, limit) <= limit


@pytest.mark.parametrize(
    ("way", "messages", "reads", "size"),
    [
        (as_a_search, 1.1, 1.5, 80),  # 0.69, 0.66 and 58: one job is sent at a time, if two came back then two
        (in_bulk, 0.5, 0.5, 60),  # 0.02, 0.03 and 34: as many to a message as are short; busy machines make them long
    ],
)
def test_messages_and_bytes_per_job(
    way: Way, messages: float, reads: float, size: float, traffic: Counter[str]
) -> None:
    with Evaluator.create(run, "process", {"storage": NullStorage(), "num_workers": 2}) as evaluator:
        warm(evaluator)

        def share_of_limits() -> float:
            traffic.clear()
            way(evaluator, COUNT)
            assert min(traffic.values()) > 0
            limits = {"messages": messages, "reads": reads, "bytes": size}
            return max(traffic[name] / (limit * COUNT) for name, limit in limits.items())

        assert least(share_of_limits, 1.0) <= 1.0, traffic


@pytest.mark.parametrize(
    ("method", "way", "limit"),
    [("serial", as_a_search, 112), ("serial", in_bulk, 50), ("process", as_a_search, 130)],  # 102, 44, 68
)
def test_calls_per_job(method: str, way: Way, limit: float) -> None:
    """In the caller's thread, which on the process backend reads the workers itself."""
    with Evaluator.create(run, method, {"storage": NullStorage(), "num_workers": 2}) as evaluator:
        warm(evaluator)
        assert 0 < least(lambda: calls(lambda: way(evaluator, COUNT)) / COUNT, limit) <= limit


def test_calls_per_job_in_a_worker() -> None:
    """Of the jobs of one message, whose outcomes are sent together."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = SocketChannel(theirs, decides=False, storage=None, advice="")
        channel.held = HeldOutcomes(memoryview(bytearray(SIZE)))
        jobs = [(number, 1, configuration, None) for number, configuration in enumerate(configurations(100))]
        payload, task, turn = memoryview(pickle.dumps(jobs)), Task(run, {}, "search", "hpo", 0), ClaimTurn()

        def serve() -> None:
            with channel.together():
                serve_batch(task, "", payload, channel, turn)

        serve()
        frames = _wire.FrameReader(ours).read()
        assert [outcome[:3] for _, outcomes, _ in frames for outcome in outcomes] == [
            (number, 1, 2.0 * number) for number in range(100)
        ]
        assert 0 < least(lambda: calls(serve) / 100, 21) <= 21  # 19.4


class CountingStorage(MemoryStorage):
    """A memory storage that knows how many events it was given, and in how many calls."""

    def __init__(self) -> None:
        super().__init__()
        self.events = self.appends = 0

    def append(self, events: Sequence[Event]) -> None:
        self.events, self.appends = self.events + len(events), self.appends + 1
        super().append(events)


@pytest.mark.parametrize("method", ["serial", "thread"])
@pytest.mark.parametrize(
    ("way", "events", "appends"),
    [(as_a_search, 3.1, 3.1), (in_bulk, 3.1, 0.1)],  # created, started, finished and gathered in one
)
def test_events_per_job(method: str, way: Way, events: float, appends: float) -> None:
    storage = CountingStorage()
    with Evaluator.create(run, method, {"storage": storage, "num_workers": 2}) as evaluator:
        warm(evaluator)
        before = storage.events, storage.appends
        way(evaluator, COUNT)
        counted = storage.events - before[0], storage.appends - before[1]
    assert 0 < counted[0] <= events * COUNT
    assert 0 < counted[1] <= appends * COUNT
