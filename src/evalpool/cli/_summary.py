"""The state of a search, in a few lines for people."""

from __future__ import annotations

from typing import Any

from evalpool._text import LONGEST_LINE
from evalpool.cli._lines import fact
from evalpool.cli._words import clean, duration, example_of, number, paint, rate, short, short_tags

__all__ = ["print_summary", "running_line"]

MOST_JOBS = 10
"""Running jobs that are listed."""

_STATES = {"running": "green", "waiting": "yellow", "ended": "bold", "suspended": "yellow", "abandoned": "red"}


def print_summary(summary: dict[str, Any]) -> None:
    """Write a `Campaign.summary` to stdout, for people."""
    rows: list[tuple[str, str]] = []
    jobs = summary["jobs"]
    state = paint(summary["state"], _STATES[summary["state"]])
    rows.append(("state", f"{state}, after {duration(summary['elapsed'])}"))
    of = f" of {summary['total']}" if summary["total"] is not None else ""
    more = [f"{jobs[name]} {name}" for name in ("running", "waiting", "failed", "cancelled") if jobs[name]]
    more += [f"{summary['stopped_early']} stopped early"] if summary["stopped_early"] else []
    rows.append(("evaluated", ", ".join([f"{summary['evaluated']}{of}", *more])))
    best = summary["best"]
    if best is not None:
        least = ", the smallest" if summary["minimize"] else ""
        rows.append(
            ("best", f"{number(best['objective'])}{least}  job {best['job_id']}: {short(best['configuration'])}")
        )
    else:
        rows += [(name, value) for name, value in summary["standing"].items()]
    if summary["failures"]:
        kinds = ", ".join(f"{clean(kind)} {count}" for kind, count in summary["failures"].items())
        texts = ", ".join(f"{clean(text)} {count}" for text, count in summary["failure_texts"].items())
        rows.append(("failures", f"{kinds}  ({texts})"))
        rows += [("", f"job {one['job_id']}: {example_of(one)}") for one in summary["failure_examples"]]
    if summary["rate"] is not None:
        left = summary["seconds_left"]
        rows.append(("speed", rate(summary["rate"]) + (f", {duration(left)} left" if left is not None else "")))
    if summary["workers"]:
        rows.append(("workers", f"{len(summary['workers'])} finished jobs"))
    if summary["tags"]:
        rows.append(
            ("tags", clean(", ".join(f"{tag} {count}" for tag, count in summary["tags"].items()), LONGEST_LINE))
        )
    for index, job in enumerate(summary["running"][:MOST_JOBS]):
        rows.append(("running" if index == 0 else "", running_line(job)))
    left_out = len(summary["running"]) - MOST_JOBS
    if left_out > 0:
        rows.append(("", f"and {left_out} more"))
    for name, text in rows:
        fact(name, text)


def running_line(job: dict[str, Any]) -> str:
    """A running job of a summary, in a line."""
    parts = [f"job {job['job_id']}"]
    if job["worker"]:
        parts.append(f"on {clean(str(job['worker']))}")
    if job["seconds"] is not None:
        parts.append(f"for {duration(job['seconds'])}")
    if job["attempt"] > 1:
        parts.append(f"attempt {job['attempt']}")
    if job["recorded"] is not None:
        parts.append(f"last recorded {number(job['recorded'][1])} at {number(job['recorded'][0])}")
    if job["tags"]:
        parts.append(short_tags(job["tags"]))
    return " ".join(parts[:3]) + ("".join(", " + part for part in parts[3:]))
