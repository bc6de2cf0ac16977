"""Options of single jobs: in files of configurations, in what is shown, and to choose jobs by their tags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Command
from evalpool import Evaluator, Submission
from evalpool.cli._campaign import Watcher
from evalpool.cli._configurations import read_configurations, read_space_file
from evalpool.cli._feed import Feed
from evalpool.cli._listed import Listed
from evalpool.cli.commands.retry import to_retry
from evalpool.errors import BadArgument
from evalpool.outcomes import JobStatus
from evalpool.storage import MemoryStorage, SQLiteStorage


def of_jsonl(tmp_path: Path, *lines: Any) -> list[Any]:
    path = tmp_path / "grid.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return read_configurations(str(path))


def of_csv(tmp_path: Path, text: str) -> list[Any]:
    path = tmp_path / "grid.csv"
    path.write_text(text)
    return read_configurations(str(path))


def test_a_mark_of_byte_order_is_no_part_of_a_file(tmp_path: Path) -> None:
    for name, text in (("a.jsonl", '{"x": 1}\n'), ("a.csv", "x\n1\n")):
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
        assert read_configurations(str(tmp_path / name)) == [{"x": 1}]
    (tmp_path / "space.json").write_text('{"x": [0, 1]}', encoding="utf-8-sig")
    assert read_space_file(str(tmp_path / "space.json")) == {"x": [0, 1]}


def test_what_a_table_holds_is_read_back_from_it_as_configurations(tmp_path: Path) -> None:
    configurations = [{"n": value, "text": "x" * 200_000} for value in (10**399, -(10**399), 10**400, 10**4299, 1.5)]
    with Evaluator.create(lambda job: 1.0) as evaluator:
        evaluator.submit(configurations)
        evaluator.gather()
        path = evaluator.to_csv(tmp_path / "table.csv")
    assert read_configurations(str(path)) == configurations


def test_a_line_of_json_may_hold_options_beside_its_configuration(tmp_path: Path) -> None:
    lines: list[Any] = [
        {"x": 1},
        {"configuration": {"x": 2}, "priority": 2, "tags": ["a"]},
        {"configuration": {"x": 3}, "job_timeout": 0},
        {"configuration": {"x": 4}},  # without options, as others of the file have them
        {"configuration": "plain", "priority": 3},  # parameters of these names
        {"configuration": {"a": 1}, "x": 3},
        {"configuration": {"configuration": {"a": 1}, "priority": 3}},
        {"configuration": {"x": 5}, "priority": None, "job_timeout": None, "tags": None},  # as writers of JSON say it
        {"configuration": {"x": 6}, "priority": 2.0},  # as a column with gaps becomes
        {"config": {"x": 7}},
        {"x": {"a": 1}, "priority": 2},
    ]
    assert of_jsonl(tmp_path, *lines) == [
        {"x": 1},
        Submission({"x": 2}, priority=2, tags=["a"]),
        Submission({"x": 3}, job_timeout=0),
        {"x": 4},
        {"configuration": "plain", "priority": 3},
        {"configuration": {"a": 1}, "x": 3},
        {"configuration": {"a": 1}, "priority": 3},
        {"x": 5},
        Submission({"x": 6}, priority=2),
        {"config": {"x": 7}},
        {"x": {"a": 1}, "priority": 2},
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"configuration": {"x": 1}, "priority": "high"}, "line 2 of .*: priority is 'high'"),
        ({"configuration": {"x": 1}, "priority": 1.5}, "line 2 of .*: priority is 1.5"),
        ({"configuration": {"x": 1}, "prioritty": 2}, "'prioritty' beside 'configuration'. Is .* meant to be priority"),
        ({"configuration": {"x": 1}, "Tag": ["a"]}, "Is 'Tag' meant to be tags"),
        ({"configuration": {"x": 1}, "timeout": 3, "x": 2}, "Is 'timeout' meant to be job_timeout"),
        ({"configuration": {"x": 1}, "options": {"priority": 3}}, "Is 'options' meant to be options themselves"),
        ({"configuraton": {"x": 1}, "priority": 2}, "has 'configuraton'. Is it meant to be 'configuration'"),
        ({"Configurations": {"x": 1}}, "has 'Configurations'. Is it meant to be 'configuration'"),
        ({"config": {"x": 1}, "tags": ["a"]}, "has 'config'. Is it meant to be 'configuration'"),
        ({"configuration": {"x": 1}, "tags": "a"}, "line 2 of .*: tags is 'a'"),
        ({"configuration": {"x": 1}, "priority": 1, "tag": ["a"]}, "has 'tag' beside 'configuration' and 'priority'"),
    ],
)
def test_a_wrong_option_in_a_line_is_told_with_the_line(line: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match=said):
        of_jsonl(tmp_path, {"x": 1}, line)


def test_columns_of_a_csv_file_may_hold_options(tmp_path: Path) -> None:
    text = 'x,options:priority,options:tags,options:job_timeout\n1,,,\n2,3,"a, b",1.5\n3,-1,"[""c"", ""7""]",0\n4,,7,\n'
    assert of_csv(tmp_path, text) == [
        {"x": 1},
        Submission({"x": 2}, 3, 1.5, ["a", "b"]),
        Submission({"x": 3}, -1, 0, ["c", "7"]),
        Submission({"x": 4}, tags=["7"]),
    ]
    assert of_csv(tmp_path, "p:x,objective,options:tags\n1,2.0,a\n") == [Submission({"x": 1}, tags=["a"])]
    assert of_csv(tmp_path, "p:options:tags\n1\n") == [{"options:tags": 1}]
    assert of_csv(tmp_path, "p:options_tags\n1\n") == [{"options_tags": 1}]
    assert of_csv(tmp_path, "optimizer,option_value,options\n1,2,3\n") == [
        {"optimizer": 1, "option_value": 2, "options": 3}
    ]
    text = "x,options:priority,options:tags\n1,null,None\n2,2.0,NaN\n3,-1,a\n"  # columns with gaps
    assert of_csv(tmp_path, text) == [{"x": 1}, Submission({"x": 2}, 2), Submission({"x": 3}, -1, tags=["a"])]


def test_a_column_of_no_option_or_a_wrong_value_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match="'options:prio'; a job has the options options:priority, "):
        of_csv(tmp_path, "x,options:prio\n1,2\n")
    for name in ("option:priority", "Options:Priority", "options.priority", "options_priority", "options: prioritty"):
        with pytest.raises(BadArgument, match=f"'{name}'.*options:priority"):
            of_csv(tmp_path, f"x,{name}\n1,2\n")
    with pytest.raises(BadArgument, match=r"line 3 of .*: priority is 'high'"):
        of_csv(tmp_path, "x,options:priority\n1,2\n1,high\n")
    with pytest.raises(BadArgument, match="'options:priority' more than once"):
        of_csv(tmp_path, "x,options:priority,options:priority\n1,2,2\n")


def test_those_of_a_higher_priority_are_asked_for_first() -> None:
    given: list[Any] = [{"x": 1}, Submission({"x": 2}, -1), Submission({"x": 3}, 2), {"x": 4}, Submission({"x": 5}, 2)]
    listed = Listed(given)
    assert [listed.ask() for _ in given] == [given[index] for index in (2, 4, 0, 3, 1)]


def run(job: Any) -> float:
    if job["x"] == 2:
        raise ValueError("two")
    return float(job["x"])


def a_search(storage: Any) -> None:
    with Evaluator.create(run, "serial", {"storage": storage}) as evaluator:
        evaluator.submit([{"x": 1}, Submission({"x": 2}, 3, 30, ["warm", "b"]), Submission({"x": 3}, tags=["warm"])])
        evaluator.gather("ALL")


def test_what_is_run_again_keeps_its_options() -> None:
    with MemoryStorage() as storage:
        a_search(storage)
        assert to_retry(storage.results(), {JobStatus.FAILED}) == [Submission({"x": 2}, 3, 30, ["warm", "b"])]


def test_a_summary_counts_tags_and_may_be_of_those_that_have_some() -> None:
    with MemoryStorage() as storage:
        a_search(storage)
        summaries = []
        for tags in ((), ("warm",), ("warm", "b"), ("none",)):
            watcher = Watcher(storage, tags)
            watcher.look()
            summaries.append(watcher.campaigns["0"].summary())
    assert [summary["jobs"]["all"] for summary in summaries] == [3, 2, 1, 0]
    assert [summary["evaluated"] for summary in summaries] == [3, 2, 1, 0]
    assert summaries[0]["tags"] == {"warm": 2, "b": 1}
    assert summaries[1]["best"]["configuration"] == {"x": 3}


def test_the_page_is_told_tags_and_options() -> None:
    with MemoryStorage() as storage:
        a_search(storage)
        feed = Feed(storage)
        assert {row[0]: row[-1] for row in feed.rows(None, 0)["rows"]} == {0: "", 1: "warm, b", 2: "warm"}
        assert feed.detail("0", 1)["options"] == {"priority": 3, "job_timeout": 30.0, "tags": "warm, b"}


@pytest.mark.slow
def test_a_tag_chooses_what_is_shown_and_exported(evalpool: Command) -> None:
    (evalpool.directory / "tagged.csv").write_text("x,options:tags,options:priority\n1,warm,\n3,warm,\n5,cold,4\n6,,\n")
    arguments = [
        "--configs",
        "tagged.csv",
        "--backend",
        "serial",
        "--storage",
        "sqlite:///store.db",
        "--progress",
        "off",
    ]
    assert "warm 2, cold 1" in evalpool("run", "program:run", *arguments).stdout
    assert evalpool.calls == [5, 1, 3, 6]  # the highest priority first
    said = evalpool("status", "store.db", "--tag", "warm").stdout
    assert "jobs tagged warm" in said
    assert "evaluated   2, 1 failed" in said
    assert "tags        cold" in evalpool("show", "store.db", "0").stdout
    lines = evalpool("export", "store.db", "--tag", "warm", "-o", "-").stdout.splitlines()
    assert [json.loads(line)["configuration"]["x"] for line in lines] == [1, 3]
    evalpool("export", "store.db", "--tag", "cold", "-o", "cold.csv")
    assert (evalpool.directory / "cold.csv").read_text().splitlines()[1].startswith("5,")
    evalpool("plot", "store.db", "--tag", "warm", "-o", "warm.svg")
    again = evalpool(
        "retry", "store.db", "--failed", "--function", "program:fail", "--force", "--tag", "cold", "--json"
    ).stdout
    assert json.loads(again)["retried"] == 0
    evalpool(
        "retry", "store.db", "--failed", "--function", "program:chatty", "--force", "--tag", "warm", "--backend",
        "serial", "--progress", "off",
    )  # fmt: skip
    with SQLiteStorage(evalpool.directory / "store.db") as storage:
        assert [record.options.tags for record in storage.results()][-1] == ("warm",)
