"""The Python stack of a crash is in the job's error, whatever else comes out on standard error."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from evalpool import Evaluator, profile
from evalpool.backends._pool._stderr import BEFORE, REPORT, TAIL, ErrorTail

FATAL = b"Fatal Python error: Segmentation fault\n\n"
WAITING = b'Thread 0x01 (most recent call first):\n  File "a.py", line 1 in wait\n\n'
CRASHED = b'Current thread 0x02 (most recent call first):\n  File "b.py", line 2 in crash\n'
MODULES = b"\nExtension modules: " + b", ".join(b"scipy._module_%d" % n for n in range(600)) + b" (total: 600)\n"


def test_a_crash_is_told_by_its_own_threads_stack() -> None:
    tail = ErrorTail()
    shown = tail.feed(b"epoch 1\n") + tail.feed(FATAL) + tail.feed(WAITING + CRASHED) + tail.feed(MODULES)
    assert shown == b"epoch 1\n" + FATAL + WAITING + CRASHED
    assert tail.text() == (b"epoch 1\n" + FATAL + CRASHED).decode().strip()


@pytest.mark.parametrize("size", [1, 7, 100, 4096])
def test_the_list_of_modules_is_left_out_in_whatever_pieces_it_comes(size: int) -> None:
    tail = ErrorTail()
    shown = tail.feed(FATAL + CRASHED)
    head = len(b"\nExtension modules: ")
    shown += tail.feed(MODULES[:head])  # one write of faulthandler's; each name is another
    for at in range(head, len(MODULES), size):
        shown += tail.feed(MODULES[at : at + size])
    shown += tail.feed(b"behind\n")
    assert shown == FATAL + CRASHED + b"behind\n"
    assert "scipy" not in tail.text()


def test_a_deep_stack_is_kept_from_its_innermost_frame_on() -> None:
    tail = ErrorTail()
    tail.feed(b"x" * 10_000)
    tail.feed(FATAL + CRASHED + b"".join(b'  File "c.py", line %d in deep\n' % n for n in range(1000)) + MODULES)
    text = tail.text()
    assert text.startswith("x" * BEFORE + "Fatal Python error")
    assert "in crash" in text
    assert text.endswith("in deep\n  ...")
    assert len(text) <= BEFORE + TAIL + len("\n  ...")


def test_a_crash_of_a_child_long_ago_is_not_told() -> None:
    tail = ErrorTail()
    tail.feed(FATAL + CRASHED)
    tail.feed(b"y" * REPORT)
    tail.feed(b"the end\n")
    assert tail.text().endswith("yyythe end")
    assert len(tail.text()) < TAIL + 1


def test_a_list_that_no_crash_has_written_is_left_alone() -> None:
    tail = ErrorTail()
    assert tail.feed(MODULES) == MODULES


def _deep(levels: int) -> None:
    if levels:
        _deep(levels - 1)
    os.kill(os.getpid(), signal.SIGSEGV)


def crash(job: Any) -> float:
    import numpy.random  # noqa: F401  so that there are extension modules

    _deep(40)
    return 0.0


@pytest.mark.slow
@pytest.mark.parametrize("create", [
    lambda: Evaluator.create(crash, "process"),
    lambda: Evaluator.create(profile(memory=True)(crash), "thread"),
], ids=["process", "profile"])  # fmt: skip
def test_the_stack_of_a_crashed_worker_is_in_the_error(create: Callable[[], Evaluator]) -> None:
    with create() as evaluator:
        evaluator.submit([{}])
        (job,) = evaluator.gather()
    assert job.objective == "F_worker_died"
    assert job.error is not None
    assert "SIGSEGV" in job.error
    assert f'File "{__file__}"' in job.error
    assert "in crash" in job.error
    assert "Extension modules" not in job.error
    assert "evalpool-control" not in job.error
