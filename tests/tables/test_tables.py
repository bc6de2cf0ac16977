"""The columns and cells of a table of jobs, and the file that they are kept in."""

from __future__ import annotations

import csv
import enum
import io
import math
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalpool.errors import BadArgument
from evalpool.models import FailureKind, JobOptions, JobRecord, JobStatus
from evalpool.tables._cells import cell, line_of, line_of_values
from evalpool.tables._rows import MOST_SHAPES, row_of, table_of
from evalpool.tables._tables import TableWriter, read_table, write_table

ALWAYS = ["m:timestamp_submit", "m:timestamp_start", "m:timestamp_end", "m:timestamp_gather", "m:worker"]


def record(number: int, configuration: dict[str, Any] | None = None, **facts: Any) -> JobRecord:
    known: dict[str, Any] = {"status": JobStatus.DONE, "objective": 1.0, **facts}
    return JobRecord(job_id=f"0.{number}", search_id="0", number=number, configuration=configuration or {}, **known)


def failure(number: int, text: str = "F_ValueError", **facts: Any) -> JobRecord:
    return record(number, status=JobStatus.FAILED, objective=text, kind=FailureKind.RAISED, **facts)


def raw(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def header(path: Path) -> list[str]:
    with open(path, encoding="utf-8", newline="") as file:
        return next(csv.reader(file))


# Columns.


def test_options_have_columns_only_where_a_job_has_some(tmp_path: Path) -> None:
    plain = record(0, {"x": 1})
    chosen = record(1, {"x": 2}, options=JobOptions(priority=2, job_timeout=0.0, tags=("a", "b, c")))
    assert table_of([plain])[0] == ("p:x", "objective", "job_id", "job_status", *ALWAYS)
    names, rows = table_of([plain, chosen])
    assert names[-3:] == ("m:priority", "m:job_timeout", "m:tags")
    assert [rows[1][name] for name in names[-3:]] == [2, 0.0, ["a", "b, c"]]
    writer = TableWriter(tmp_path / "table.csv")
    writer.append([plain])
    writer.append([chosen])
    assert [line["m:tags"] for line in raw(tmp_path / "table.csv")] == ["", '["a", "b, c"]']


def test_metadata_of_the_run_function_stand_in_the_place_of_options() -> None:
    told = record(0, {}, options=JobOptions(tags=("a",)), metadata={"tags": "its own"})
    assert row_of(told).metadata["tags"] == "its own"


def test_the_columns_stand_in_the_order_of_the_contract() -> None:
    names, _ = table_of([record(0, {"x": 1, "y": 2}, metadata={"memory": 5})])
    assert list(names) == ["p:x", "p:y", "objective", "job_id", "job_status", *ALWAYS, "m:memory"]


def test_a_record_and_its_metadata_become_one_row() -> None:
    job = record(7, {"x": 1}, timestamp_start=0.5, worker="w-1", pid=12, metadata={"epochs": 3, "_private": 1})
    row = row_of(job)
    assert row.number == 7
    assert row.metadata == {"epochs": 3, "_private": 1, "timestamp_start": 0.5, "worker": "w-1", "pid": 12}
    names, [values] = table_of([job])
    assert {name: value for name, value in values.items() if name[:2] == "m:"} == {
        "m:epochs": 3, "m:timestamp_start": 0.5, "m:worker": "w-1", "m:pid": 12,
    }  # fmt: skip
    assert "m:_private" not in names


def test_rows_of_any_names_stand_under_their_columns_however_many_sets_of_names_there_are(tmp_path: Path) -> None:
    jobs = []
    for number in range(2 * MOST_SHAPES):
        names = [f"x{bit}" for bit in range(10) if number & 1 << bit]
        job = record(number, dict.fromkeys(names, number), metadata={f"_{number}": 1, "a": names})
        jobs.append(failure(number) if number % 7 == 3 else job)
    writer = TableWriter(tmp_path / "t.csv")
    for first in range(0, len(jobs), 100):
        writer.append(jobs[first : first + 100])
    names, rows = table_of(jobs)
    assert len(read_table(writer.path)) == len(rows) == len(jobs)
    for job, row, line in zip(jobs, rows, read_table(writer.path), strict=True):
        expected = {"job_id": job.number, "job_status": job.status.name, "objective": job.objective}
        expected |= {f"p:{name}": value for name, value in job.configuration.items()}
        assert {name: row[name] for name in expected} == {name: line[name] for name in expected} == expected
        assert all(row.get(name) is None for name in names if name[:2] == "p:" and name not in expected)


@pytest.mark.parametrize(
    "value", [1, -1.5, float("nan"), float("inf"), 1e300, True, None, "", "a", "=1", "'=1", 'a"b', "a,b\n", "a\0b",
              "x" * 200 + ",", [1, "a"], {"a": 2}, 10**5000, np.float64(0.5), JobStatus.DONE],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_line_of_values_is_the_line_of_their_cells(value: Any) -> None:
    assert line_of_values([value, 1.0, value]) == line_of([cell(value), cell(1.0), cell(value)])


def test_several_objectives_have_one_column_each() -> None:
    names, rows = table_of([record(0, objective=(1, 2.5)), record(1, objective=(3, 4))])
    assert names[:2] == ("objective_0", "objective_1")
    assert [(row["objective_0"], row["objective_1"]) for row in rows] == [(1, 2.5), (3, 4)]


def test_eleven_objectives_stand_in_numeric_order() -> None:
    names, _ = table_of([record(0, objective=tuple(range(11)))])
    assert names[:11] == tuple(f"objective_{i}" for i in range(11))


def test_a_failure_fills_every_objective_column() -> None:
    _, rows = table_of([failure(0), record(1, objective=(1, 2)), failure(2, "F_oom")])
    assert [(row["objective_0"], row["objective_1"]) for row in rows] == [
        ("F_ValueError", "F_ValueError"),
        (1, 2),
        ("F_oom", "F_oom"),
    ]


def test_general_tasks_have_a_column_per_key_of_their_output() -> None:
    names, rows = table_of([record(0, objective=None, output={"a": 1, "b": 2})], job_type="task")
    assert names[:2] == ("o:a", "o:b")
    assert rows[0]["o:b"] == 2


def test_a_general_task_without_a_dict_has_one_column() -> None:
    names, rows = table_of([record(0, objective=None, output=[1, 2])], job_type="task")
    assert names[0] == "o:"
    assert rows[0]["o:"] == [1, 2]


def test_a_failed_task_fills_the_columns_of_the_others() -> None:
    names, rows = table_of([failure(0), record(1, objective=None, output={"a": 1})], job_type="task")
    assert "o:" not in names
    assert [row["o:a"] for row in rows] == ["F_ValueError", 1]


# Cells.


class Colour(enum.Enum):
    RED = "red"


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (-1.5, "-1.5"),
        (0.1, "0.1"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (True, "True"),
        (None, ""),
        ("relu", "relu"),
        (np.float64(0.25), "0.25"),
        (np.int64(3), "3"),
        (np.bool_(True), "True"),
        ([1, 2], "[1, 2]"),
        ({"a": None}, '{"a": null}'),
        (np.arange(3), "[0, 1, 2]"),
        (Colour.RED, "red"),
        (Path("/tmp/x"), "/tmp/x"),
        (Unprintable(), "<Unprintable>"),
        pytest.param(10**5000, "<int>", id="more digits than Python prints"),
    ],
)
def test_cells(value: Any, text: str) -> None:
    assert cell(value) == text


@pytest.mark.parametrize(
    "text", ["=1+1", "+A1", "-A1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "-inf", "=HYPERLINK()", "－1+1"]
)
def test_a_text_that_a_spreadsheet_would_run_is_written_so_that_it_does_not(text: str) -> None:
    assert cell(text) == "'" + text


@pytest.mark.parametrize("text", ["-1.5", "+3", "-1e-3", "-.5", "a=1", "'quoted'", "", " =1"])
def test_a_text_that_a_spreadsheet_would_not_run_is_written_as_it_is(text: str) -> None:
    assert cell(text) == text


texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12)
dangerous = st.builds(str.__add__, st.text("'=+-@\t\r\n", max_size=3), texts)
scalars = st.one_of(
    st.integers(-(10**20), 10**20), st.floats(allow_nan=False), st.booleans(), st.none(), texts, dangerous
)


def reads_as_another_type(value: Any) -> bool:
    """A text that looks like a number comes back as one: a CSV file knows no types."""
    if not isinstance(value, str):
        return False
    try:
        float(value.replace("_", ""))
    except ValueError:
        return value in ("True", "False")
    return True


@settings(max_examples=150, deadline=None)
@given(st.lists(st.dictionaries(texts, scalars, max_size=3), min_size=1, max_size=5))
def test_what_was_given_is_read_back(configurations: list[dict[str, Any]]) -> None:
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"evalpool-table-{os.getpid()}.csv"
    try:
        write_table(path, [record(i, config) for i, config in enumerate(configurations)])
        rows = read_table(path)
    finally:
        path.unlink(missing_ok=True)
    assert len(rows) == len(configurations)
    for row, config in zip(rows, configurations, strict=True):
        for key, value in config.items():
            read = row.get(f"p:{key}")
            if value is None or value == "":
                assert read is None
            elif reads_as_another_type(value):
                assert str(read) == value or read == float(value)
            else:
                assert read == value
                assert type(read) is type(value)


@settings(max_examples=100, deadline=None)
@given(texts)
def test_csv_reads_every_text_that_is_no_formula_as_it_was(text: str) -> None:
    file = io.StringIO(newline="")
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"evalpool-cell-{os.getpid()}.csv"
    try:
        write_table(path, [record(0, {"x": text})])
        read = raw(path)[0]["p:x"]
    finally:
        path.unlink(missing_ok=True)
        file.close()
    assert read in (text, "'" + text)


def test_pandas_reads_the_same_numbers(tmp_path: Path) -> None:
    numbers = [0.1, 1 / 3, 1e-300, 123456789.123456789, -0.0]
    path = write_table(tmp_path / "t.csv", [record(i, {"x": x}, objective=x) for i, x in enumerate(numbers)])
    frame = pd.read_csv(path)
    # pandas before 3 reads floats to within one unit in the last place unless told otherwise
    assert frame["p:x"].tolist() == pytest.approx(numbers, rel=1e-15)
    assert frame["objective"].tolist() == pytest.approx(numbers, rel=1e-15)
    assert frame["job_id"].tolist() == [0, 1, 2, 3, 4]


def test_pandas_reads_a_text_with_a_zero_byte_and_a_lone_surrogate(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", [record(0, {"x": "a\0b\ud800"}), record(1, {"x": "c"})])
    assert pd.read_csv(path)["p:x"].tolist() == ["a\\x00b\\ud800", "c"]


# The file.


def test_rows_are_appended(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path / "t.csv")
    writer.append([record(0, {"x": 1})])
    inode = writer.path.stat().st_ino
    writer.append([record(1, {"x": 2}), record(2, {"x": 3})])
    assert [row["p:x"] for row in raw(writer.path)] == ["1", "2", "3"]
    assert writer.path.stat().st_ino == inode


def test_an_append_costs_the_same_whatever_was_written_before(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path / "t.csv")
    writer.append([record(i, {"x": i}) for i in range(2000)])
    calls: list[str] = []

    def count(frame: Any, event: str, argument: Any) -> None:
        calls.append(event)

    def cost(number: int) -> int:
        calls.clear()
        sys.setprofile(count)
        try:
            writer.append([record(number, {"x": 1})])
        finally:
            sys.setprofile(None)
        return len(calls)

    after_many = cost(2000)
    fresh = TableWriter(tmp_path / "u.csv")
    fresh.append([record(0, {"x": 0})])
    writer = fresh
    assert after_many == cost(1)


def test_there_is_a_file_after_the_first_failure(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path / "t.csv")
    writer.append([failure(0)])
    assert raw(writer.path)[0]["objective"] == "F_ValueError"


def test_columns_that_appear_later_are_added_and_nothing_is_dropped(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path / "t.csv")
    writer.append([record(0, {"x": "=a"}, metadata={"a": "1,2"})])
    writer.append([record(1, {"x": "line\nbreak", "y": 'say "y"'}, metadata={"b": 3})])
    writer.append([record(2, {"x": "z"})])
    assert header(writer.path) == ["p:x", "p:y", "objective", "job_id", "job_status", *ALWAYS, "m:a", "m:b"]
    rows = read_table(writer.path)
    assert [row["p:x"] for row in rows] == ["=a", "line\nbreak", "z"]
    assert [row.get("p:y") for row in rows] == [None, 'say "y"', None]
    assert [row.get("m:a") for row in rows] == ["1,2", None, None]
    assert [row.get("m:b") for row in rows] == [None, 3, None]


def test_failures_before_the_number_of_objectives_is_known_fill_all_columns_later(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path / "t.csv")
    writer.append([failure(0)])
    assert "objective" in header(writer.path)
    writer.append([record(1, objective=(1.0, 2.0))])
    writer.append([failure(2, "F_oom")])
    rows = raw(writer.path)
    assert "objective" not in rows[0]
    assert [(row["objective_0"], row["objective_1"]) for row in rows] == [
        ("F_ValueError", "F_ValueError"),
        ("1.0", "2.0"),
        ("F_oom", "F_oom"),
    ]


def test_one_number_in_a_search_with_several_objectives_is_the_first(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path / "t.csv")
    writer.append([record(0, objective=0.5)])
    writer.append([record(1, objective=(1.0, 2.0))])
    writer.append([record(2, objective=0.25)])
    assert [(row["objective_0"], row["objective_1"]) for row in raw(writer.path)] == [
        ("0.5", ""),
        ("1.0", "2.0"),
        ("0.25", ""),
    ]


def test_a_failed_task_written_first_fills_the_columns_of_the_others(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path / "t.csv")
    writer.append([failure(0)], job_type="task")
    writer.append([record(1, objective=None, output={"a": "Fine", "b": 2})], job_type="task")
    writer.append([record(2, objective=None, output={"c": 3})], job_type="task")
    rows = read_table(writer.path)
    assert [row.get("o:a") for row in rows] == ["F_ValueError", "Fine", None]
    assert [row.get("o:b") for row in rows] == ["F_ValueError", 2, None]
    assert [row.get("o:c") for row in rows] == ["F_ValueError", None, 3]


def test_a_file_with_a_huge_cell_is_still_rewritten(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path / "t.csv")
    limit = csv.field_size_limit()
    writer.append([record(0, metadata={"log": "x" * 300_000})])
    writer.append([record(1, metadata={"late": 1})])
    assert len(read_table(writer.path)[0]["m:log"]) == 300_000
    assert csv.field_size_limit() == limit


def test_a_table_of_an_earlier_search_is_kept_beside_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("a week of work\n")
    writer = TableWriter(path)
    assert path.read_text() == "a week of work\n"  # nothing is touched before there is a result
    writer.append([record(0)])
    assert (tmp_path / "results.csv.old").read_text() == "a week of work\n"
    assert len(raw(path)) == 1


def test_a_table_that_was_removed_begins_again_with_a_header(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path / "t.csv")
    writer.append([record(0, {"x": 1})])
    writer.path.unlink()
    writer.append([record(1, {"x": 2})])
    assert [row["p:x"] for row in raw(writer.path)] == ["2"]


@pytest.mark.parametrize("late", [{}, {"late": 1}], ids=["the same columns", "a new column"])
def test_a_table_whose_directory_was_gone_for_a_while_has_all_rows(tmp_path: Path, late: dict[str, Any]) -> None:
    place = tmp_path / "mounted"
    place.mkdir()
    writer = TableWriter(place / "t.csv")
    writer.open()
    writer.append([record(0), record(1)])
    place.rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError):
        writer.append([record(2, metadata=late)])
    assert (writer.written, writer.missing) == (2, 1)
    (tmp_path / "away").rename(place)
    writer.append([record(3)])
    assert [row["job_id"] for row in raw(writer.path)] == ["0", "1", "2", "3"]
    assert (writer.written, writer.missing) == (4, 0)
    writer.close()


@pytest.mark.parametrize("late", [{}, {"late": 1}], ids=["the same columns", "a new column"])
@pytest.mark.parametrize("became", ["empty", "removed", "a pipe", "a link"])
def test_a_table_that_was_emptied_or_replaced_begins_again(tmp_path: Path, became: str, late: dict[str, Any]) -> None:
    writer = TableWriter(tmp_path / "t.csv")
    writer.append([record(0), record(1)])
    (tmp_path / "other.csv").write_text("job_id,objective\n7,7\n")
    writer.path.unlink()
    if became == "empty":
        writer.path.touch()
    elif became == "a pipe":
        os.mkfifo(writer.path)
    elif became == "a link":
        writer.path.symlink_to(tmp_path / "other.csv")
    writer.append([record(2, metadata=late)])
    writer.append([record(3, metadata=late)])
    assert [row["job_id"] for row in raw(writer.path)] == ["2", "3"]
    assert (writer.written, writer.missing) == (2, 0)
    assert (tmp_path / "other.csv").read_text() == "job_id,objective\n7,7\n"


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "t.csv"
    link.symlink_to(tmp_path / "disk" / "real.csv")
    writer = TableWriter(link)
    writer.append([record(0)])
    writer.append([record(1, metadata={"late": 1})])
    assert link.is_symlink()
    assert len(raw(tmp_path / "disk" / "real.csv")) == 2


@pytest.fixture
def small_disk() -> Iterator[Any]:
    """Files of this process cannot grow beyond a limit: a full disk without a disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def limit(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    try:
        yield limit
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("late", [{}, {"late": 1}], ids=["append", "rewrite"])
def test_a_full_disk_costs_no_row_and_leaves_the_file_whole(tmp_path: Path, small_disk: Any, late: Any) -> None:
    writer = TableWriter(tmp_path / "t.csv")
    writer.append([record(0, {"x": "a"})])
    before = writer.path.read_bytes()
    small_disk(len(before) + 10)
    with pytest.raises(OSError):
        writer.append([record(1, {"x": "b" * 500}, metadata=late)])
    assert writer.path.read_bytes() == before
    small_disk(100_000)
    writer.append([record(2, {"x": "c"})])
    assert [row["job_id"] for row in raw(writer.path)] == ["0", "1", "2"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["t.csv"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/no/such/directory/t.csv", "make it first"),
        ("/tmp", "is a directory"),
        ("/dev/null", "not a regular file"),
        (f"/tmp/{'a' * 240}.csv", "has 244 bytes; give one of at most 230"),
        (3, "of type int"),
    ],
)
def test_a_place_that_cannot_hold_a_table_is_refused_at_once(path: Any, message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        TableWriter(path)


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BadArgument, match="no column job_id"):
        read_table(tmp_path / "x.csv")
    with pytest.raises(BadArgument, match="no file"):
        read_table(tmp_path / "y.csv")
