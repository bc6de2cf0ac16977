"""The code around a run-function, on every backend: its job, the call, its result, pickles."""

from typing import TYPE_CHECKING

from evalpool._lazy import attach

if TYPE_CHECKING:
    from evalpool.worker._running_job import RunningJob as RunningJob

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "RunningJob": "_running_job",
    },
)
