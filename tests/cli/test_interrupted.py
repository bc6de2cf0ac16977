"""A Ctrl-C before any line of what the command does: what it shows later is right, what it keeps is whole."""

from __future__ import annotations

import contextlib
import csv
import json
import sys
from pathlib import Path

import pytest

from evalpool import SerialEvaluator
from evalpool.cli._campaign import Campaign, Watcher
from evalpool.cli._evaluation import Evaluation
from evalpool.cli._export import export
from evalpool.cli._feed import Feed
from evalpool.cli._listed import SharedList
from evalpool.cli._main import main
from evalpool.cli._parser import build_parser, command_of
from evalpool.storage import MemoryStorage, SQLiteStorage
from evalpool.storage._fold import State
from faults.lines import interrupt_at

pytestmark = pytest.mark.slow


def test_a_look_is_right_wherever_an_interrupt_struck_the_one_before() -> None:
    storage = MemoryStorage()
    watcher, feed = Watcher(storage), Feed(storage)
    feed.close()
    functions = [Watcher.look, Watcher._take_in, Campaign.update, Campaign._end, State.apply, Feed._look]
    shown: dict[int, list[object]] = {}
    which, version, struck = 0, 0, True
    with SerialEvaluator(lambda job: float(job["x"]), storage=storage) as evaluator:
        while struck:
            evaluator.submit([{"x": which}])
            evaluator.gather()
            with interrupt_at(which, *functions) as line, contextlib.suppress(KeyboardInterrupt):
                watcher.look()
                feed.rows(None, version)
            watcher.look()
            more = 1
            while more:
                answer = feed.rows(None, version)
                version, more = answer["version"], answer["more"]
                shown |= {row[0]: row for row in answer["rows"]}
            for summary in (watcher.campaigns[evaluator.search_id].summary(), answer["summary"]):
                assert summary["jobs"] == {
                    **dict.fromkeys(summary["jobs"], 0),
                    "all": which + 1,
                    "succeeded": which + 1,
                }
                assert summary["best"]["objective"] == which, line.struck
            assert [shown[number][2] for number in range(which + 1)] == list(range(which + 1)), line.struck
            struck = line.struck is not None
            which += 1
    assert which > 60


def test_an_interrupt_while_the_command_line_is_read_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    which, struck = 0, True
    while struck:
        with interrupt_at(which, build_parser, command_of) as line:
            code = main(["status", "none.db"])
        struck = line.struck is not None
        errors = capsys.readouterr().err
        assert (code, errors.startswith("evalpool: interrupted" if struck else "evalpool status: there is no")) == (
            130 if struck else 2,
            True,
        ), line.struck
        which += 1
    assert which > 5


def test_the_command_leaves_store_table_and_exit_code_right_wherever_an_interrupt_strikes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "program.py").write_text("def run(job):\n    return float(job['x'])\n")
    (tmp_path / "grid.jsonl").write_text('{"x": 0}\n{"x": 1}\n')
    functions = [
        Evaluation.run, Evaluation._conclude, Evaluation._print_summary, Evaluation._evaluate_missing,
        Evaluation._progress.__wrapped__, Evaluation._marked_as_ended.__wrapped__,
        SharedList.look, SharedList.ask, Watcher._take_in, Campaign.update, export,
    ]  # fmt: skip
    which, struck = 0, True
    while struck:
        store, table = tmp_path / f"{which}.db", tmp_path / f"{which}.{'csv' if which % 2 else 'jsonl'}"
        common = ["program.py:run", "--configs", "grid.jsonl", "--storage", str(store), "--backend", "serial", "--json"]
        common += ["--progress", "off", "--out", str(table)]
        with interrupt_at(which, *functions) as line:
            code = main(["run", *common])
        struck = line.struck is not None
        assert code == (130 if struck else 0), line.struck
        with SQLiteStorage(store) as storage:
            ended = [record.objective for record in storage.results()]
        assert ended in ([], [0.0], [0.0, 1.0]), line.struck
        capsys.readouterr()
        assert main(["run", *common, "--resume"]) == 0, line.struck
        assert json.loads(capsys.readouterr().out)["jobs"]["succeeded"] == 2, line.struck
        with SQLiteStorage(store) as storage:
            assert [record.objective for record in storage.results()] == [0.0, 1.0], line.struck
        lines = table.read_text().splitlines()
        rows = list(csv.DictReader(lines)) if which % 2 else list(map(json.loads, lines))
        assert [float(row["objective"]) for row in rows] == [0.0, 1.0], line.struck
        which += 1
    assert which > 40
