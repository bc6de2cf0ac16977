"""``evalpool plot``: the plots of `evalpool.analysis` as a file."""

from __future__ import annotations

import argparse
import functools
from typing import Any

from evalpool.cli._options import STORE, add_store, add_tag
from evalpool.cli._pictures import check_picture, new_figure

__all__ = ["HELP", "SUMMARY", "add_options", "main"]

SUMMARY = "Draw the results."
HELP = f"""\
{STORE}
examples:
  evalpool plot results.db -o figure.png
  evalpool plot results.db --kind workers -o workers.pdf
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    add_store(parser)
    parser.add_argument("-o", "--out", metavar="FILE", required=True, help="the picture: .png, .svg or .pdf")
    parser.add_argument(
        "--kind", choices=("all", "objective", "workers"), default="all",
        help="objective over time, what the workers did, or both (default)",
    )  # fmt: skip
    add_tag(parser)


def main(arguments: argparse.Namespace) -> int:
    from evalpool.cli._stores import open_to_read, search_of
    from evalpool.storage._records import minimizes
    from evalpool.tables._paths import check_path

    check_picture(arguments.out)
    target = check_path(arguments.out)
    with open_to_read(arguments.store) as storage:
        search_id = search_of(storage, arguments.search_id)
        records = [record for record in storage.results(search_id) if record.options.is_tagged(arguments.tag)]
        minimize = minimizes(storage, search_id)
    from evalpool.analysis import plot_objective_over_time, plot_worker_utilization

    plots: dict[str, Any] = {
        "objective": functools.partial(plot_objective_over_time, minimize=minimize),
        "workers": plot_worker_utilization,
    }
    kinds = list(plots) if arguments.kind == "all" else [arguments.kind]
    figure = new_figure(len(kinds))
    for place, kind in enumerate(kinds, 1):
        plots[kind](records, figure.add_subplot(len(kinds), 1, place))
    figure.savefig(target, dpi=150)
    return 0
