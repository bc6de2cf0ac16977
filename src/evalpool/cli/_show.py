"""``evalpool show``: everything about one job."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from evalpool.cli._campaign import Watcher
from evalpool.cli._feed import for_browser
from evalpool.cli._stores import open_to_read, search_of
from evalpool.cli._words import clean, duration, number, paint, write_json
from evalpool.errors import BadArgument

if TYPE_CHECKING:
    from evalpool.models import JobRecord

__all__ = ["main"]

MOST = 20_000
"""Characters of one value that are shown to people; --json has all of it."""
MOST_RECORDS = 50


def main(arguments: argparse.Namespace) -> int:
    with open_to_read(arguments.store) as storage:
        asked, _, job = arguments.job.rpartition(".")
        if not (job.isascii() and job.isdigit()):
            raise BadArgument(f"JOB is {arguments.job!r}; give the id of a job, as 0.7, or its number in the search.")
        if asked and arguments.search_id not in (None, asked):
            raise BadArgument(f"job {arguments.job} is not of search {arguments.search_id!r}; leave --search-id out.")
        search_id = search_of(storage, asked or arguments.search_id)
        watcher = Watcher(storage)
        watcher.look()
        record = watcher.record(search_id, int(job))
    if arguments.json:
        known = for_browser(record.model_dump())
        write_json({**known, "status": record.status.name, "kind": _kind(record)})
        return 0
    _print(record)
    return 0


def _kind(record: JobRecord) -> str | None:
    return None if record.kind is None else record.kind.value


def _print(record: JobRecord) -> None:
    failed = record.kind is not None
    status = paint(record.status.name, "red" if failed else "bold")
    sys.stdout.write(paint(f"job {clean(record.job_id)}", "bold") + "\n")
    how = (f", {_kind(record)}" if failed else "") + (", stopped early" if record.stopped_early else "")
    facts: list[tuple[str, str | None]] = [
        ("status", status + how),
        ("objective", None if record.objective is None else _cut(number(record.objective))),
        ("attempts", str(record.attempts)),
        ("worker", record.worker and clean(f"{record.worker}, process {record.pid} on {record.host}")),
    ]
    for name in ("submit", "start", "end", "gather"):
        seconds = getattr(record, f"timestamp_{name}")
        facts.append((name, None if seconds is None else f"{duration(max(0.0, seconds))} after the search's start"))
    if record.timestamp_start is not None and record.timestamp_end is not None:
        facts.append(("ran for", duration(max(0.0, record.timestamp_end - record.timestamp_start))))
    for name, text in facts:
        if text is not None:
            sys.stdout.write(f"  {name:<11} {text}\n")
    _block("configuration", _pretty(record.configuration))
    if isinstance(record.output, dict) and record.output.keys() != {"objective"}:
        _block("output", _pretty(record.output))
    _block("metadata", _pretty(record.metadata) if record.metadata else "")
    shown = record.recorded[-MOST_RECORDS:]
    left_out = len(record.recorded) - len(shown)
    title = "recorded" + (f", the last {len(shown)} of {len(record.recorded)}" if left_out else "")
    _block(title, "\n".join(f"{number(budget)}: {number(value)}" for budget, value in shown))
    for attempt, error in enumerate(record.attempt_errors, 1):
        _block(f"error of attempt {attempt}", error)
    _block("error", record.error or "")


def _block(title: str, text: str) -> None:
    if not text:
        return
    sys.stdout.write("\n" + paint(title, "bold") + "\n")
    for line in _cut(text).splitlines():
        sys.stdout.write(f"  {clean(line)}\n")


def _pretty(value: Any) -> str:
    return json.dumps(for_browser(value), indent=2, ensure_ascii=False)


def _cut(text: str) -> str:
    return text if len(text) <= MOST else f"{text[:MOST]}\n… {len(text) - MOST} characters more, see --json"
