"""`visible_devices`: which GPUs a job sees."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import Any

import pytest

from evalpool import BadArgument, ProcessPoolEvaluator, RunningJob, queued, visible_devices

NAMES = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")


def test_each_library_sees_the_devices_and_afterwards_what_it_saw_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    monkeypatch.delenv("ROCR_VISIBLE_DEVICES", raising=False)

    def job() -> None:
        with visible_devices([2, "GPU-8f6d"]) as text:
            assert text == "2,GPU-8f6d"
            assert [os.environ[name] for name in NAMES] == [text] * 3
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        job()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1,2,3"
    assert "ROCR_VISIBLE_DEVICES" not in os.environ


def test_commands_that_a_job_starts_see_them() -> None:
    with visible_devices([3]):
        done = subprocess.run(
            [sys.executable, "-c", "import os; print(os.environ['ZE_AFFINITY_MASK'])"], capture_output=True, text=True
        )
    assert done.stdout.strip() == "3"


def test_none_hides_all_devices() -> None:
    with visible_devices([]):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize("wrong", ["01", 3, None, [1.5], [-1], [True], ["a,b"], [""], [None]])
def test_what_is_no_list_of_ids_is_refused(wrong: Any) -> None:
    with pytest.raises(BadArgument, match="dequed"), visible_devices(wrong):
        pass


def test_two_threads_of_one_process_cannot_see_different_devices() -> None:
    refused = []

    def other() -> None:
        try:
            with visible_devices([1]):
                pass
        except RuntimeError as error:
            refused.append(str(error))

    with visible_devices([0]):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert "another thread" in refused[0]
    with visible_devices([1]):
        pass


@pytest.mark.slow
def test_each_worker_sees_what_its_job_was_lent() -> None:
    def run(job: RunningJob, dequed: list[int]) -> Any:
        with visible_devices(dequed):
            return {"objective": 1.0, "metadata": {"saw": os.environ["CUDA_VISIBLE_DEVICES"]}}

    with queued(ProcessPoolEvaluator)(run, num_workers=2, queue=[0, 1, 2, 3], queue_pop_per_task=2) as evaluator:
        evaluator.submit([{} for _ in range(8)])
        for job in evaluator.gather():
            assert job.metadata["saw"] == job.metadata["dequed"]
            assert len(job.metadata["saw"].split(",")) == 2
