"""The progress bar in a terminal, in a log, and where nobody looks."""

from __future__ import annotations

import contextlib
import fcntl
import io
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from typing import Any

import pytest

from evalpool.backends import SerialEvaluator
from evalpool.callbacks import TqdmCallback
from evalpool.evaluator import RandomSearch, optimize


class Screen(io.StringIO):
    """What stderr shows, as a terminal or not."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def last_line(self) -> str:
        return re.split(r"[\r\n]+", self.getvalue().strip())[-1]


@contextlib.contextmanager
def screen(terminal: bool = True) -> Any:
    with contextlib.redirect_stderr(Screen(terminal)) as shown:
        yield shown


def run(job: Any) -> Any:
    return float(job["x"]) if job["x"] > 0 else "F_small"


def evaluate(callback: TqdmCallback, xs: list[float]) -> None:
    with SerialEvaluator(run, callbacks=[callback]) as evaluator:
        evaluator.submit([{"x": x} for x in xs])
        evaluator.gather()


def test_the_bar_shows_description_count_best_and_failures() -> None:
    callback = TqdmCallback("tuning")
    callback.set_max_evals(3)
    with screen() as shown:
        evaluate(callback, [5, -1, 2])
    line = shown.last_line()
    assert "tuning: 100%" in line
    assert "3/3" in line
    assert "best=5" in line
    assert "failures=1" in line


@pytest.mark.parametrize("columns", [50, 60, 100])
def test_best_and_failures_are_shown_in_narrow_terminals_too(columns: int) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    callback = TqdmCallback("tuning")
    callback.set_max_evals(120)
    with open(theirs, "w") as stderr, contextlib.redirect_stderr(stderr):
        evaluate(callback, [5.5, *[-1] * 119])
    shown = b""
    with open(ours, "rb", buffering=0) as terminal, contextlib.suppress(OSError):  # which is how its end is told
        while got := terminal.read(4096):
            shown += got
    lines = [line for line in re.split(r"[\r\n]+", shown.decode()) if "120/120" in line]
    assert lines[-1].strip().rstrip("]").endswith(", best=5.5, failures=119")
    assert max(map(len, lines)) <= columns
    assert ("job/s" in lines[-1]) == (columns == 100)


def test_the_bar_is_there_before_the_first_result() -> None:
    callback = TqdmCallback()
    callback.set_max_evals(3)
    with screen() as shown, SerialEvaluator(run, callbacks=[callback]) as evaluator:
        evaluator.submit([{"x": 1}])
        assert "0/3" in shown.getvalue()


def test_optimize_tells_the_bar_how_much_there_will_be() -> None:
    with screen() as shown, SerialEvaluator(run, callbacks=[TqdmCallback()]) as evaluator:
        optimize(evaluator, RandomSearch({"x": (1, 5)}, seed=0), max_evals=7)
    assert "7/7" in shown.last_line()


def test_the_total_can_be_set_while_the_bar_is_shown() -> None:
    callback = TqdmCallback()
    with screen() as shown, SerialEvaluator(run, callbacks=[callback]) as evaluator:
        evaluator.submit([{"x": 1}])
        callback.set_max_evals(9)
        assert "0/9" in shown.last_line()


def test_without_a_total_it_counts() -> None:
    with screen() as shown:
        evaluate(TqdmCallback(), [1, 2])
    assert "2job" in shown.last_line()


def test_cancelled_jobs_are_no_progress() -> None:
    callback = TqdmCallback()
    callback.set_max_evals(2)
    with screen() as shown:
        evaluator = SerialEvaluator(run, callbacks=[callback])
        evaluator.submit([{"x": 1}, {"x": 2}])
        evaluator.close()
    assert "0/2" in shown.last_line()


def test_it_is_silent_when_not_a_terminal() -> None:
    with screen(terminal=False) as shown:
        evaluate(TqdmCallback(), [1, 2])
    assert shown.getvalue() == ""


def test_forced_into_a_log_it_writes_whole_lines() -> None:
    callback = TqdmCallback(disable=False)
    callback.set_max_evals(200)
    with screen(terminal=False) as shown:
        evaluate(callback, list(range(1, 201)))
    assert "\r" not in shown.getvalue()
    assert shown.getvalue().endswith("\n")
    assert "200/200" in shown.last_line()
    assert "best=200" in shown.last_line()
    assert len(shown.getvalue().splitlines()) < 50


def test_disabled_it_is_silent_in_a_terminal_too() -> None:
    with screen() as shown:
        evaluate(TqdmCallback(disable=True), [1, 2])
    assert shown.getvalue() == ""


def test_it_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    with screen():
        evaluate(TqdmCallback(), [1, 2])
    assert set(threading.enumerate()) == before


def test_hypervolume_is_shown_for_several_objectives() -> None:
    with screen() as shown:
        with SerialEvaluator(lambda job: (job["x"], job["x"]), callbacks=[TqdmCallback()]) as evaluator:
            evaluator.submit([{"x": 0}, {"x": 2}])
            evaluator.gather()
    assert "hypervolume=4" in shown.last_line()


@pytest.mark.slow
def test_it_survives_a_process_without_stderr() -> None:
    code = (
        "import sys; sys.stderr = None\n"
        "from evalpool.backends import SerialEvaluator\n"
        "from evalpool.callbacks import TqdmCallback\n"
        "with SerialEvaluator(lambda job: 1.0, callbacks=[TqdmCallback(disable=False)]) as evaluator:\n"
        "    evaluator.submit([{}])\n"
        "    print(len(evaluator.gather()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "1\n"
