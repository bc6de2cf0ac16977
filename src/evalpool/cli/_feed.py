"""The data for the page of ``evalpool serve``: rows of jobs after a cursor, and the state of the search.

A job that changes gets a new version and moves to the end of its search's order, so the rows after a reader's version
are found from that end: the cost of an answer depends on what is new. The storage is only read when a page asks.
"""

from __future__ import annotations

import json
import math
import threading
from typing import TYPE_CHECKING, Any

from evalpool._checks import as_float
from evalpool._clock import monotonic, unix_time
from evalpool.cli import _words as words
from evalpool.cli._campaign import MOST_TAGS, Campaign, Watcher, ended_of, lane, tags_of
from evalpool.cli._words import MOST, clean, cut, for_browser, pretty, short
from evalpool.errors import StorageError, UnknownSearch
from evalpool.outcomes import FINAL, JobStatus
from evalpool.storage._fold import JobState

if TYPE_CHECKING:
    from evalpool.cli._stores import Awaited
    from evalpool.storage import Storage

__all__ = ["MOST_ROWS", "Feed"]

INTERVAL = 0.5
"""Seconds between two looks at the storage while a page waits for news."""
GIVE_UP_AFTER = 5.0
"""Seconds after which a page that waits gets an answer without news; states change by time, too."""
AT_ONCE = 4000
"""Rows in one answer."""
MOST_ROWS = 200_000
"""The most rows that a reader gets: the latest. A browser can easily hold that many."""
MOST_ERRORS = 50
"""The most earlier attempts of a job whose errors are shown."""
MOST_OBJECTIVES = 100
LONGEST = 300
"""Characters of a configuration in a row; all of it is in `detail`."""


class Feed:
    """The searches of a storage for any number of readers. Any thread."""

    def __init__(self, storage: Storage | Awaited) -> None:
        self._watcher = Watcher(storage)
        self._orders: dict[str, dict[int, int]] = {}  # search -> job -> version, the latest last
        self._version = 0
        self._partly_updated = False  # an interrupt left the state partly updated
        self._lock = threading.Lock()
        self._over = threading.Event()

    def close(self) -> None:
        """End all waits for news."""
        self._over.set()

    def rows(self, search_id: str | None, after: int) -> dict[str, Any]:
        """What changed after version `after` (0: everything) of a search (None: the latest); waits up to 5 s for news.

        Raises:
            UnknownSearch: there is no such search.
        """
        deadline = monotonic() + GIVE_UP_AFTER
        while True:
            with self._lock:
                trouble = self._look()
                answer = self._answer(search_id, after)
            answer["trouble"] = trouble
            if answer["rows"] or trouble or monotonic() >= deadline or self._over.wait(INTERVAL):
                return answer

    def detail(self, search_id: str, number: int) -> dict[str, Any]:
        """Everything about one job. Raises `UnknownJob`."""
        with self._lock:
            self._look()
            record = self._watcher.record(search_id, number)
        known: dict[str, Any] = for_browser(record.model_dump(exclude={"configuration", "metadata", "output"}))
        known["objective"] = _objective(record.objective)
        known["recorded"] = [[budget, _objective(value)] for budget, value in known["recorded"]]
        for name in ("worker", "host", "kind", "error", "owner"):
            if known[name] is not None:
                known[name] = cut(known[name])
        known["attempt_errors"] = [cut(error) for error in known["attempt_errors"][-MOST_ERRORS:]]
        known["status"] = record.status.name
        known["options"]["tags"] = cut(", ".join(map(clean, record.options.tags[:MOST_TAGS])))
        known["configuration"] = cut(pretty(record.configuration))
        known["metadata"] = cut(pretty(record.metadata))
        output = record.output
        bare = output is None or (isinstance(output, dict) and output.keys() == {"objective"})  # shown already
        known["output"] = None if bare else cut(pretty(output))
        return known

    def _look(self) -> str | None:
        """Read what is new; returns the error of the storage, or None."""
        partly_updated, self._partly_updated = self._partly_updated, True
        try:
            changed = self._watcher.look()
        except StorageError as error:
            self._partly_updated = partly_updated
            return str(error)
        if partly_updated:
            changed = self._watcher.everything()
        for search_id, numbers in changed.items():
            if search_id not in self._watcher.campaigns:
                continue
            jobs = self._watcher.search(search_id).jobs
            order = self._orders.setdefault(search_id, {})
            for number in numbers:
                if jobs[number].created is not None:
                    self._version += 1
                    order.pop(number, None)
                    order[number] = self._version
        self._partly_updated = False
        return None

    def _answer(self, search_id: str | None, after: int) -> dict[str, Any]:
        campaigns = self._watcher.campaigns
        if search_id is None:
            latest = self._watcher.latest()
            if latest is None:
                return {"search": None, "searches": [], "rows": [], "version": 0, "more": 0, "left_out": 0}
            search_id = latest.search_id
        if search_id not in campaigns:
            raise UnknownSearch(f"no search {search_id!r}.")
        order = self._orders.get(search_id, {})
        new: list[tuple[int, int]] = []
        for number, version in reversed(order.items()):
            if version <= after or len(new) >= MOST_ROWS:
                break
            new.append((number, version))
        new.reverse()
        given = new[:AT_ONCE]
        jobs = self._watcher.search(search_id).jobs
        return {
            "search": search_id,
            "searches": list(campaigns),
            "summary": _summary(campaigns[search_id]),
            "now": unix_time(),
            "rows": [_row(search_id, jobs[number]) for number, _ in given],
            "version": given[-1][1] if given else after,
            "more": len(new) - len(given),
            "left_out": max(0, len(order) - MOST_ROWS),
        }


