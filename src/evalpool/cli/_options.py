"""Options that several commands have, and the checks of their values."""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Callable

__all__ = [
    "STORE",
    "add_backend",
    "add_execution",
    "add_json",
    "add_results",
    "add_store",
    "add_tag",
    "read_seconds",
    "seconds",
    "whole",
]

STORE = """\
A STORE is a URL (sqlite:///results.db, sqlite:////absolute/path.db, journal:///directory, redis://host:6379/0)
or the path of an existing SQLite file or directory of a journal.
"""
"""The explanation of STORE in the help of commands."""


def add_store(parser: argparse.ArgumentParser) -> None:
    default = os.environ.get("EVALPOOL_STORAGE") or None
    if default:
        parser.add_argument("store", metavar="STORE", nargs="?", default=default, help=f"default: {default}")
    else:
        parser.add_argument("store", metavar="STORE", help="where the results are")
    parser.add_argument("--search-id", metavar="ID", help="which search; the latest if not given")


def add_tag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tag", metavar="TAG", action="append", default=[],
        help="only jobs with this tag; given several times: with all of them",
    )  # fmt: skip


def add_json(parser: argparse.ArgumentParser, text: str = "write JSON, for programs") -> None:
    parser.add_argument("--json", action="store_true", help=text)


def add_execution(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how to evaluate")
    add_backend(group, "jobs")
    group.add_argument(
        "--timeout",
        metavar="TIME",
        type=seconds,
        help="time limit of the whole run: seconds, or as 90s, 15m, 2h, 1d, 500ms",
    )
    group.add_argument("--job-timeout", metavar="TIME", type=seconds, help="time limit of one job; over it: F_timeout")
    group.add_argument(
        "--retries", metavar="N", type=whole(0), default=0,
        help="how often a job that raised or whose worker died is run again at once (default: 0)",
    )  # fmt: skip
    group.add_argument(
        "--max-failures", metavar="N", type=whole(1),
        help="end if the first N evaluations all failed; then the exit code is 3",
    )  # fmt: skip


def add_backend(group: argparse._ArgumentGroup, jobs: str) -> None:
    """Where jobs run, and how many at a time; `jobs` is what they are called in the help."""
    group.add_argument(
        "--backend", metavar="NAME", default=os.environ.get("EVALPOOL_BACKEND") or "process",
        help="serial, thread, process (default), ray or mpi; `evalpool doctor` says what works here",
    )  # fmt: skip
    group.add_argument(
        "-n", "--num-workers", metavar="N", type=whole(-1), default=os.environ.get("EVALPOOL_NUM_WORKERS") or None,
        help=f"how many {jobs} at a time; -1 for every CPU (default: 1; on ray and mpi all workers)",
    )  # fmt: skip


def add_results(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--out", metavar="FILE",
        help="write a table: .csv as results come; .parquet or .jsonl at the end",
    )  # fmt: skip
    parser.add_argument(
        "--progress", choices=("auto", "live", "lines", "off"), default="auto",
        help="on stderr: a live view, a line every half minute, or nothing (default: live in a terminal, else lines)",
    )  # fmt: skip
    add_json(parser, "write the summary at the end as JSON")


def whole(least: int) -> Callable[[str], int]:
    def checked(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is below {least}")
        return value

    return checked


_UNITS = {"": 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_TIME = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)(ms|s|min|m|h|d|)")


def read_seconds(text: str) -> float | None:
    """The seconds of ``60``, ``1e-4``, ``500ms``, ``90s``, ``15m``, ``15min``, ``2h``, ``1d``; None of other texts.

    Every time on a command line is read by this. It may be 0 or below, or too large for a float.
    """
    found = _TIME.fullmatch(text.strip())
    return float(found[1]) * _UNITS[found[2]] if found else None


def seconds(text: str) -> float:
    """The type of options that are times above 0."""
    seconds = read_seconds(text)
    if seconds is None or not 0.0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; give seconds above 0, or as 90s, 15m, 2h, 1d, 500ms")
    return seconds
