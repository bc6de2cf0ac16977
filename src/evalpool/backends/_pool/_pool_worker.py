"""What a pool knows of one worker: who it is, how it is connected, and which jobs it has."""

from __future__ import annotations

import math
from typing import Any

from evalpool.outcomes import Worker

__all__ = ["PoolWorker"]


class PoolWorker:
    """One worker of a pool and the jobs it has.

    Attributes:
        index: its place among the workers, from 0.
        facts: its name, host and process id, for the metadata of jobs.
        elsewhere: whether it is on another host, which has another clock.
        handle: the launcher's object for it.
        link: the transport's connection to it; None as long as there is none.
        in_flight: the attempts it has been sent, by job number, in the order of sending.
        ready: whether it has started.
        ending: whether its connection has ended, and its launcher does not know yet how.
        short_until: it may hold outcomes (`_held`) of jobs whose place is less than this.
        last_frame, refused: places of the first job in the frame sent last, and of the first that reached nobody.
    """

    __slots__ = (
        "asked",
        "elsewhere",
        "ending",
        "facts",
        "handle",
        "held",
        "idle",
        "in_flight",
        "index",
        "last_frame",
        "link",
        "places",
        "ready",
        "refused",
        "refused_steal",
        "short_until",
        "since",
        "stealing",
        "unresponsive",
        "with_room",
    )

    def __init__(self, index: int, facts: Worker, now: float, elsewhere: bool = False) -> None:
        self.index = index
        self.facts = facts
        self.elsewhere = elsewhere
        self.handle: Any = None
        self.link: Any = None
        self.ready = self.ending = False
        self.held = False  # it is about to end, and gets no more jobs
        self.with_room = False  # whether it is in the queue of workers with room
        self.idle = False  # whether it is in the queue of workers without a job
        self.stealing = False  # whether it has not yet answered a request to steal back
        self.unresponsive = False  # whether it has not answered for long
        self.asked = (0, 0, 0.0)  # the range of the last request to steal back, and its time
        self.in_flight: dict[int, Any] = {}
        self.places = 0  # number of jobs sent so far
        self.short_until = 0
        self.last_frame, self.refused = 0, math.inf
        self.since = now  # when its first job in flight began, as far as the pool knows
        self.refused_steal = 0.0  # when it last answered that it had no job to give back

    def head(self) -> Any:
        """Return the attempt that runs; None if there is none."""
        return next(iter(self.in_flight.values()), None)

    def may_hold(self) -> bool:
        """Whether it may have outcomes that it has not sent: unless all its short jobs have ended."""
        head = self.head()
        return head is not None and head.place < self.short_until
