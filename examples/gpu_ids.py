"""Lend each evaluation a GPU of its own: `queued`.

Four worker processes share two GPUs. Each job borrows one id, which is returned however the job ends; the
others wait. You need no GPU to run this: the run-function only reports which one it was given.

    python examples/gpu_ids.py
"""

import itertools
import os
import time
from typing import Any

from evalpool import ProcessPoolEvaluator, RunningJob, queued

QueuedProcessPoolEvaluator = queued(ProcessPoolEvaluator)


def train(job: RunningJob, dequed: list[str]) -> dict[str, Any]:
    """The run-function; `dequed` is what it borrows."""
    # Set it before the library that uses it is imported: the worker's last job may have had another GPU.
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(dequed)
    if job["x"] == 3:
        raise MemoryError("this one needs too much memory")  # its GPU is returned nevertheless
    time.sleep(0.05)  # stands for the training
    return {"objective": job["x"], "metadata": {"visible": os.environ["CUDA_VISIBLE_DEVICES"]}}


def main() -> None:
    with QueuedProcessPoolEvaluator(train, num_workers=4, queue=["0", "1"], queue_pop_per_task=1) as evaluator:
        evaluator.submit([{"x": x} for x in range(10)])
        jobs = evaluator.gather("ALL")

    lent: dict[str, list[tuple[float, float]]] = {}
    for job in jobs:
        metadata = job.metadata
        start, end = metadata["timestamp_start"], metadata["timestamp_end"]
        lent.setdefault(metadata["dequed"], []).append((start, end))
        print(f"job {job.id} on GPU {metadata['dequed']} from {start:.3f} s to {end:.3f} s: {job.objective}")
    for gpu, spans in sorted(lent.items()):
        spans.sort()
        alone = all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
        print(f"GPU {gpu}: {len(spans)} jobs, {'one at a time' if alone else 'SEVERAL AT A TIME'}")


if __name__ == "__main__":
    main()
