"""The searches on a table, alone and in a comparison, and the script that made the table."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from example_runs import EXAMPLES, run

from evalpool.storage import SQLiteStorage

TABLE = EXAMPLES.parent / "src" / "evalpool" / "benchmarks" / "adapters" / "digits.csv"

pytestmark = pytest.mark.slow


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_three_searches_are_compared_on_up_to_512_workers(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    out = run("tabular.py", tmp_path, "--quick")
    found = re.findall(r" *(\d+) workers, .* s: ([\w ]+?) +(\d+) evaluations, error (0\.\d+)", out)
    assert [(int(workers), name) for workers, name, _, _ in found] == [
        (workers, name) for workers in (1, 8, 64, 512) for name in ("random search", "TPE", "successive halving")
    ]
    assert all(float(error) < 0.2 for _, _, _, error in found)
    assert (tmp_path / "tabular.png").stat().st_size > 10_000


def test_searches_are_compared_and_a_second_start_has_nothing_left_to_run(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = run("compare_searches.py", tmp_path, "--quick")
    assert out.startswith("<Comparison of 3 searches on 1 benchmarks: 27 cells>")
    found = re.findall(r" *(\d+) workers, ([\w ]+?) *: rank (\d\.\d) .*workers busy (\d+) %", out)
    assert len(found) == 9
    assert min(found, key=lambda row: int(row[3]))[1] == "in batches"
    assert "<h1>Searches on digits</h1>" in (tmp_path / "comparison.html").read_text()
    assert run("compare_searches.py", tmp_path, "--quick") == out
    with SQLiteStorage(tmp_path / "comparison.db") as storage:
        assert storage.count_jobs("0") == 27


def test_the_table_is_small_and_each_training_takes_longer_the_longer_it_goes_on() -> None:
    rows = rows_of(TABLE)
    assert len(rows) == 360 * 4
    assert TABLE.stat().st_size < 300_000
    for first in range(0, len(rows), 4):
        curve = rows[first : first + 4]
        assert [row["epochs"] for row in curve] == ["1", "3", "9", "27"]
        seconds = [float(row["seconds"]) for row in curve]
        assert seconds == sorted(set(seconds))


def test_the_script_makes_rows_like_those_of_the_table(tmp_path: Path) -> None:
    run("digits_table/make.py", tmp_path, "--every", "350", "--output", "made.csv")
    made, table = rows_of(tmp_path / "made.csv"), rows_of(TABLE)
    assert len(made) == 8
    assert made[0].keys() == table[0].keys()
    names = ("units", "rate", "batch", "penalty", "epochs")
    assert {tuple(row[name] for name in names) for row in made} < {tuple(row[name] for name in names) for row in table}


def test_stoppers_start_more_trainings_and_find_better_ones_in_the_same_virtual_time(tmp_path: Path) -> None:
    out = run("curves.py", tmp_path)
    found = re.findall(r"([\w ]+?) +(\d+) trainings, best error (0\.\d+), below 3 % after (\d\.\d+) s", out)
    assert [name for name, *_ in found] == ["no stopper", "median rule", "halving", "Hyperband", "promotion"]
    (_, none, error, seconds), *stopped = found
    assert all(int(count) > 1.5 * int(none) for _, count, _, _ in stopped)
    assert all(float(best) <= float(error) and float(good) < float(seconds) for _, _, best, good in stopped)
