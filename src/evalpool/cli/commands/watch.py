"""``evalpool watch``: the progress of the searches of a storage, until no program works on them."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from evalpool.cli._options import STORE, add_json, add_store, add_tag, seconds
from evalpool.cli._words import clean, write_json

__all__ = ["HELP", "SUMMARY", "add_options", "main"]

SUMMARY = "Show the progress of a search, live."
HELP = f"""\
{STORE}
Waits for a store that does not exist yet. Ends when no program works on the search any more.

examples:
  evalpool watch results.db
  evalpool watch results.db --json | jq .jobs
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    add_store(parser)
    parser.add_argument(
        "--interval", metavar="TIME", type=seconds, default=0.5, help="time between two looks (default: 0.5)"
    )
    add_tag(parser)
    add_json(parser, "write a line of JSON at each change")


def main(arguments: argparse.Namespace) -> int:
    from evalpool.cli._display import display_on
    from evalpool.cli._stores import Awaited
    from evalpool.cli._watch import ShownSearches, show_until_over, until_over

    with Awaited(arguments.store) as storage:
        storage.search_of(arguments.search_id)
        if not storage.is_there:
            sys.stderr.write(f"evalpool watch: waiting for {clean(arguments.store)}; Ctrl-C ends the command.\n")
        follower = ShownSearches(storage, arguments.search_id, arguments.tag)
        if not arguments.json:
            show_until_over(follower, arguments.interval, display_on(None, sys.stdout))
            return 0
        shown: dict[str, Any] = {}
        for summaries, _ in until_over(follower, arguments.interval):
            for summary in summaries:
                news = {key: summary[key] for key in ("state", "jobs", "best", "standing")}
                if shown.get(summary["search_id"]) != news:
                    shown[summary["search_id"]] = news
                    write_json(summary)
                    sys.stdout.flush()
    return 0
