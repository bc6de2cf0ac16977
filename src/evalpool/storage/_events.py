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
    lease       {"owner", "expires"}                 the owner runs at least so long; seconds since the epoch

Times without "epoch" are seconds since the start of the search. An attempt is numbered from 1; a
``finished`` without ``attempt`` ends the attempt of its ``attempts`` (how many were begun), or the one that
is on. What the events add up to is `evalpool.storage._fold`.

Fields and options that are not named here come from a later version of evalpool with the same schema. They are kept in
the log, and the fields of such an event that are known are used. `SCHEMA_VERSION` is increased for changes that an
earlier version of evalpool would misunderstand. Version 2 added ``options`` and ``stopped_early``: a program that knows
only version 1 would leave out the events that have them, so it must refuse the store.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["JOB_KINDS", "KINDS", "LARGEST", "SCHEMA_VERSION", "SEARCH_KINDS", "Event"]

LARGEST = 2**53
"""The largest whole number in a record, for example the number of a job. All stores, and all programs that read JSON,
keep it exactly. It is defined here as every evaluator counts jobs, and importing validators takes 0.25 seconds."""

SCHEMA_VERSION = 2
"""The version of the records and events in a storage. A store with a larger version is refused. One with a smaller
version is read, and its searches get this version when they are continued."""

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
        search_id: the id of the search that the event belongs to.
        number: the number of the job in its search; None for an event of the search itself.
        data: depends on the kind, as described above. The caller must not change it after the event was appended.
        at: the position of the event among all others, for a store whose writers have no common order (the journal).
            Such a store gives a position to every event. None in all other stores, where events are read in order.
    """

    kind: str
    search_id: str
    number: int | None
    data: dict[str, Any]
    at: tuple[int, str, int] | None = None
