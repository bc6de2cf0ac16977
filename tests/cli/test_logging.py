"""evalpool.logging: the level, and the job that a record belongs to."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import pytest

import evalpool.logging
from cli.conftest import Command
from evalpool import Evaluator
from evalpool.errors import BadArgument
from evalpool.logging import JobIdFilter


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.addFilter(JobIdFilter())

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.mark.parametrize("method", ["serial", "thread"])
def test_what_a_run_function_logs_carries_its_job(method: str) -> None:
    logger, kept = logging.getLogger("some.program"), Kept()

    def run(job: Any) -> float:
        logger.warning("x is %s", job["x"])
        return 0.0

    async def arun(job: Any) -> float:
        return run(job)

    logger.addHandler(kept)
    try:
        for function in (run, arun):
            with Evaluator.create(function, method) as evaluator:
                evaluator.submit([{"x": 0}, {"x": 1}])
                evaluator.gather()
        logger.warning("outside")
    finally:
        logger.removeHandler(kept)
    said = [(record.getMessage(), record.job_id) for record in kept.records]  # type: ignore[attr-defined]
    assert said == [("x is 0", "0.0"), ("x is 1", "0.1")] * 2 + [("outside", "")]


def test_no_level_is_refused() -> None:
    for level in ("loud", None, True, 1.5):
        with pytest.raises(BadArgument, match="the log level is"):
            evalpool.logging.set_level(level)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_level_shows_records_on_stderr(evalpool: Command) -> None:
    code = (
        "import evalpool.logging, logging\n"
        "from evalpool import Evaluator\n"
        "def run(job): logging.getLogger('train').info('epoch %d', 3); return 0.0\n"
        "evalpool.logging.set_level('info'); evalpool.logging.set_level('INFO')\n"
        "with Evaluator.create(run, 'serial') as evaluator: evaluator.submit([{}]); evaluator.gather()\n"
        "evalpool.logging.set_level('error')\n"
        "with Evaluator.create(run, 'serial') as evaluator: evaluator.submit([{}]); evaluator.gather()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=evalpool.environment)
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("INFO train [job 0.0]: epoch 3\n")
