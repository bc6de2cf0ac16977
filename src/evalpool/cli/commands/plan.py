"""``evalpool plan``: how many workers a search can feed."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any, TextIO

from evalpool.cli._options import add_json, read_seconds, seconds, whole
from evalpool.cli._pictures import KINDS, check_picture, new_figure
from evalpool.cli._workers import add_workers, worker_model
from evalpool.errors import BadArgument

if TYPE_CHECKING:
    from collections.abc import Callable

    from evalpool.benchmarks import Plan, SearchTimes

__all__ = ["HELP", "SUMMARY", "add_options", "main"]

SUMMARY = "Say how many workers a search can feed."
HELP = """\
Predict, in simulated time, how busy a search keeps its workers, how long it takes, the best size of batches, and the
number of workers beyond which more hardly help. The times of the search are declared, or measured on a benchmark; the
runtimes are declared, those of the benchmark at configurations of the measured search or at random, or those of jobs
that ran.

examples:
  evalpool plan --ask 0.5 --runtime 60,0.5 --max-evals 2000
  evalpool plan --ask 0.01,1e-4 --tell 0.001 --runtimes-from results.db --max-time 3h --workers 8,32,128
  evalpool plan --search tpe --benchmark digits --max-evals 1000 --dispatch process -o plan.png
  evalpool plan --ask 1 --runtime 60,0.5 --max-evals 2000 --crash 0.02 --preempted-after 1h --away 300 --retries 2
  evalpool plan --ask 3 --runtime 60 --searches 64 --workers 64,512 --max-time 3h
  evalpool plan --reproduce adbo
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    search = parser.add_argument_group("the search")
    search.add_argument(
        "--ask", metavar="TIME[,TIME...]",
        help="time of a proposal: seconds, or as 500ms; 0.01,1e-4 means 0.01 + 1e-4 n with n known results, a third is "
        "for n squared",
    )  # fmt: skip
    search.add_argument("--tell", metavar="TIME[,TIME...]", help="time of learning one result, as --ask (default: 0)")
    search.add_argument("--search", metavar="NAME", help="measure this search instead, named as for evalpool simulate")
    search.add_argument("--benchmark", metavar="BENCHMARK", help="on which it is measured, as for evalpool simulate")
    search.add_argument("--results", metavar="N", type=whole(1), help="with how many results (default: 200)")
    search.add_argument(
        "--searches", metavar="N", type=whole(1), default=1,
        help="so many search at the same time, and share workers and results (default: 1)",
    )  # fmt: skip
    search.add_argument("--max-evals", metavar="N", type=whole(1), help="how many evaluations, or")
    search.add_argument(
        "--max-time", metavar="TIME", type=seconds, help="for how long: seconds, or as 90s, 15m, 2h, 1d, 500ms"
    )
    jobs = parser.add_argument_group("the evaluations")
    jobs.add_argument(
        "--runtime", metavar="TIME[,SIGMA]", help="their runtimes: constant, or lognormal with this median and sigma"
    )
    jobs.add_argument(
        "--runtimes-from",
        metavar="STORE",
        help="the runtimes of the latest search in a store, or in its .csv table; or the column runtime, in seconds, "
        "of any .csv",
    )
    jobs.add_argument(
        "--workers", metavar="N[,N...]", default="1,8,64,512", help="predict for these (default: 1,8,64,512)"
    )
    jobs.add_argument(
        "--dispatch", metavar="TIME", default="0",
        help="to bring a job to a worker and its result back (default: 0); or thread, process: measure it here",
    )  # fmt: skip
    add_workers(parser.add_argument_group("what happens to workers"))
    parser.add_argument(
        "--seed", metavar="N", type=whole(0), default=0, help="of the runtimes, and of a measured search"
    )
    parser.add_argument("--reproduce", choices=("adbo",), help="a published experiment, instead of all this")
    parser.add_argument(
        "-o", "--out", metavar="FILE", help="write the prediction: .csv; or draw it: .png, .svg or .pdf"
    )
    add_json(parser, "write the prediction as JSON")


