"""Filters, handlers and streams of the program that raise: no job is lost, nobody waits, and gather raises nothing."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from evalpool import Evaluator
from evalpool.callbacks import Callback


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


class Raising(logging.Handler):
    """A handler, and a filter, that raises at each record."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception = LookupError()
        self.heard = 0

    def handle(self, record: logging.LogRecord) -> bool:
        self.heard += 1
        raise self.error


class Closed:
    """A standard error that takes nothing."""

    def write(self, text: str) -> int:
        raise ValueError("I/O operation on closed file")

    flush = fileno = write


class Broken(Callback):
    """A callback that raises, so that evalpool itself has something to log in the caller's thread."""

    def on_done(self, job: Any) -> None:
        raise LookupError("a callback's own fault")


@pytest.fixture(params=["filter", "handler"])
def raising(request: pytest.FixtureRequest) -> Iterator[Raising]:
    """At evalpool's logger, and at the one that the run-function uses."""
    loggers = [logging.getLogger(name) for name in ("evalpool", "train")]
    raising = Raising()
    for logger in loggers:
        if request.param == "filter":
            logger.addFilter(raising.handle)
        else:
            logger.addHandler(raising)
    yield raising
    for logger in loggers:
        logger.removeFilter(raising.handle)
        logger.removeHandler(raising)


def run(job: Any) -> float:
    if job["logs"]:
        logging.getLogger("train").warning("an epoch is done")
    job.record(1, 0.5)
    return float(job["x"])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["serial", "thread", "process"])
def test_what_filters_handlers_and_streams_raise_costs_no_job(
    raising: Raising, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On `serial` and `thread` a run-function that logs gets the error itself, as in any program."""
    monkeypatch.setattr(sys, "stderr", Closed())  # here: pytest puts in its own between a fixture and its test
    with Evaluator.create(run, method, {"num_workers": 2, "callbacks": [Broken()]}) as evaluator:
        for first, error in enumerate((AttributeError("no attribute 'run'"), OSError(28, "full"), Unprintable())):
            for caller_waits in (True, False):
                raising.error, raising.heard = error, 0
                jobs = evaluator.submit([{"x": first + n, "logs": method == "process"} for n in range(5)])
                if not caller_waits:
                    threading.Event().wait(0.01)  # a thread of our own reads what workers say
                assert len(evaluator.gather("ALL", timeout=60)) == 5
                assert [job.objective for job in jobs] == [float(first + n) for n in range(5)]
                assert raising.heard == (10 if method == "process" else 5)
