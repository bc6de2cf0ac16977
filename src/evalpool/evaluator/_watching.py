"""Passes on what running jobs report: to the stopper at once, to the recorder, and to the queue of callbacks' hooks."""

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
        stopper: decides from what jobs record which of them end early; or None.
        recorder, hooks: also get starts and results.
        storage: of the search; a stopper may keep there what it shares with others.

    Attributes:
        starts: whether starts are used at all; they cost a call per job.
        records: whether intermediate results are used at all.
        hears: whether a stopper or a callback is to hear of them.
    """

    def __init__(self, stopper: Any, recorder: Recorder, hooks: HookQueue, storage: Any = None) -> None:
        self._stopper = stopper
        self._lock = threading.Lock()  # held while the stopper is called
        self._recorder = recorder
        self._hooks = hooks
        self._storage = storage
        self.starts = bool(hooks.on_start) or recorder.hears_starts
        self.hears = stopper is not None or bool(hooks.on_record)
        self.records = self.hears or recorder.keeps

    def started(self, job: Job[Any], start: float, attempt: int, worker: Worker | None = None) -> None:
        """Take the start of a job, `start` seconds after the search's start."""
        self._recorder.started(job, start, attempt, worker)
        self._hooks.notice("on_start", job)

    def recorded(self, job: Job[Any], budget: float, objective: Any) -> bool:
        """Take an intermediate result of a running job; return whether it shall stop."""
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
