"""The examples about results that are kept: run as a user would, and judged by what they leave."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_examples import run, table

from evalpool.outcomes import JobStatus
from evalpool.storage import SQLiteStorage

pytestmark = pytest.mark.slow


def test_a_killed_search_goes_on_and_ends_with_its_evaluations(tmp_path: Path) -> None:
    out = run("resume.py", tmp_path)
    killed = re.search(r"killed after (\d+) evaluations", out)
    second = re.search(r"(\d+) evaluations were restored, (\d+) run again, (\d+) are new", out)
    assert killed is not None
    assert second is not None
    restored, again, new = map(int, second.groups())
    assert restored >= int(killed[1]) >= 10
    assert again <= 2
    assert restored + again + new == 30
    assert "30 evaluations; the best is" in out
    with SQLiteStorage(tmp_path / "resume.db") as storage:
        assert [record.status for record in storage.results()] == [JobStatus.DONE] * 30
        assert storage.load_all_search_ids() == ["0"]


def test_two_searches_share_a_file_and_are_told_apart(tmp_path: Path) -> None:
    lines = sorted(run("two_searches.py", tmp_path).splitlines())
    assert len(lines) == 2
    assert {line.split(", ")[0] for line in lines} == {"search 0", "search 1"}
    assert {line.split(", ")[1].partition(":")[0] for line in lines} == {"everywhere", "near the best"}
    for name in ("everywhere", "near_the_best"):
        rows = table(tmp_path / f"{name}.csv")
        assert len(rows) == 60
        assert {row["job_status"] for row in rows} == {"DONE"}
