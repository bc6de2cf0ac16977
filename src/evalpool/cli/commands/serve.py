"""``evalpool serve``: the page of a storage, for a browser of this machine."""

from __future__ import annotations

import argparse
import sys

from evalpool.cli._options import STORE, add_store, whole
from evalpool.cli._words import clean

__all__ = ["HELP", "SUMMARY", "add_options", "main"]

SUMMARY = "Show a search in the browser, live."
HELP = f"""\
{STORE}
You may start it before the store exists.
The page is served on this machine only, to readers who know its address, which contains a secret.
From elsewhere: ssh -L 8080:localhost:8080 host evalpool serve results.db --port 8080

examples:
  evalpool serve results.db
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    add_store(parser)
    parser.add_argument("--port", metavar="N", type=whole(0), default=0, help="port of 127.0.0.1 (default: a free one)")


def main(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C, which is the normal end."""
    from evalpool.cli._serve import Server
    from evalpool.cli._stores import Awaited

    with Awaited(arguments.store) as storage:
        storage.search_of(arguments.search_id)
        with Server(storage, name=arguments.store, search_id=arguments.search_id, port=arguments.port) as server:
            sys.stdout.write(f"{server.url}\n")
            sys.stdout.flush()
            sys.stderr.write("Open this address in a browser of this machine, and keep it secret. Ctrl-C ends.\n")
            if not storage.is_there:
                sys.stderr.write(f"There is no {clean(arguments.store)} yet; the page shows it when it exists.\n")
            try:
                server.wait()
            except KeyboardInterrupt:
                sys.stderr.write("\n")
    return 0
