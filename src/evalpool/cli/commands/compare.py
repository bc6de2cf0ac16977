"""``evalpool compare``: searches on benchmarks with several numbers of workers, as a file says."""

from __future__ import annotations

import argparse
import contextlib
import os
from typing import TYPE_CHECKING, Any, TextIO

from evalpool.cli._exit_codes import INCOMPLETE, NO_RESULT
from evalpool.cli._options import add_backend, add_json, seconds
from evalpool.errors import BadArgument

if TYPE_CHECKING:
    from evalpool.benchmarks import Comparison

__all__ = ["HELP", "SUMMARY", "add_options", "main"]


SUMMARY = "Compare searches on benchmarks in simulated time."
HELP = """\
Run each search on each benchmark with each number of virtual workers and each seed, and rank them. With --storage the
cells that have a result are not run again, so that a comparison can be stopped, continued and extended.

examples:
  evalpool compare spec.toml --out cells.csv
  evalpool compare spec.toml --backend process -n -1 --storage sqlite:///comparison.db --page comparison.html

SPEC is a file such as this; .json with the same names is read, too:
  searches = ["random", "tpe", "mine.py:make"]     # as for evalpool simulate --search
  benchmarks = ["digits", "hpobench:phoneme"]      # or a table from labels to names, as for searches: [benchmarks]
  workers = [1, 8, 64, 512]
  seeds = 10                                       # how many, or a list
  budget = 200                                     # evaluations of each cell
  max_time = "2h"                                  # virtual time of each cell: seconds, or such a text; one is enough
  runtime = "60,0.5"                               # of benchmarks without runtimes, such as those of bbob: constant
                                                   # seconds, or lognormal with this median and sigma
  overhead = 0.5                                   # virtual seconds of each decision (default: 0)
  stopper = "halving"                              # or median, hyperband, "mine.py:make_stopper": ends evaluations
                                                   # early, on benchmarks with curves such as "digits?curve=True"
  retries = 2                                      # of evaluations that raised or whose worker was lost (default: 0)
  [worker_model]                                   # what happens to workers, in virtual seconds (default: nothing)
  start_delay = {shape = "lognormal", median = 60.0, sigma = 0.5, seed = 1}
  crash = 0.02                                     # the probability that an attempt crashes its worker
  preempted_after = {shape = "exponential", mean = 3600.0}
  away = 300.0
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spec", metavar="SPEC", help="what to compare: .toml or .json")
    group = parser.add_argument_group("how to run the cells")
    add_backend(group, "cells")
    group.add_argument("--job-timeout", metavar="TIME", type=seconds, help="time limit of a cell: seconds, 15m, 2h")
    parser.add_argument_group("where to keep the results").add_argument(
        "--storage", metavar="STORE", default=os.environ.get("EVALPOOL_STORAGE") or None,
        help="keep every cell here, and go on with what is there",
    )  # fmt: skip
    parser.add_argument("-o", "--out", metavar="FILE", help="write a table with a row for each cell: .csv or .jsonl")
    parser.add_argument("--page", metavar="FILE", help="write tables and plots as one .html file")
    add_json(parser, "write the summary as JSON")


def main(arguments: argparse.Namespace) -> int:
    from evalpool.cli._evaluation import separate_output

    _check(arguments)
    with separate_output(arguments) as out:
        return _run(arguments, out)


def _check(arguments: argparse.Namespace) -> None:
    """Raise what would be known too late, after hours, if a file cannot be written."""
    from evalpool.tables._paths import check_path

    for option, place, kinds in (("--out", arguments.out, (".csv", ".jsonl")), ("--page", arguments.page, (".html",))):
        if place:
            if os.path.splitext(place)[1].lower() not in kinds:
                raise BadArgument(f"{option} is {place!r}; give a file that ends with {' or '.join(kinds)}.")
            check_path(place)
    if arguments.backend == "executor":
        raise BadArgument("--backend executor needs an executor of your program; use this backend from Python.")
    if arguments.page:
        from evalpool.analysis._comparison_page import check_packages

        check_packages()


def _run(arguments: argparse.Namespace, out: TextIO) -> int:
    from evalpool.benchmarks import compare
    from evalpool.callbacks import TqdmCallback
    from evalpool.cli._comparison_spec import read_spec
    from evalpool.cli._evaluation import clean_end
    from evalpool.cli._stores import open_to_write

    spec = read_spec(arguments.spec)
    options = {"callbacks": [TqdmCallback("cells")]}
    if arguments.job_timeout is not None:
        options["job_timeout"] = arguments.job_timeout
    with contextlib.ExitStack() as stack:
        storage = stack.enter_context(open_to_write(arguments.storage)) if arguments.storage else None
        stack.enter_context(clean_end())
        comparison = compare(
            **spec, evaluator=arguments.backend, num_workers=arguments.num_workers, storage=storage, options=options
        )
    if not (comparison.cells or comparison.errors or comparison.missing):
        return 0  # an MPI rank, which has served
    _write(comparison, arguments)
    if arguments.json:
        from evalpool.cli._words import write_json

        write_json(_summary(comparison, arguments), out)
    else:
        _print(comparison, arguments)
    if comparison.missing:
        return INCOMPLETE
    return 0 if comparison.cells else NO_RESULT


def _write(comparison: Comparison, arguments: argparse.Namespace) -> None:
    """Write the files that were asked for."""
    if arguments.out:
        from evalpool._json import to_json
        from evalpool.tables._cells import cell, line_of, line_of_values
        from evalpool.tables._paths import check_path, replace_file

        target, rows = check_path(arguments.out), comparison.rows()
        if target.suffix.lower() == ".jsonl":
            replace_file(target, "", [to_json(_without_nan(row)) + "\n" for row in rows])
        else:
            columns = comparison.COLUMNS
            lines = (line_of_values([row.get(name) for name in columns]) for row in rows)
            replace_file(target, line_of(map(cell, columns)), lines)
    if arguments.page:
        from evalpool.analysis import write_comparison_page

        write_comparison_page(comparison, arguments.page)


def _without_nan(row: dict[str, Any]) -> dict[str, Any]:
    """The same with None for what is not known: JSON has no NaN."""
    return {name: None if value != value else value for name, value in row.items()}


def _summary(comparison: Comparison, arguments: argparse.Namespace) -> dict[str, Any]:
    """What is said of the comparison, with plain values."""
    return {
        "searches": comparison.searches,
        "benchmarks": comparison.benchmarks,
        "workers": comparison.workers,
        "seeds": comparison.seeds,
        **comparison.conditions.texts(),
        "cells": len(comparison.cells),
        "summary": [_without_nan(row) for row in comparison.summary_rows()],
        "failed": [{**cell._asdict(), "error": error} for cell, error in comparison.errors.items()],
        "missing": [cell._asdict() for cell in comparison.missing],
        "out": os.path.abspath(arguments.out) if arguments.out else None,
        "page": os.path.abspath(arguments.page) if arguments.page else None,
    }


def _print(comparison: Comparison, arguments: argparse.Namespace) -> None:
    from evalpool.cli._lines import fact, say
    from evalpool.cli._words import clean, paint

    searches, benchmarks = len(comparison.searches), len(comparison.benchmarks)
    failed = f", {len(comparison.errors)} failed" if comparison.errors else ""
    missing = f", {len(comparison.missing)} missing" if comparison.missing else ""
    title = f"{searches} searches on {benchmarks} benchmarks, {len(comparison.cells)} cells{failed}{missing}"
    say(paint(title, "bold"))
    for name, value in comparison.conditions.texts().items():
        if value:
            fact(name.replace("_", " "), clean(str(value)))
    width = max(map(len, map(clean, comparison.searches)))
    known = None
    for row in comparison.summary_rows():
        if row["workers"] != known:
            known = row["workers"]
            say(f"  {known} worker{'s' if known > 1 else ''}")
        said = ["not ranked: there is no benchmark and seed on which all searches have a result"]
        if row["benchmarks"]:
            said = [
                f"rank {row['rank']:.2f} ({row['rank_low']:.2f} to {row['rank_high']:.2f})",
                f"normalised regret {row['normalised_regret']:.3g}",
            ]
        if row["utilisation"] == row["utilisation"]:  # it is NaN if none of its cells has a result
            said.append(f"workers busy {100 * row['utilisation']:.0f} %")
        say(f"    {clean(row['search']):<{width}}  {', '.join(said)}", 4)
    for cell, error in comparison.errors.items():
        say(f"  {paint('failed', 'bold')}  {clean(str(cell))}: {clean(error)}", 4)
    if comparison.missing:
        evaluated = "1 cell is" if len(comparison.missing) == 1 else f"{len(comparison.missing)} cells are"
        say(f"  {evaluated} evaluated by another program; run this again when it has ended, for all results.", 4)
    elif not comparison.cells:
        say("  every cell failed: in none of them an evaluation succeeded", 4)
    for name, place in (("storage", arguments.storage), ("table", arguments.out), ("page", arguments.page)):
        if place:
            fact(name, clean(place if name == "storage" else os.path.abspath(place)))
