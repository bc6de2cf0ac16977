"""What run-functions log in worker processes is heard in the search's process, with the job's id."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import pytest

from evalpool import Evaluator
from evalpool.logging import JobIdFilter

pytestmark = pytest.mark.slow


def run(job: Any) -> float:
    log = logging.getLogger("train.loop")
    log.debug("below the level")
    log.info("epoch %d of %s", 3, job["x"])
    try:
        raise ValueError("odd")
    except ValueError:
        log.exception("it went wrong")
    logging.getLogger("quiet").info("not this one")
    return 1.0


def test_records_come_with_their_job_level_place_and_traceback(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.handler.addFilter(JobIdFilter())
    monkeypatch.setattr(logging.getLogger("quiet"), "level", logging.WARNING)
    with caplog.at_level(logging.INFO):
        with Evaluator.create(run, "process", {"num_workers": 1}) as evaluator:
            evaluator.submit([{"x": "a"}, {"x": "b"}])
            jobs = evaluator.gather()
    records: list[Any] = [record for record in caplog.records if record.name == "train.loop"]
    assert [(r.job_id, r.levelname, r.getMessage()) for r in records] == [
        ("0.0", "INFO", "epoch 3 of a"),
        ("0.0", "ERROR", "it went wrong"),
        ("0.1", "INFO", "epoch 3 of b"),
        ("0.1", "ERROR", "it went wrong"),
    ]
    assert records[0].filename == "test_worker_logs.py"
    assert records[0].process == jobs[0].metadata["pid"]
    assert records[0].processName == "process-0"
    assert "ValueError: odd" in caplog.text
    assert not [record for record in caplog.records if record.name == "quiet"]


PROGRAM = """
import logging
from evalpool import Evaluator
def run(job):
    logging.getLogger("train").warning("as Python does it")
    return 1.0
if __name__ == "__main__":
    with Evaluator.create(run, "process", {"num_workers": 1}) as evaluator:
        evaluator.submit([{}])
        evaluator.gather()
"""


def test_without_any_handler_warnings_go_to_standard_error() -> None:
    said = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    assert said.stderr == "as Python does it\n"
