"""Loops of our own go on whatever a turn of them raises, single acts are done once, and what we log raises nothing."""

from __future__ import annotations

import ast
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import evalpool
from evalpool._guard import TOO_MANY, Guard, describe, guarded_act, start_guarded
from evalpool._log import get_logger


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


class Rude:
    """A standard error that raises."""

    def write(self, text: str) -> int:
        raise ValueError("this stream is closed")

    def flush(self) -> None:
        raise ValueError("this stream is closed")

    def fileno(self) -> int:
        raise RuntimeError("no file")


@pytest.fixture
def refusing_filter() -> Iterator[None]:
    """A program whose filter raises at every record."""

    def refuse(record: logging.LogRecord) -> bool:
        raise AttributeError("'LogRecord' object has no attribute 'run_id'")

    logger = logging.getLogger("evalpool")
    logger.addFilter(refuse)
    yield
    logger.removeFilter(refuse)


def test_a_loop_goes_on_after_a_turn_that_raised_and_repairs_the_state() -> None:
    repaired: list[BaseException] = []
    turns = iter([True, ValueError("the second"), True, SystemExit(3), False])

    def turn() -> bool:
        what = next(turns)
        if isinstance(what, BaseException):
            raise what
        return what

    start_guarded("a-loop", Guard("A loop", repaired.append), turn).join(10)
    assert [repr(error) for error in repaired] == ["ValueError('the second')", "SystemExit(3)"]
    assert next(turns, "over") == "over"


def test_a_loop_in_which_every_turn_raises_is_given_up_once() -> None:
    repaired: list[BaseException] = []
    given_up: list[BaseException] = []

    def turn() -> bool:
        raise OSError("for ever")

    Guard("A loop", repaired.append, given_up.append).loop(turn)
    assert len(repaired) == TOO_MANY + 1
    assert [str(error) for error in given_up] == ["for ever"]


def test_a_loop_whose_state_cannot_be_repaired_is_given_up() -> None:
    given_up: list[BaseException] = []

    def repair(error: BaseException) -> None:
        raise RuntimeError("worse")

    def turn() -> bool:
        raise OSError("the first")

    Guard("A loop", repair, given_up.append).loop(turn)
    assert [str(error) for error in given_up] == ["the first"]


def test_a_single_act_is_done_once_whatever_it_raises(caplog: pytest.LogCaptureFixture) -> None:
    done: list[int] = []

    def act() -> None:
        done.append(1)
        raise SystemExit(3)

    thread = guarded_act("an-act", "The thread of an act", act)
    thread.start()
    thread.join(10)
    assert done == [1]
    assert [record.getMessage() for record in caplog.records] == [
        "The thread of an act met an unexpected error, and ends."
    ]


@pytest.mark.usefixtures("refusing_filter")
def test_saying_something_raises_nothing_whatever_filters_and_streams_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Rude())  # here: pytest puts in its own between a fixture and its test
    get_logger().error("%s", "not shown")
    assert Guard("A loop").caught(Unprintable())


def test_an_exception_that_cannot_be_printed_is_still_described() -> None:
    class Reluctant(Exception):
        @property
        def __notes__(self) -> Any:
            raise RuntimeError("no")

    assert "Unprintable" in describe(Unprintable())
    assert "Reluctant" in describe(Reluctant())


def test_a_message_of_ours_names_the_line_that_said_it(caplog: pytest.LogCaptureFixture) -> None:
    get_logger().warning("here")
    assert sys.version_info < (3, 11) or caplog.records[-1].filename == "test_guard.py"


def test_every_thread_of_ours_is_made_by_the_guard() -> None:
    source = Path(evalpool.__file__).parent
    found = []
    for path in source.rglob("*.py"):
        if path.name == "_guard.py" or path.parent.name == "testing":  # the suites' threads are a test's own
            continue
        calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
        named = [(call.lineno, ast.unparse(call.func)) for call in calls]
        threads = ("threading.Thread", "Thread", "threading.Timer", "_thread.start_new_thread")
        found += [f"{path.relative_to(source)}:{line}" for line, name in named if name in threads]
    assert not found, "use evalpool._guard.start_guarded, guarded_thread or guarded_act"
