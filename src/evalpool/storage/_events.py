"""What a storage is a log of.

::

    search      {"start", "schema"}                  a search was created; start in seconds since the epoch
    created     {"args", "kwargs", "submit", "owner"[, "options"]}  a job was submitted; options: any of
                {"priority", "job_timeout", "tags"}, those that are not the default
    in          {"args", "kwargs"}                   its configuration, from someone who keeps jobs by hand
    started     {"start", "attempt", "worker", "host", "pid"[, "owner"]}  an attempt at it began
    recorded    {"budget", "objective"[, "attempt", "owner"]}   an intermediate objective
    finished    any fields of JobRecord[, "attempt", "owner"]   it ended
    queued      {"attempt", "owner"}                 it will run again, as this attempt, by this owner
    gathered    {"timestamp_gather"}                 its result was given to the caller
    out         {"out"}                              its output, from someone who keeps jobs by hand
    status      {"status"}                           its status, likewise
    metadata    {key: value, ...}                    values beside its output
    value       {key: value, ...}                    values of a search
    lease       {"owner", "expires"}                 the owner lives at least so long; seconds since the epoch

Times without "epoch" are seconds since the start of the search. An attempt is numbered from 1; a
``finished`` without ``attempt`` ends the attempt of its ``attempts`` (how many were begun), or the one that
is on. What the events add up to is `evalpool.storage._fold`.

Fields, and options, that are not named here are of a later version with the same schema: they are kept in the log, and
what is known of such an event counts. A larger `SCHEMA_VERSION` is for what an earlier version would misunderstand.
Version 2 brought ``options`` and ``stopped_early``: who knows only 1 would leave out the events that have them, and so
must refuse the store.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["JOB_KINDS", "KINDS", "LARGEST", "SCHEMA_VERSION", "SEARCH_KINDS", "Event"]

LARGEST = 2**53
"""The largest whole number in a record, of jobs among others: all stores, and JSON everywhere, keep it exactly. It
stands here since every evaluator counts jobs, and to import validators takes a quarter of a second."""

SCHEMA_VERSION = 2
"""Of the records and events in a storage. A store with a larger one is refused; one with a smaller one is read, and its
searches become searches of this one when they are continued."""

SEARCH_KINDS = frozenset({"search", "value", "lease"})
JOB_KINDS = frozenset(
    {
        "created",
        "in",
        "started",
        "recorded",
        "finished",
        "queued",
        "gathered",
        "out",
        "status",
        "metadata",
    }
)
KINDS = SEARCH_KINDS | JOB_KINDS


class Event(NamedTuple):
    """One entry of a storage's log.

    Attributes:
        kind: one of `KINDS`.
        search_id: of the search it belongs to.
        number: of the job in its search; None for an event of the search itself.
        data: by kind, as above. Whoever appends an event no longer changes its data.
        at: for stores whose writers share no order (the journal): where the event belongs among all others.
            Such a store gives it to every event; None everywhere else, where events come in their order.
    """

    kind: str
    search_id: str
    number: int | None
    data: dict[str, Any]
    at: tuple[int, str, int] | None = None