def main(arguments: argparse.Namespace) -> int:
    from evalpool.cli._evaluation import separate_output

    _check(arguments)
    with separate_output(arguments) as out:
        if arguments.reproduce:
            return _reproduce(arguments, out)
        return _plan(arguments, out)


def _check(arguments: argparse.Namespace) -> None:
    if arguments.reproduce:
        parser = argparse.ArgumentParser(add_help=False)
        add_options(parser)
        taken = ("reproduce", "seed", "json")
        defaults = {name: default for name, default in vars(parser.parse_args([])).items() if name not in taken}
        if given := [name for name, default in defaults.items() if getattr(arguments, name) != default]:
            names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise BadArgument(f"--reproduce does a published experiment as it was; leave out {names}.")
        return
    if (arguments.max_evals is None) == (arguments.max_time is None):
        raise BadArgument(
            "A plan is for a number of evaluations or for a time: give one of --max-evals and --max-time."
        )
    if (arguments.ask is None) == (arguments.search is None):
        raise BadArgument("Give the times of the search by --ask, or its name by --search to measure them.")
    if arguments.search is not None and (arguments.benchmark is None or arguments.tell is not None):
        raise BadArgument("A search is measured on a benchmark, ask and tell: give --benchmark, and no --tell.")
    if arguments.search is None and arguments.results is not None:
        raise BadArgument(
            f"--results is {arguments.results}, and no search is measured: give --search, or leave it out."
        )
    sources = sum(source is not None for source in (arguments.runtime, arguments.runtimes_from))
    if sources == 2 or (sources == 0 and arguments.benchmark is None):
        raise BadArgument("Give the runtimes of the evaluations: one of --runtime, --runtimes-from and --benchmark.")
    if arguments.out and os.path.splitext(arguments.out)[1].lower() not in (".csv", *KINDS):
        raise BadArgument(f"--out is {arguments.out!r}; give a file that ends with {', '.join(('.csv', *KINDS))}.")


def _plan(arguments: argparse.Namespace, out: TextIO) -> int:
    from evalpool.benchmarks import plan
    from evalpool.tables._paths import check_path

    workers = [_whole(text) for text in arguments.workers.split(",")]
    dispatch: float | str = arguments.dispatch
    if arguments.dispatch[:1].isdigit() or arguments.dispatch[:1] in "-.":
        dispatch = _seconds("--dispatch", arguments.dispatch)
    target = check_path(arguments.out) if arguments.out else None
    if target is not None and target.suffix.lower() != ".csv":
        new_figure(1)  # before the work, so that a missing package is found first
    found = plan(
        _times(arguments), _runtimes(arguments), workers=workers, max_evals=arguments.max_evals,
        max_time=arguments.max_time, searches=arguments.searches, dispatch=dispatch, seed=arguments.seed,
        worker_model=worker_model(arguments), retries=arguments.retries,
    )  # fmt: skip
    if target is not None:
        _write(found, target)
    if arguments.json:
        from evalpool.cli._words import write_json

        write_json(_facts(found), out)
    else:
        _print(found, out)
    return 0


def _times(arguments: argparse.Namespace) -> SearchTimes:
    from evalpool._functions import naming
    from evalpool.benchmarks import SearchTimes, load
    from evalpool.benchmarks._searches import make_search

    if arguments.search is None:
        return SearchTimes(_cost("--ask", arguments.ask), _cost("--tell", arguments.tell or "0"))
    benchmark, results = load(arguments.benchmark), arguments.results or 200
    with naming(f"The search {arguments.search!r}"):
        optimizer, _ = make_search(  # how it is simulated does not matter: its calls are measured, one by one
            arguments.search, arguments.search, benchmark, arguments.seed,
            num_workers=1, max_evals=results, quiet=not arguments.debug,
        )  # fmt: skip
        return SearchTimes.measured(optimizer, benchmark, results)


