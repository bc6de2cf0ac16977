"""A file has one writer at a time, and what is new is never written through somebody's link."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalpool import Evaluator, SerialEvaluator
from evalpool._files import WriterLock, new_file, replacing
from evalpool.callbacks import CSVLoggerCallback
from evalpool.errors import BadArgument
from evalpool.simulation._files import write_atomically
from evalpool.storage import MemoryStorage
from evalpool.tables import TableWriter, read_table

BOUND = 60.0


def total(job: Any) -> float:
    return float(sum(job.parameters.values()))


def evaluator_on(path: Path) -> Evaluator:
    return SerialEvaluator(total, callbacks=[CSVLoggerCallback(path)])


def one_job(evaluator: Evaluator, **configuration: Any) -> None:
    evaluator.submit([configuration])
    evaluator.gather()


def test_a_second_evaluator_on_the_same_table_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    with evaluator_on(path) as first:
        one_job(first, x=1)
        with pytest.raises(BadArgument, match=rf"results\.csv' is being written by .*process {os.getpid()} "):
            evaluator_on(path)
        with pytest.raises(BadArgument, match="two writers would mix their rows"):
            first.to_csv(path)
        one_job(first, x=2)
    assert [row["p:x"] for row in read_table(path)] == [1, 2]
    with evaluator_on(path) as second:  # it is free again
        one_job(second, y=3)
    assert [row["p:y"] for row in read_table(path)] == [3]
    assert sorted(os.listdir(tmp_path)) == ["results.csv", "results.csv.old"]


def test_a_writer_that_nobody_holds_any_more_keeps_nobody_out(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    writer = TableWriter(path)
    writer.open()
    del writer
    TableWriter(path).open()


def test_two_writers_in_turn_do_not_mix_their_rows(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    with SerialEvaluator(total) as evaluator:
        one_job(evaluator, x=1)
        one_job(evaluator, x=2)
        records = evaluator.results()
    first, second = TableWriter(path), TableWriter(path)
    first.append(records[:1])
    with pytest.raises(BadArgument, match="another writer of this program"):
        second.append(records)
    first.append(records[1:])
    assert len(read_table(path)) == 2
    first.close()


OTHER_PROGRAM = """
import os, sys
from evalpool.tables import TableWriter
writer = TableWriter(sys.argv[1])
writer.open()
if sys.argv[2] == "forks":
    here, there = os.pipe()
    if os.fork() == 0:
        os.close(1)
        os.write(there, b"x")
        os.read(0, 1)  # lives on after its parent
        os._exit(0)
    os.read(here, 1)  # by now the child has closed its copy of the file
print(os.getpid(), flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["alone", "forks"])
def test_a_second_program_is_refused_until_the_first_ends_however_it_ends(tmp_path: Path, how: str) -> None:
    path = tmp_path / "results.csv"
    with subprocess.Popen(
        [sys.executable, "-c", OTHER_PROGRAM, str(path), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        pid = int(other.stdout.readline())
        with pytest.raises(BadArgument, match=rf"being written by process {pid} on .* since "):
            evaluator_on(path)
        other.kill()
        other.wait(BOUND)
        with evaluator_on(path) as evaluator:
            one_job(evaluator, x=1)
        assert other.stdin is not None
        other.stdin.close()  # now the child of the killed one ends
    assert [row["p:x"] for row in read_table(path)] == [1]


def csv_of_a_search(path: Path) -> None:
    with evaluator_on(path) as evaluator:
        one_job(evaluator, x=1)
        one_job(evaluator, y=2)  # a new column: written anew


def csv_at_once(path: Path) -> None:
    with SerialEvaluator(total) as evaluator:
        one_job(evaluator, x=1)
        evaluator.to_csv(path)


def parquet_at_once(path: Path) -> None:
    pytest.importorskip("pyarrow")
    storage = MemoryStorage()
    with SerialEvaluator(total, storage=storage) as evaluator:
        one_job(evaluator, x=1)
        evaluator.to_parquet(path)


def a_file_of_a_simulation(path: Path) -> None:
    write_atomically(str(path), b"{}")


def a_file_made_anew(path: Path) -> None:
    os.close(new_file(path))


WRITES = [csv_of_a_search, csv_at_once, parquet_at_once, a_file_of_a_simulation, a_file_made_anew]


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
def test_no_file_of_ours_is_written_through_a_link_that_somebody_put_there(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    precious, shared = tmp_path / "precious", tmp_path / "shared"
    precious.write_text("precious\n")
    shared.mkdir()
    target = shared / "results.csv"
    for name in (".results.csv.new", f".results.csv.{os.getpid()}", ".results.csv.lock", "results.csv.new"):
        (shared / name).symlink_to(precious)
    if write is a_file_made_anew:
        target.symlink_to(precious)
    write(target)
    assert precious.read_text() == "precious\n"
    assert target.is_file()
    assert not target.is_symlink()


def test_a_link_that_takes_the_tables_place_is_replaced_and_not_followed(tmp_path: Path) -> None:
    path, precious = tmp_path / "results.csv", tmp_path / "precious"
    precious.write_text("precious\n")
    with evaluator_on(path) as evaluator:
        one_job(evaluator, x=1)
        path.unlink()
        path.symlink_to(precious)
        one_job(evaluator, x=2)
    assert precious.read_text() == "precious\n"
    with open(path, newline="") as file:
        assert [row["p:x"] for row in csv.DictReader(file)][-1] == "2"


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / ".results.csv.0123456789abcdef.new").write_text("half")
    csv_of_a_search(tmp_path / "results.csv")
    assert os.listdir(tmp_path) == ["results.csv"]


def test_an_exception_while_a_file_is_written_leaves_what_stood_there(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("before")

    def write_half() -> None:
        with replacing(path) as file:
            file.write(b"half")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write_half()
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["results.csv"]


def test_a_lock_is_taken_once_and_given_up_twice(tmp_path: Path) -> None:
    guard = WriterLock(str(tmp_path / "results.csv"))
    guard.take()
    guard.take()
    guard.release()
    guard.release()
    assert os.listdir(tmp_path) == []
