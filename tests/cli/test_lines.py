"""How lines are broken that are wider than the terminal."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.conftest import Command
from cli.test_told import in_a_narrow_terminal
from evalpool.cli._lines import say, wrapped

STYLE = re.compile(r"\x1b\[[0-9;]*m")


def test_lines_are_broken_between_words_and_go_on_indented() -> None:
    text = "  best        -0.1  job 0.1: layers=4, lr=0.1"
    assert wrapped(text, 40, 14) == ["  best        -0.1  job 0.1: layers=4,", "              lr=0.1"]
    assert wrapped(text, None) == [text]
    assert wrapped("a" * 70, 60, 2) == ["a" * 60, "  " + "a" * 10]
    assert wrapped("木" * 40, 60) == ["木" * 30, "木" * 10]
    assert wrapped("\x1b[1m" + "a" * 60 + "\x1b[0m", 60) == ["\x1b[1m" + "a" * 60 + "\x1b[0m"]


@given(st.text("ab ,.木é", max_size=300), st.integers(30, 80), st.integers(0, 20))
def test_no_line_is_too_wide_and_no_word_is_lost(text: str, width: int, indent: int) -> None:
    lines = wrapped(text, width, indent)
    assert all(len(line) + line.count("木") <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_in_a_pipe_lines_stay_whole_unless_the_environment_says_how_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    for columns, lines in ((None, 1), ("", 1), ("x", 1), ("50", 4)):
        monkeypatch.delenv("COLUMNS", raising=False)
        if columns is not None:
            monkeypatch.setenv("COLUMNS", columns)
        file = io.StringIO()
        say("word " * 40, file=file)
        assert file.getvalue().count("\n") == lines


LONG = """\
def run(job):
    job.record(1, 0.5)
    if job["name_of_a_parameter_1"]:
        raise ValueError("a message of so many words that they fill more than a line of a narrow terminal " * 2)
    return {"objective": 1.0, "metadata": {"note": "some words, and some more words, " * 4}}
"""


@pytest.mark.slow
def test_60_columns_suffice_for_what_is_said_of_a_search_and_of_a_job(evalpool: Command) -> None:
    (evalpool.directory / "long.py").write_text(LONG)
    names = [f'"name_of_a_parameter_{number}": {{}}' for number in range(9)]
    (evalpool.directory / "long.jsonl").write_text(
        "".join("{" + ", ".join(names).format(*[x] * 9) + "}\n" for x in (0, 1))
    )
    os.mkdir(evalpool.directory / ("d" * 80))
    store = Path("d" * 80, "runs.db")
    options = ["--configs", "long.jsonl", "--storage", f"sqlite:///{store}", "--progress"]
    run = in_a_narrow_terminal(evalpool, "run", "long.py:run", *options, "off")
    lines = in_a_narrow_terminal(evalpool, "run", "long.py:run", *options, "lines")
    status = in_a_narrow_terminal(evalpool, "status", str(store))
    shown = [in_a_narrow_terminal(evalpool, "show", str(store), job) for job in ("0.0", "0.1")]
    doctor = in_a_narrow_terminal(evalpool, "doctor", "--backend", "serial")
    for text in (run, lines, status, *shown, doctor):
        for line in STYLE.sub("", text).splitlines():
            assert len(line) <= 60, line
    for text in (run, status):
        assert "fill more than a line of a narrow terminal" in " ".join(text.split())
    assert "name_of_a_parameter_8" in shown[0]
    assert 'raise ValueError("a message of so many words' in " ".join(shown[1].split())
