"""``evalpool status``: the state of a search, once."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

from evalpool.cli._lines import say
from evalpool.cli._options import STORE, add_json, add_store, add_tag
from evalpool.cli._summary import print_summary
from evalpool.cli._words import clean, paint, write_json

if TYPE_CHECKING:
    from evalpool.storage import Storage

__all__ = ["HELP", "SUMMARY", "add_options", "main"]

SUMMARY = "Show the state of a search."
HELP = f"""\
{STORE}
examples:
  evalpool status results.db
  evalpool status redis://localhost --json
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    add_store(parser)
    add_tag(parser)
    add_json(parser)


def main(arguments: argparse.Namespace) -> int:
    from evalpool.cli._campaign import without_collector

    with without_collector():
        return _show(arguments)


def _show(arguments: argparse.Namespace) -> int:
    from evalpool.cli._campaign import Watcher
    from evalpool.cli._stores import open_to_read, search_of

    with open_to_read(arguments.store) as storage:
        watcher = Watcher(storage, arguments.tag, summaries_only=True)
        watcher.look()
        wanted = arguments.search_id
        campaign = watcher.latest() if wanted is None else watcher.campaigns.get(wanted)
        if campaign is None:  # there is none; or it has begun meanwhile
            search_id = search_of(storage, wanted)
            watcher.look()
            campaign = watcher.campaigns[search_id]
        search_id, summary = campaign.search_id, campaign.summary()
        others = len(watcher.campaigns) - 1
        how = _continued(storage, search_id) if summary["state"] in ("abandoned", "suspended") else None
    if arguments.json:
        write_json(summary)
        return 0
    of = f", one of {others + 1}" if others else ""
    tagged = f", jobs tagged {', '.join(arguments.tag)}" if arguments.tag else ""
    say(paint(clean(f"{arguments.store}: search {search_id}{of}{tagged}"), "bold"))
    print_summary(summary)
    if summary["failure_examples"]:
        job_id = summary["failure_examples"][0]["job_id"]
        say()
        say(f"All of a job: evalpool show {shlex.quote(clean(arguments.store))} {job_id}")
    if how is not None:
        say()
        say(
            f"{summary['jobs']['waiting'] + summary['jobs']['running']} jobs are unfinished and no program works on "
            f"them: continue with {how}."
        )
    return 0


def _continued(storage: Storage, search_id: str) -> str:
    """How a search goes on that no program works on."""
    from evalpool.benchmarks._compare._compare import KEY
    from evalpool.errors import UnknownValue

    try:
        storage.load_search_value(search_id, KEY)
    except UnknownValue:
        return "`evalpool run ... --resume`, or Evaluator.resume()"
    return "the same `evalpool compare`, or compare(..., storage=...)"
