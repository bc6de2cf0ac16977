"""A storage of somebody else's that raises what no storage should: no result is lost, and gather does not raise it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from evalpool import ThreadPoolEvaluator
from evalpool.storage import MemoryStorage
from evalpool.storage._events import Event


class Rude(MemoryStorage):
    """Raises at these kinds of events for as long as it is told to."""

    def __init__(self, *kinds: str, durable: bool) -> None:
        super().__init__()
        self.kinds = set(kinds)
        self.durable = durable  # its `append_soon` is `append`, as for any client that does not override it

    def append(self, events: Sequence[Event]) -> None:
        if any(event.kind in self.kinds for event in events):
            raise TypeError("this client has a mistake")
        super().append(events)

    def read(self, after: Any) -> Any:
        if "any look" in self.kinds:
            raise TypeError("this client has a mistake")
        return super().read(after)


def run(job: Any) -> float:
    job.record(0.5, 1)
    return float(job["x"])


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("kind", ["started", "recorded", "finished", "gathered", "any look"])
def test_whatever_a_storage_raises_gather_returns_and_the_records_come_later(kind: str, durable: bool) -> None:
    storage = Rude(durable=durable)
    with ThreadPoolEvaluator(run, num_workers=2, storage=storage) as evaluator:
        if kind != "any look":
            storage.kinds = {kind}
        evaluator.submit([{"x": x} for x in range(4)])
        storage.kinds = {kind}
        jobs = evaluator.gather("ALL", timeout=20)
        assert sorted(job.objective for job in jobs) == [0.0, 1.0, 2.0, 3.0]
        storage.kinds.clear()  # it is mended
        search = evaluator.search_id
    records = storage.load_search(search)
    assert sorted(record["out"]["objective"] for record in records.values()) == [0.0, 1.0, 2.0, 3.0]
