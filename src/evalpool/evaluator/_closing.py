"""The end of an evaluator, step by step. Each step is done, also if an interrupt cuts an earlier one short."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evalpool._interrupts import allow_signals, defer_signals, from_a_handler, handle_noted
from evalpool._log import get_logger
from evalpool.errors import StorageError
from evalpool.outcomes import FailureKind

if TYPE_CHECKING:
    from evalpool.evaluator._backend import Backend
    from evalpool.evaluator._core import Core
    from evalpool.evaluator._fence import Fence
    from evalpool.evaluator._membership import Membership
    from evalpool.evaluator._open_search import OpenSearch
    from evalpool.evaluator._recorder import Recorder
    from evalpool.evaluator._watchdog import Watchdog
    from evalpool.jobs._job import Job

__all__ = ["close_engine", "leave_storage"]

logger = get_logger()

BY_CLOSE = (FailureKind.CANCELLED, FailureKind.SUSPENDED)


def close_engine(
    core: Core,
    backend: Backend,
    held_back: list[Job[Any]],
    *,
    timers: Watchdog,
    conclude: Callable[[list[Job[Any]]], None],
    then: tuple[Callable[[], object], ...],
) -> list[Job[Any]]:
    """End all jobs and the engine, then do the rest. Signals are handled where a step waits or runs foreign code.

    Args:
        core, backend, timers: of the evaluator.
        held_back: jobs that were not given to the core yet.
        conclude: records jobs that have ended and calls their hooks; called with signals deferred.
        then: what else is to be done, in this order.

    Returns:
        The jobs that had not ended, ordered by number.

    Raises:
        BaseException: what the last step raised that did not end well, after all were done. Then `gather` returns the
            jobs that had not ended.
    """
    running: list[Job[Any]] = []
    taken: list[Job[Any]] = []
    unfinished = held_back

    def let_end() -> None:
        if core.started:
            backend.begin_to_close()
            core.wait_until_idle(backend.close_grace)

    def shut_down() -> None:
        if core.started:
            with allow_signals():
                backend.shutdown(bool(core.ledger.running))

    def end() -> None:
        nonlocal taken
        core.end_running()
        timers.close()
        unfinished.extend(job for job in running if job._stop in BY_CLOSE)
        finished, taken = core.take_unfinished(unfinished)
        conclude(finished)

    def put_back(kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is not None:  # then nobody gets what `close` returns
            core.put_back(core.inbox, taken)

    def interruptible(step: Callable[[], object]) -> None:
        with allow_signals():
            step()

    with defer_signals(), contextlib.ExitStack() as steps:  # it calls the last one first
        steps.push(put_back)
        for step in reversed(then):
            steps.callback(handle_noted)
            steps.callback(interruptible, step)
        for stop in (end, shut_down, let_end):
            steps.callback(handle_noted)
            steps.callback(stop)
        running = [attempt.job for attempt in core.ledger.running.values()]
        unfinished += core.stops.end_all(FailureKind.CANCELLED, "the evaluator was closed")
    return taken


def leave_storage(search: OpenSearch, recorder: Recorder, fence: Fence, membership: Membership | None) -> None:
    """Write the last records and leave the search. What the storage raises is logged."""
    try:
        with contextlib.ExitStack() as at_last:
            at_last.callback(search.leave)
            if membership is not None:
                at_last.callback(membership.leave)
            recorder.write_rest()
            fence.close()
    except Exception as error:  # a storage that is not ours may raise any
        if from_a_handler(error):
            raise
        trace = None if isinstance(error, StorageError) else error
        logger.error("Not all records of search %s are written: %s", search.search_id, error, exc_info=trace)
