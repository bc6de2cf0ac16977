"""Values that are larger than a store takes: refused at submit, cut in outcomes, and in nobody's way."""

import logging
import sqlite3
import sys
from pathlib import Path

import pytest

from evalpool import Evaluator
from evalpool.errors import NotJSON
from evalpool.storage import RedisStorage, SQLiteStorage, Storage
from storage.redis_server import RedisServer

LIMIT = 2_000_000


@pytest.fixture(params=["sqlite", "redis"])
def limited(request: pytest.FixtureRequest, tmp_path: Path, redis_server: RedisServer) -> Storage:
    if request.param == "redis":
        with redis_server.client() as client:
            client.config_set("proto-max-bulk-len", LIMIT)
        return RedisStorage.from_url(redis_server.url, timeout=5)
    if sys.version_info < (3, 11):
        pytest.skip("sqlite3 cannot set its limits")
    storage = SQLiteStorage(tmp_path / "results.db")
    storage._writing._connection().setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LIMIT)
    return storage


@pytest.mark.slow
def test_what_is_too_large_for_a_store_is_in_the_way_of_no_other_job(
    limited: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    def run(job: object) -> dict[str, object]:
        x = job["x"]  # type: ignore[index]
        return {"objective": x, "metadata": {"small": x, "large": ("b" * 3_000_000) if x == 1 else ""}}

    with limited as storage, caplog.at_level(logging.WARNING, "evalpool"):
        with Evaluator.create(run, "thread", {"storage": storage}) as evaluator:
            with pytest.raises(NotJSON, match=r"bytes as JSON, and .* keeps 1990000 at the most"):
                evaluator.submit([{"x": 0}, {"x": 1, "text": "a" * 3_000_000}])
            evaluator.submit([{"x": x} for x in range(4)])
            jobs = evaluator.gather()
            evaluator.submit([{"x": x, "text": "a" * 900_000} for x in (4, 5, 6)])  # together more than the limit
            jobs += evaluator.gather()
        records = {record.configuration["x"]: record for record in storage.results()}
    assert sorted(len(job.metadata["large"]) for job in jobs) == [*(6 * [0]), 3_000_000]
    assert {x: record.objective for x, record in records.items()} == {x: x for x in range(7)}
    assert records[1].metadata["small"] == 1
    assert records[1].metadata["large"].endswith("... (3000000 characters are too many for this storage)")
    assert "more than" in caplog.text
