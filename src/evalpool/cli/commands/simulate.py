"""``evalpool simulate``: a search on a benchmark, with any number of workers, in simulated time."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

from evalpool.cli._exit_codes import NO_RESULT
from evalpool.cli._options import add_json, read_seconds, seconds, whole
from evalpool.cli._runtimes import runtime_model
from evalpool.cli._workers import add_workers, worker_model
from evalpool.errors import BadArgument

if TYPE_CHECKING:
    from evalpool.benchmarks import Benchmark, RuntimeModel
    from evalpool.simulation import SimulationResult, WorkerModel

__all__ = ["HELP", "SUMMARY", "add_options", "main"]


SUMMARY = "Run a search on a benchmark in simulated time."
HELP = """\
Run a search with any number of workers as if each evaluation took the time that the benchmark says; nothing waits.
BENCHMARK is the name of one that comes with evalpool or a package, a table, or one in a file of yours.

examples:
  evalpool simulate digits --max-evals 500 --workers 16
  evalpool simulate hpobench:phoneme --search tpe --workers 64 --max-evals 2000
  evalpool simulate "bbob:Sphere?dimension=5" --runtime 60,0.5 --search nevergrad:TwoPointsDE --max-time 2h
  evalpool simulate "grid.csv?objectives=loss&maximize=False&runtime=seconds" --max-evals 100 --json
  evalpool simulate digits --search hyperband --workers 8 --max-time 20
  evalpool simulate "digits?curve=True" --stopper halving --workers 8 --max-time 2
  evalpool simulate digits --workers 64 --max-evals 500 --preempted-after 5m --away 60 --retries 2
  evalpool simulate mine.py:benchmark --search mine.py:make_search --workers 8 --max-evals 100 --out schedule.csv

times are virtual seconds.
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("benchmark", metavar="BENCHMARK", help="suite:problem?option=value, table.csv, or file.py:name")
    what = parser.add_argument_group("the search")
    what.add_argument(
        "--search", metavar="NAME", default="random",
        help="random (default); halving, hyperband (benchmarks with a fidelity); tpe, cmaes, gp, qmc, nsga2 (Optuna); "
        "skopt; nevergrad:NAME; or file.py:function, which gets (space, seed) and returns an object with ask and tell",
    )  # fmt: skip
    what.add_argument("--max-evals", metavar="N", type=whole(1), help="how many evaluations, failures included")
    what.add_argument(
        "--max-time", metavar="TIME", type=seconds, help="virtual time: seconds, or as 90s, 15m, 2h, 1d, 500ms"
    )
    what.add_argument(
        "--seed", metavar="N", type=whole(0), help="seed of the search and of the jobs (default: a new one)"
    )
    how = parser.add_argument_group("simulated time")
    how.add_argument("--workers", metavar="N", type=whole(1), default=1, help="virtual workers (default: 1)")
    how.add_argument(
        "--overhead", metavar="TIME", default="none",
        help="of a decision: none (default), measured, cpu, or virtual time",
    )  # fmt: skip
    how.add_argument(
        "--runtime", metavar="TIME[,SIGMA]",
        help="runtimes instead of the benchmark's own: constant, or lognormal with this median and sigma",
    )  # fmt: skip
    how.add_argument(
        "--stopper", metavar="NAME",
        help="ends jobs early, from their learning curves: median; halving (successive halving, ASHA); hyperband; or "
        "file.py:function, which gets the benchmark and returns a stopper",
    )  # fmt: skip
    add_workers(parser.add_argument_group("what happens to workers"))
    parser.add_argument_group("results").add_argument(
        "-o", "--out", metavar="FILE", help="write the schedule, a row for each job: .csv or .jsonl"
    )
    add_json(parser, "write the summary as JSON")


