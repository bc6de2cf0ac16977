"""Whether an attempt is lost with its virtual worker, before the kernel is told how it ended.

A lost job may be run again, and that is for its evaluator to decide, by its retries, as it does for a failure that it
saw. So it asks before it calls `Kernel.finish`, which ends the job at the same time in any case.
"""

from __future__ import annotations

from typing import Any

from evalpool.outcomes import FailureKind
from evalpool.simulation._kernel import Kernel, Verdict
from evalpool.simulation._seconds import check_runtime

__all__ = ["lost"]


def lost(kernel: Kernel, job: int, runtime: Any) -> Verdict | None:
    """Return why a running job is lost with its worker, if it declares this runtime; None if it is not."""
    lives = kernel._lives
    if lives is None:
        return None
    total, resumed = check_runtime(runtime), kernel.resumed(job)
    if isinstance(total, str):
        total = kernel.failure_runtime
    elif resumed is not None:
        total = max(0.0, total - resumed.total)
    loss = lives.loss(job, total, kernel._limits.get(job, kernel.job_timeout))
    return None if loss is None else Verdict(FailureKind.WORKER_DIED, loss.message)
