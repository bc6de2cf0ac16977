"""What running jobs say, and who hears of it: the stopper at once, the storage by its recorder, callbacks in time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from evalpool._log import get_logger
from evalpool.evaluator._settings import stopper_for

if TYPE_CHECKING:
    from evalpool.evaluator._hook_queue import HookQueue
    from evalpool.evaluator._recorder import Recorder
    from evalpool.jobs._job import Job
    from evalpool.outcomes import Worker

__all__ = ["Watching"]

logger = get_logger()


class Watching:
    """Takes starts and intermediate results; in any thread, without a lock of ours.

    Args:
        stopper: decides from what jobs record which of them end early; None: nobody does.
        recorder, hooks: who else hears of it.
        storage: of the search; a stopper may keep there what it shares with others.

    Attributes:
        starts: does anybody hear of starts? It costs a call a job.
    """

    def __init__(self, stopper: Any, recorder: Recorder, hooks: HookQueue, storage: Any = None) -> None:
        self._stopper = stopper
        self._lock = threading.Lock()  # of the stopper
        self._recorder = recorder
        self._hooks = hooks
        self._storage = storage
        self.starts = bool(hooks.on_start) or recorder.hears_starts
        self.records = stopper is not None or bool(hooks.on_record) or recorder.keeps

    def started(self, job: Job[Any], start: float, attempt: int, worker: Worker | None = None) -> None:
        """A job begins to run, `start` seconds after the search."""
        self._recorder.started(job, start, attempt, worker)
        self._hooks.notice("on_start", job)

    def recorded(self, job: Job[Any], budget: float, objective: Any) -> bool:
        """A running job gave an intermediate result; shall it stop?"""
        stop = False
        if self._stopper is not None:
            with self._lock:
                try:
                    if job._stopper is None:
                        job._stopper = stopper_for(self._stopper, job, self._storage)
                    job._stopper.observe(budget, objective)
                    stop = bool(job._stopper.stop())
                except Exception:
                    logger.exception("%s raised; job %s goes on.", type(self._stopper).__name__, job.id)
        self._recorder.recorded(job, budget, objective)
        self._hooks.notice("on_record", job, budget, objective)
        return stop or job._stop is not None
