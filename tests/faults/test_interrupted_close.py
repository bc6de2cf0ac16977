"""An interrupt while `close` waits makes it quicker, and leaves nothing of it out."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from evalpool import Evaluator
from evalpool.callbacks import Callback
from evalpool.evaluator._backend import Backend
from evalpool.storage import SQLiteStorage
from faults.programs import wait_until

OVER = threading.Event()
"""Set as the test is over, for threads."""


def run(job: Any) -> float:
    if job["x"] < 2:
        return float(job["x"])
    Path(job["folder"], str(job["x"])).touch()
    while not job.stopped():
        threading.Event().wait(0.001)
    if job["x"] == 2:
        os.kill(job["program"], signal.SIGINT)  # now `close` waits for this job
    OVER.wait(600.0)
    return 2.0


class Closed(Callback):
    times = 0

    def on_close(self) -> None:
        self.times += 1


@pytest.mark.slow
@pytest.mark.parametrize("method", ["thread", "process"])
def test_an_interrupt_of_close_leaves_nothing_of_it_out(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backend, "close_grace", 300.0)
    OVER.clear()
    closed, children, handler = Closed(), len(psutil.Process().children()), signal.getsignal(signal.SIGINT)
    with SQLiteStorage(tmp_path / "results.db") as storage:
        evaluator = Evaluator.create(run, method, {"num_workers": 2, "storage": storage, "callbacks": [closed]})
        evaluator.submit([{"x": x, "program": os.getpid(), "folder": str(tmp_path)} for x in range(2)])
        evaluator.gather()
        evaluator.submit([{"x": x, "program": os.getpid(), "folder": str(tmp_path)} for x in (0, 2, 3)])
        done = evaluator.gather("BATCH", 1)
        assert [job.objective for job in done] == [0.0]
        wait_until(lambda: (tmp_path / "2").exists() and (tmp_path / "3").exists())
        with pytest.raises(KeyboardInterrupt):
            evaluator.close()
        assert closed.times == 1
        assert signal.getsignal(signal.SIGINT) is handler
        assert len(psutil.Process().children()) == children
        statuses = [record.status.name for record in storage.results()]
        assert statuses == ["DONE"] * 3 + ["CANCELLED"] * 2
        assert sorted(job.number for job in evaluator.gather()) == [3, 4]
        assert evaluator.close() == []
    OVER.set()


def test_an_interrupt_after_close_took_its_jobs_leaves_them_to_gather() -> None:
    class Interrupting(Callback):
        def on_close(self) -> None:
            signal.raise_signal(signal.SIGINT)

    evaluator = Evaluator.create(lambda job: 1.0, "serial", {"callbacks": [Interrupting()]})
    evaluator.submit([{}, {}])
    with pytest.raises(KeyboardInterrupt):
        evaluator.close()
    assert [(job.number, job.objective) for job in evaluator.gather()] == [(0, "F_CANCELLED"), (1, "F_CANCELLED")]
    assert evaluator.num_jobs_gathered == evaluator.num_jobs_submitted == 2
    assert evaluator.gather() == evaluator.close() == []
