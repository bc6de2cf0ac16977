"""An error in one line, as tables, logs and views show it."""

from __future__ import annotations

import sys
import traceback

import pytest

from evalpool.outcomes import LONGEST_LINE, last_line

DIED = "The worker process 7 was killed by SIGSEGV. The end of its standard error:\n"
DUMP = "Fatal Python error: Segmentation fault\n\nCurrent thread 0x1 (most recent call first):\n" + "".join(
    f'  File "/place/train.py", line {line} in run\n' for line in range(30)
)


def error_of(error: BaseException) -> str:
    try:
        raise error
    except BaseException as raised:
        return "".join(traceback.format_exception(raised))


def test_of_a_message_of_several_lines_nothing_is_lost() -> None:
    assert (
        last_line(error_of(ValueError("lr\n  Input should be\n\nSee there")))
        == "ValueError: lr Input should be See there"
    )
    assert last_line(error_of(ValueError('\n  File "x", line 3, in y'))) == 'ValueError: File "x", line 3, in y'
    assert last_line(error_of(SyntaxError("never closed"))) == "SyntaxError: never closed"
    chained = KeyError("later")
    chained.__cause__ = ValueError("first")
    assert last_line(error_of(chained)) == "KeyError: 'later'"
    told = last_line(error_of(RuntimeError("`ls x` ended with exit code 2. It said:\n" + error_of(KeyError("y")))))
    assert told.startswith("RuntimeError: `ls x` ended with exit code 2.")
    assert told.endswith("KeyError: 'y'")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="notes and groups are of Python 3.11")
def test_notes_and_groups_do_not_hide_the_exception() -> None:
    noted = ValueError("too large")
    noted.add_note("a note")
    assert last_line(error_of(noted)) == "ValueError: too large a note"
    group = ExceptionGroup("many", [ValueError("a"), ExceptionGroup("more", [TypeError("b")])])  # noqa: F821
    assert last_line(error_of(group)) == "ExceptionGroup: many (2 sub-exceptions)"


def test_a_crash_is_named_before_the_end_of_its_standard_error() -> None:
    line = last_line(DIED + DUMP + "ld: cannot find -lfoo")
    assert line.startswith("The worker process 7 was killed by SIGSEGV. The end of its standard error: Fatal Python")
    assert "…" in line
    assert line.endswith("ld: cannot find -lfoo")
    assert len(line) == LONGEST_LINE


@pytest.mark.parametrize("text", [None, "", "\n \n"])
def test_without_a_text_there_is_none(text: str | None) -> None:
    assert last_line(text) == ""


def test_a_text_of_many_megabytes_is_cut_and_harmless() -> None:
    line = last_line("Traceback (most recent call last):\n  File x\nValueError: \x1b[31m" + "x \n" * 10_000_000)
    assert line.startswith("ValueError: �[31mx x x")
    assert len(line) <= LONGEST_LINE