def main(arguments: argparse.Namespace) -> int:
    from evalpool.cli._evaluation import separate_output

    if arguments.max_evals is None and arguments.max_time is None:
        raise BadArgument("Nothing would end this search: give --max-evals or --max-time.")
    if arguments.out and os.path.splitext(arguments.out)[1].lower() not in (".csv", ".jsonl"):
        raise BadArgument(f"--out is {arguments.out!r}; give a file that ends with .csv or .jsonl.")
    overhead = _overhead(arguments.overhead)
    runtime = None if arguments.runtime is None else runtime_model(arguments.runtime)
    model = worker_model(arguments)
    with separate_output(arguments) as out:
        return _run(arguments, overhead, runtime, model, out)


def _run(
    arguments: argparse.Namespace, overhead: Any, runtime: RuntimeModel | None, model: WorkerModel | None, out: TextIO
) -> int:
    from evalpool._clock import perf_counter
    from evalpool._functions import naming
    from evalpool.benchmarks import load
    from evalpool.benchmarks._ended import Ended
    from evalpool.benchmarks._searches import make_search
    from evalpool.benchmarks._stoppers import check_stopper, make_stopper
    from evalpool.jobs._seeds import fresh_seed
    from evalpool.simulation import simulate
    from evalpool.tables._paths import check_path, replace_file

    target = check_path(arguments.out) if arguments.out else None
    benchmark = load(arguments.benchmark, runtime=runtime)
    seed = fresh_seed() % 2**31 if arguments.seed is None else arguments.seed
    if not benchmark.has_runtimes:
        raise BadArgument(f"{arguments.benchmark!r} has no runtimes; give --runtime 60, or --runtime 60,0.5.")
    with naming(f"The stopper {arguments.stopper!r}"):
        stopper = make_stopper(check_stopper(arguments.stopper), arguments.benchmark, benchmark)
    with naming(f"The search {arguments.search!r}"):
        optimizer, settings = make_search(
            arguments.search, arguments.search, benchmark, seed,
            num_workers=arguments.workers, max_evals=arguments.max_evals, quiet=not arguments.debug,
        )  # fmt: skip
    how = {
        "overhead": overhead, "worker_model": model, "retries": arguments.retries, "stopper": stopper, **settings,
    }  # fmt: skip
    ended = Ended()
    if how["stopper"] is not None:
        how["callbacks"] = [ended, *(settings.get("callbacks") or ())]
    began = perf_counter()
    with naming(f"The search {arguments.search!r}"):
        result = simulate(
            optimizer, benchmark, num_workers=arguments.workers, max_evals=arguments.max_evals,
            max_time=arguments.max_time, seed=seed, **how,
        )  # fmt: skip
    took = perf_counter() - began
    if target is not None:
        replace_file(target, *_schedule(result, target.suffix.lower()))
    summary = _summary(arguments, benchmark, result, ended.early, seed, took)
    if arguments.json:
        from evalpool.cli._words import write_json

        write_json(summary, out)
    else:
        _print(summary, benchmark)
    return NO_RESULT if summary["evaluated"] and summary["failed"] == summary["evaluated"] else 0


def _summary(
    arguments: argparse.Namespace,
    benchmark: Benchmark,
    result: SimulationResult,
    early: set[int],
    seed: int,
    took: float,
) -> dict[str, Any]:
    """What is said of the search, with plain values."""
    failed = sum(isinstance(objective, str) for objective in result.objectives)
    span = arguments.workers * result.makespan
    return {
        "benchmark": benchmark.name,
        "search": arguments.search,
        "stopper": arguments.stopper,
        "workers": arguments.workers,
        "seed": seed,
        "evaluated": len(result.objectives),
        "failed": failed,
        "stopped_early": sum(row["job"] in early for row in result.completions),
        "best": _best(benchmark, result, early),
        "makespan": result.makespan,
        "utilisation": min(1.0, result.busy_time / span) if span else 0.0,
        "over": result.over,
        "digest": result.trace_digest(),
        "seconds": took,
        "out": os.path.abspath(arguments.out) if arguments.out else None,
    }


