"""Jobs whose records a storage has lost: those that are still here are recorded again.

The storage tells whoever recorded jobs which of them are lost (`evalpool.storage._lost`). What was gathered long ago
only the storage may know; what waits, runs or was not gathered yet is known here. So is what was gathered just now: its
end may have been recorded after the store had lost that it was created.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evalpool.storage._events import Event

if TYPE_CHECKING:
    from evalpool.evaluator._evaluator import Evaluator
    from evalpool.jobs._job import Job

__all__ = ["record_again"]


def record_again(evaluator: Evaluator, lost: list[str]) -> None:
    """Record those jobs again that are lost and still here. In any thread; never waits, never raises."""
    core = evaluator._core
    with core.lock:
        running = [attempt.job for attempt in core.ledger.running.values()]
        held = [*evaluator._just_gathered, *core.ledger.ready(), *running]
        inboxes = {id(job._inbox): job._inbox for job in held if job._inbox is not None}
        inboxes[id(evaluator._inbox)] = evaluator._inbox
        for inbox in inboxes.values():
            held += inbox.done
    concerned = set(lost)
    jobs: dict[int, Job[Any]] = {job.number: job for job in held if job._evaluator is evaluator and job.id in concerned}
    events: list[Event] = []
    for job in jobs.values():
        events.append(evaluator._created_event(job))
        if job._outcome is not None:
            events.append(evaluator._outcome_event(job))
    if events:
        evaluator._append_or_keep(events)
