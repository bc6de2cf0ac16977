"""How much work a job is on Ray: messages, bytes and calls, as `tests/evaluator/test_work_per_job.py` counts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from evalpool import Evaluator, RayEvaluator
from evalpool.storage import NullStorage
from evaluator.workloads import as_a_search, calls, count_traffic, in_bulk, least, run

pytestmark = pytest.mark.slow

COUNT = 2_000


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    return count_traffic(monkeypatch)


@pytest.mark.usefixtures("cluster")
def test_messages_bytes_and_calls_per_job(traffic: Counter[str]) -> None:
    """In the caller's process, and of the calls those in its thread, which reads the workers itself."""
    with RayEvaluator(run, num_workers=2, storage=NullStorage()) as evaluator:

        def share_of_limits(way: Callable[[Evaluator, int], None], limits: dict[str, float]) -> float:
            traffic.clear()
            way(evaluator, COUNT)
            counted = {name: count / COUNT for name, count in traffic.items()}
            counted["calls"] = calls(lambda: way(evaluator, COUNT)) / COUNT
            assert counted.keys() == limits.keys()
            assert min(counted.values()) > 0
            return max(counted[name] / limits[name] for name in counted)

        in_bulk(evaluator, 50)
        # 0.95 to 0.99, 0.95 to 1.0, 67 to 69 and 131 to 193: one job is sent at a time; if two came back then two
        limits = {"messages": 1.1, "reads": 1.5, "bytes": 80, "calls": 230}
        assert least(lambda: share_of_limits(as_a_search, limits), 1.0) <= 1.0, traffic
        # 0.05 to 0.6, 0.08 to 0.7, 35 to 55 and 26 to 70: as many to a message as are short
        limits = {"messages": 0.8, "reads": 1.1, "bytes": 70, "calls": 110}
        assert least(lambda: share_of_limits(in_bulk, limits), 1.0) <= 1.0, traffic