def _runtimes(arguments: argparse.Namespace) -> Any:
    from evalpool.benchmarks import load, recorded_runtimes
    from evalpool.cli._runtimes import runtime_model
    from evalpool.cli._stores import open_to_read, search_of

    if arguments.runtime is not None:
        return runtime_model(arguments.runtime)
    if arguments.runtimes_from is None:
        return (
            load(arguments.benchmark) if arguments.search is None else None
        )  # those that the search was measured with
    if arguments.runtimes_from.lower().endswith(".csv"):
        return recorded_runtimes(arguments.runtimes_from)
    with open_to_read(arguments.runtimes_from) as storage:
        return recorded_runtimes(storage.results(search_of(storage, None)))


def _cost(option: str, text: str) -> Callable[[int], float]:
    """The polynomial of these coefficients."""
    coefficients = [_seconds(option, part) for part in text.split(",")]
    return lambda results: sum(factor * float(results) ** power for power, factor in enumerate(coefficients))


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadArgument(f"--workers has {text!r}; give whole numbers, with commas between them.") from None


def _seconds(option: str, text: str) -> float:
    seconds = read_seconds(text)
    if seconds is None:
        raise BadArgument(
            f"{option} has {text!r}; give numbers of seconds, or times as 500ms or 2m, with commas between them."
        )
    return seconds


def _facts(found: Plan) -> dict[str, Any]:
    return {
        "rows": [row._asdict() for row in found.rows],
        "useful_workers": found.useful_workers,
        "limit": found.limit,
        "searches": found.searches,
        "dispatch": found.dispatch,
        "runtime": found.runtime,
        "extrapolated": found.extrapolated,
    }


def _print(found: Plan, out: TextIO) -> None:
    from evalpool.cli._words import duration

    out.write(f"{found}\n")
    mean = duration(found.runtime) if found.runtime >= 10.0 else f"{found.runtime:.3g} s"
    out.write(f"Mean runtime {mean}; {1e3 * found.dispatch:.3g} ms to bring a job and its result.\n")
    if found.extrapolated:
        out.write("The times of the search were measured with fewer results than it will have, and are extrapolated.\n")


def _write(found: Plan, target: Any) -> None:
    from evalpool.benchmarks._plan._plan import PlanRow
    from evalpool.tables._cells import line_of, line_of_values
    from evalpool.tables._paths import replace_file

    if target.suffix.lower() == ".csv":
        replace_file(target, line_of(PlanRow._fields), map(line_of_values, found.rows))
        return
    from evalpool.analysis import plot_plan

    check_picture(str(target))
    figure = new_figure(1)
    plot_plan(found, figure.add_subplot())
    figure.savefig(target, dpi=150)


def _reproduce(arguments: argparse.Namespace, out: TextIO) -> int:
    from evalpool.benchmarks._plan._published import ADBO_PUBLISHED, PUBLISHED

    rows = PUBLISHED[arguments.reproduce](seed=arguments.seed)
    if arguments.json:
        from evalpool.cli._words import write_json

        facts = [{"searches": row.searches, "ask": row.ask, **row.run._asdict()} for row in rows]
        write_json({"experiment": arguments.reproduce, "published": ADBO_PUBLISHED, "rows": facts}, out)
        return 0
    first = rows[0].run
    out.write(
        f"{first.workers:,} workers, runtimes of N(60, 20) s, {first.makespan / 3600:g} h "
        f"(arXiv 2207.00479: busy over {100 * ADBO_PUBLISHED:g} %)\n"
    )
    for row in rows:
        kind = "a search on each worker" if row.searches > 1 else "one search for all"
        busy = 100 * row.run.utilisation
        out.write(f"{kind:<23}  {row.ask:5g} s a decision  {row.run.evaluations:>7,} evaluations  busy {busy:5.1f} %\n")
    return 0
