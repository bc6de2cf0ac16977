"""How many transactions a job costs in SQLite, counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evalpool import Evaluator
from evalpool.storage import SQLiteStorage, _writer
from evalpool.storage._sqlite_file import SQLiteFile

COUNT = 20


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("method", ["serial", "process"])
def test_a_turn_of_a_search_loop_is_three_transactions(
    method: str, batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers of new jobs; the jobs; starts, outcomes and that they were gathered. The thread adds none."""
    monkeypatch.setattr(_writer, "GROUP", 3600.0)
    begin, begun = SQLiteFile._begin, []

    def counting(self: SQLiteFile) -> Any:
        begun.append(self)
        return begin(self)

    monkeypatch.setattr(SQLiteFile, "_begin", counting)
    with SQLiteStorage(tmp_path / "s.db") as storage:
        with Evaluator.create(lambda job: job["x"] * 2.0, method, {"storage": storage, "num_workers": 2}) as evaluator:
            evaluator.submit([{"x": 0}])
            evaluator.gather()
            begun.clear()
            for turn in range(COUNT):
                evaluator.submit([{"x": turn}] * batch)
                assert len(evaluator.gather("ALL")) == batch
            assert len(begun) == 3 * COUNT
        assert len(storage.results()) == COUNT * batch + 1