def _summary(campaign: Campaign) -> dict[str, Any]:
    """The summary of a search, without values that are longer than a page shows."""
    summary = campaign.summary()
    best = summary["best"]
    if best is not None:
        best["configuration"] = {"": short(best["configuration"], LONGEST)} if _is_long(best) else best["configuration"]
    for job in summary["running"]:
        if job["recorded"] is not None:
            job["recorded"] = [_objective(value) for value in job["recorded"]]
    return for_browser(summary)  # type: ignore[no-any-return]


def _is_long(value: Any) -> bool:
    return len(json.dumps(value, default=str)) > MOST


def _objective(value: Any) -> Any:
    """An objective for JSON: a number, a list of numbers, or the beginning of anything else as text."""
    if isinstance(value, (bool, int, float)) or value is None:
        return for_browser(value)
    if isinstance(value, (list, tuple)) and all(isinstance(one, (int, float)) for one in value[:MOST_OBJECTIVES]):
        return for_browser(value[:MOST_OBJECTIVES])
    return words.number(value)


def _row(search_id: str, job: JobState) -> list[Any]:
    """A job as `model.js` reads it.

    The items are number, status, objective, kind, worker, submit, start, end, attempt, configuration, stopped early
    and tags.
    """
    facts = {**(job.started or {}), **(job.result or {})}
    start = facts.get("timestamp_start", facts.get("start"))
    ended = job.status in FINAL
    outcome = ended_of(search_id, job) if ended else None
    return [
        job.number,
        "CANCELLED" if job.status is JobStatus.CANCELLED else job.status.name,
        _objective(outcome.objective) if outcome is not None else None,
        outcome.kind if outcome is not None else None,
        _text_or_none(lane(job)),
        _finite((job.created or {}).get("submit")),
        _finite(start),
        _finite(facts.get("timestamp_end")) if ended else None,
        job.attempt,
        _configuration(job),
        outcome is not None and outcome.stopped_early,
        ", ".join(tags_of(job)),
    ]


def _configuration(job: JobState) -> str:
    args = ((job.by_hand or {}).get("args") or (job.created or {}).get("args")) or {}
    return short(args if isinstance(args, dict) else {"args": args}, LONGEST)


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(as_float(value)) else None


def _text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)