def _best(benchmark: Benchmark, result: SimulationResult, early: set[int]) -> dict[str, Any] | None:
    """The best of the full evaluations of a benchmark with one objective, in its own sense; None if there is none."""
    from evalpool.benchmarks._ended import is_full

    found = None
    for row, objective in zip(result.completions, result.objectives, strict=True):
        if isinstance(objective, (str, tuple)) or not is_full(row["job"], result, benchmark, early):
            continue
        if found is None or objective > found[1]:
            found = (row, objective)
    if found is None:
        return None
    row, objective = found
    (maximize,) = benchmark.maximize
    return {
        "name": benchmark.objectives[0],
        "value": objective if maximize else -objective,
        "maximize": maximize,
        "job": row["job"],
        "end": row["end"],
        "configuration": result.configurations[row["job"]],
    }


def _print(summary: dict[str, Any], benchmark: Benchmark) -> None:
    from evalpool.cli._lines import fact, say
    from evalpool.cli._words import clean, duration, number, paint, short

    workers = f"{summary['workers']} worker{'s' if summary['workers'] > 1 else ''}"
    stopper = "" if summary["stopper"] is None else f" with the stopper {summary['stopper']}"
    title = f"{summary['search']}{stopper} on {summary['benchmark']}, {workers}, seed {summary['seed']}"
    say(paint(clean(title), "bold"))
    failed = f", {summary['failed']} failed" if summary["failed"] else ""
    early = f", {summary['stopped_early']} stopped early" if summary["stopped_early"] else ""
    fact("evaluated", f"{summary['evaluated']}{failed}{early}, ended by {summary['over']}")
    best = summary["best"]
    if best is not None:
        sense = "largest" if best["maximize"] else "smallest"
        after = f"after {duration(best['end'])}"
        name = f"{clean(best['name'])} {number(best['value'])}, the {sense}, {after}"
        fact("best", f"{name}  job {best['job']}: {short(best['configuration'])}")
    elif benchmark.fidelity is not None and len(benchmark.objectives) == 1 and summary["evaluated"]:
        full = f"{clean(benchmark.fidelity.name)}={benchmark.fidelity.high:g}"
        fact("best", f"none: no evaluation at the highest fidelity, {full}, has a result")
    fact("virtual time", f"{duration(summary['makespan'])}, workers busy {100 * summary['utilisation']:.1f} %")
    fact("real time", duration(summary["seconds"]))
    fact("digest", summary["digest"])
    if summary["out"]:
        fact("schedule", clean(summary["out"]))


def _schedule(result: SimulationResult, kind: str) -> tuple[str, Iterator[str]]:
    """The header and the lines of the schedule."""
    from evalpool._json import to_json
    from evalpool.tables._cells import cell, line_of, line_of_values

    columns = ("job", "worker", "ask_start", "start", "end", "status", "charged", "resumed_from")
    objectives = dict(zip((row["job"] for row in result.completions), result.objectives, strict=True))
    names = list(dict.fromkeys(name for configuration in result.configurations for name in configuration))
    if kind == ".jsonl":
        whole_rows = (
            {**{name: row[name] for name in columns}, "objective": objectives.get(row["job"]), "configuration": one}
            for row, one in zip(result.trace, result.configurations, strict=True)
        )
        return "", (to_json(row) + "\n" for row in whole_rows)
    rows = (
        [*(row[name] for name in columns), objectives.get(row["job"]), *(one.get(name) for name in names)]
        for row, one in zip(result.trace, result.configurations, strict=True)
    )
    header = line_of(map(cell, [*columns, "objective", *(f"p:{name}" for name in names)]))
    return header, map(line_of_values, rows)


def _overhead(text: str) -> Any:
    from evalpool.simulation._simulate import OVERHEADS

    if text in OVERHEADS:
        return text
    seconds = read_seconds(text)
    if seconds is None:
        raise BadArgument(f"--overhead is {text!r}; give one of {', '.join(OVERHEADS)}, or virtual seconds.")
    return seconds
