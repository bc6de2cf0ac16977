"""``evalpool show``: everything about one job."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from evalpool._text import LONGEST_LINE
from evalpool.cli._lines import fact, say
from evalpool.cli._options import STORE, add_json, add_store
from evalpool.cli._words import clean, cut, duration, for_browser, number, paint, pretty, shortened, write_json
from evalpool.errors import BadArgument

if TYPE_CHECKING:
    from evalpool.models import JobRecord

__all__ = ["HELP", "SUMMARY", "add_options", "main"]

MOST_RECORDS = 50
"""The most intermediate results, or failed attempts, that are shown to people: the last ones."""


SUMMARY = "Show everything about one job: configuration, result, error."
HELP = f"""\
{STORE}
examples:
  evalpool show results.db 0.7
  evalpool show results.db 7 --json | jq -r .error
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    add_store(parser)
    parser.add_argument("job", metavar="JOB", help="its id, as 0.7, or its number in the search")
    add_json(parser)


def main(arguments: argparse.Namespace) -> int:
    from evalpool.cli._campaign import Watcher
    from evalpool.cli._stores import open_to_read, search_of

    with open_to_read(arguments.store) as storage:
        asked, _, job = arguments.job.rpartition(".")
        if not (job.isascii() and job.isdigit()):
            raise BadArgument(f"JOB is {arguments.job!r}; give the id of a job, as 0.7, or its number in the search.")
        if asked and arguments.search_id not in (None, asked):
            raise BadArgument(f"job {arguments.job} is not in search {arguments.search_id!r}; leave --search-id out.")
        search_id = search_of(storage, asked or arguments.search_id)
        watcher = Watcher(storage)
        watcher.look()
        record = watcher.record(search_id, int(job))
    if arguments.json:
        known = {name: shortened(value) for name, value in record.model_dump(exclude=_SERIES).items()}
        known |= {name: [shortened(one) for one in getattr(record, name)] for name in _SERIES}
        write_json(for_browser({**known, "status": record.status.name, "kind": _kind(record)}))
        return 0
    _print(record)
    return 0


_SERIES = {"recorded", "attempt_errors"}
"""Fields with many values, each of which may be long."""


def _kind(record: JobRecord) -> str | None:
    return None if record.kind is None else clean(record.kind.value, LONGEST_LINE)


def _option(name: str, value: Any) -> tuple[str, str]:
    """The name and the text of an option that is not the default."""
    if name == "job_timeout":
        return "time limit", duration(value) if value else "none"
    return name, clean(", ".join(value) if isinstance(value, list) else str(value), LONGEST_LINE)


def _print(record: JobRecord) -> None:
    failed = record.kind is not None
    status = paint(record.status.name, "red" if failed else "bold")
    say(paint(f"job {clean(record.job_id)}", "bold"))
    how = (f", {_kind(record)}" if failed else "") + (", stopped early" if record.stopped_early else "")
    facts: list[tuple[str, str | None]] = [
        ("status", status + how),
        ("objective", None if record.objective is None else _objective(record.objective)),
        ("attempts", str(record.attempts)),
        ("worker", record.worker and clean(f"{record.worker}, process {record.pid} on {record.host}", LONGEST_LINE)),
    ]
    facts += [_option(name, value) for name, value in record.options.chosen().items()]
    for name in ("submit", "start", "end", "gather"):
        seconds = getattr(record, f"timestamp_{name}")
        facts.append((name, None if seconds is None else f"{duration(max(0.0, seconds))} after the search's start"))
    if record.timestamp_start is not None and record.timestamp_end is not None:
        facts.append(("ran for", duration(max(0.0, record.timestamp_end - record.timestamp_start))))
    for name, text in facts:
        if text is not None:
            fact(name, text)
    _block("configuration", pretty(record.configuration))
    if isinstance(record.output, dict) and record.output.keys() != {"objective"}:
        _block("output", pretty(record.output))
    _block("metadata", pretty(record.metadata) if record.metadata else "")
    shown = record.recorded[-MOST_RECORDS:]
    left_out = len(record.recorded) - len(shown)
    title = "recorded" + (f", the last {len(shown)} of {len(record.recorded)}" if left_out else "")
    _block(title, "\n".join(f"{number(budget)}: {number(value)}" for budget, value in shown))
    errors = list(enumerate(record.attempt_errors, 1))
    for attempt, error in errors[-MOST_RECORDS:]:
        _block(f"error of attempt {attempt}", error)
    _block("error", record.error or "")


def _objective(value: Any) -> str:
    return clean(cut(value)) if isinstance(value, str) else number(value)  # a general task has nothing else to show


def _block(title: str, text: str) -> None:
    if not text:
        return
    say()
    say(paint(title, "bold"))
    for line in cut(text).splitlines():
        say(f"  {clean(line)}", indent=len(line) - len(line.lstrip()) + 4)
