"""``evalpool export``: the results as a file for other tools."""

from __future__ import annotations

import argparse
import os
import stat
import sys
from contextlib import nullcontext

from evalpool.cli._options import STORE, add_store, add_tag

__all__ = ["HELP", "SUMMARY", "add_options", "main"]

SUMMARY = "Write the results to a file."
HELP = f"""\
{STORE}
examples:
  evalpool export results.db -o results.csv
  evalpool export results.db --search-id 0 -o results.parquet
  evalpool export results.db --tag baseline -o baseline.csv
  evalpool export results.db -o - | jq .objective
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    add_store(parser)
    parser.add_argument(
        "-o",
        "--out",
        metavar="FILE",
        required=True,
        help=".csv, .parquet or .jsonl; - for JSON lines on stdout, or the name of a pipe or device",
    )
    add_tag(parser)


def main(arguments: argparse.Namespace) -> int:
    from evalpool.cli._export import check_out, export, lines
    from evalpool.cli._stores import open_to_read, search_of

    to_stream = arguments.out == "-" or _is_stream(arguments.out)
    if not to_stream:
        check_out(arguments.out)
    with open_to_read(arguments.store) as storage:
        search_id = search_of(storage, arguments.search_id)
        if not to_stream:
            export(storage, search_id, arguments.out, arguments.tag)
            return 0
        with nullcontext(sys.stdout) if arguments.out == "-" else open(arguments.out, "w", encoding="utf-8") as stream:
            stream.writelines(lines(storage, search_id, arguments.tag))
    return 0


def _is_stream(path: str) -> bool:
    """Whether it is a pipe or a device, which is written to and not replaced."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # there is no such file, or the name has a zero character
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)
