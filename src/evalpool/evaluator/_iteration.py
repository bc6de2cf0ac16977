"""`as_completed`: yields jobs one by one as they finish, and submits further ones meanwhile, up to a limit."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from evalpool.evaluator._waiting import ALL
from evalpool.jobs._inbox import Inbox

if TYPE_CHECKING:
    from evalpool.evaluator._core import Core
    from evalpool.jobs._job import Job

__all__ = ["iterate"]


def iterate(
    configurations: Iterator[Any],
    limit: int,
    *,
    core: Core,
    submit: Callable[[list[Any], Inbox], list[Job[Any]]],
    gather: Callable[[Inbox, int, float | None], list[Job[Any]]],
    cancel: Callable[[list[Job[Any]]], int],
) -> Iterator[Job[Any]]:
    """Yield each job of `configurations` when it is done, with at most `limit` of them pending.

    These jobs have a separate inbox. Closing the iterator cancels the pending jobs; nothing returns them.
    """
    inbox = Inbox()
    out: dict[int, Job[Any]] = {}
    fresh: deque[Job[Any]] = deque()
    exhausted = False
    try:
        while True:
            while not exhausted and len(out) < limit:
                try:
                    configuration = next(configurations)
                except StopIteration:
                    exhausted = True
                    break
                for job in submit([configuration], inbox):
                    out[job.number] = job
            if not out:
                return
            fresh.extend(gather(inbox, 1, None))
            while fresh:
                job = fresh.popleft()
                out.pop(job.number, None)
                yield job
    finally:
        if inbox.outstanding:
            # An interrupt may have come between the submission of a job and its entry in `out`.
            noted = core.jobs_of(inbox)
            cancel(list({**out, **{job.number: job for job in noted}}.values()))
            gather(inbox, ALL, None)
