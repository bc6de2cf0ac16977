"""The command line: its commands, their options and their help. Imports nothing that takes time."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable

from evalpool._version import __version__

__all__ = ["build_parser"]

_DESCRIPTION = """\
Evaluate expensive functions on threads, processes, Ray or MPI, and look at what comes out.

  run     evaluate a file of configurations, or search
  retry   run again what failed
  status  say how a search stands
  show    say everything about one job
  watch   the same, live
  serve   the same, as a page for the browser
  export  write the results to a file
  plot    draw them
  doctor  say what works on this machine
"""

_EXIT_CODES = """\
exit codes:
  0    done
  1    something outside failed: a storage, a worker, a file
  2    the command line, or a file that it names, is wrong
  3    run, retry: every evaluation failed, or the first --max-failures
  4    run, retry: the time was up before everything was evaluated
  130  interrupted (Ctrl-C); 143: told to end (SIGTERM)

environment:
  EVALPOOL_STORAGE      default of STORE and --storage
  EVALPOOL_BACKEND      default of --backend
  EVALPOOL_NUM_WORKERS  default of --num-workers
  EVALPOOL_LOG_LEVEL    default of --log-level
  NO_COLOR              not empty: no colours
"""

_STORE = """\
A STORE is a URL (sqlite:///results.db, sqlite:////absolute/path.db, journal:///directory, redis://host:6379/0)
or the path of an SQLite file or a journal's directory that is there.
"""

_RUN = """\
Evaluate every configuration of a file, or let a search propose them. FUNCTION is module:function (the working
directory is looked in first) or path/to/file.py:function; it gets one job and returns a number, which is maximised.

examples:
  evalpool run train.py:run --configs grid.csv -n 4 --out results.csv
  evalpool run model:train --configs grid.jsonl --storage sqlite:///results.db
  evalpool run model:train --configs grid.jsonl --storage sqlite:///results.db --resume
  evalpool run train.py:run --search random --space space.json --max-evals 100 -n -1 --out results.csv
  mpirun -n 8 python -m evalpool.mpi -m evalpool run model:train --configs grid.csv --backend mpi --out results.csv

configurations: a .jsonl file has a JSON object per line; a .csv file a column per name (of a table that evalpool wrote,
its p: columns count). A space is a JSON object: {"lr": {"low": 1e-5, "high": 0.1, "log": true}, "layers":
{"low": 1, "high": 4}, "optimizer": ["adam", "sgd"]}; a list is one of its values, and bounds without a point are
whole numbers.
"""

_RETRY = """\
Run the failed (or cancelled) jobs of a search again, as new jobs of the same search. A configuration that a later job
evaluated, or is about to, is left out; one that failed several times runs once.

The run-function must be named again: a storage holds data, and nothing in it is ever executed. Where the search was
begun by `evalpool run`, the name it was given then is shown if it is missing here.

examples:
  evalpool retry results.db --failed --function train.py:run
  evalpool retry results.db --failed --cancelled --function train.py:run -n 4 --job-timeout 10m
"""

_EXAMPLES = {
    "status": "examples:\n  evalpool status results.db\n  evalpool status redis://localhost --json\n",
    "show": "examples:\n  evalpool show results.db 0.7\n  evalpool show results.db 7 --json | jq -r .error\n",
    "watch": "Waits for a store that is not there yet. "
    "Ends when nobody works on the search any more.\n\nexamples:\n  evalpool watch results.db\n"
    "  evalpool watch results.db --json | jq .jobs\n",
    "export": "examples:\n  evalpool export results.db -o results.csv\n"
    "  evalpool export results.db --search-id 0 -o results.parquet\n"
    "  evalpool export results.db -o - | jq .objective\n",
    "plot": "examples:\n  evalpool plot results.db -o figure.png\n"
    "  evalpool plot results.db --kind workers -o workers.pdf\n",
    "serve": "A store may come later than the page.\n"
    "The page is only for this machine, and only for who knows its address, which holds a secret.\n"
    "From elsewhere: ssh -L 8080:localhost:8080 host evalpool serve results.db --port 8080\n\n"
    "examples:\n  evalpool serve results.db\n",
    "doctor": "examples:\n  evalpool doctor\n  evalpool doctor --backend ray --json\n",
}


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; a wrong variable of the environment is an error of its option."""
    parser = argparse.ArgumentParser(
        prog="evalpool", description=_DESCRIPTION, epilog=_STORE + "\n" + _EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter, usage="evalpool COMMAND ...",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"evalpool {__version__}")
    commands = parser.add_subparsers(
        prog="evalpool", dest="command", required=True, metavar="COMMAND", help=argparse.SUPPRESS
    )

    def command(name: str, summary: str, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name, description=summary + "\n\n" + text, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        common = made.add_argument_group("messages")
        common.add_argument("--debug", action="store_true", help="show the traceback of an error")
        common.add_argument(
            "--log-level", metavar="LEVEL", default=os.environ.get("EVALPOOL_LOG_LEVEL") or None,
            help="debug, info, warning or error: what evalpool and the run-functions log, on stderr",
        )  # fmt: skip
        return made

    run = command("run", "Evaluate a file of configurations, or search.", _RUN)
    run.add_argument("function", metavar="FUNCTION", help="module:function or path/to/file.py:function")
    what = run.add_argument_group("what to evaluate")
    which = what.add_mutually_exclusive_group(required=True)
    which.add_argument("--configs", metavar="FILE", help="configurations: .jsonl or .csv")
    which.add_argument("--search", choices=("random", "optuna"), help="who proposes configurations")
    what.add_argument("--space", metavar="FILE", help="with --search: the search space, a .json file")
    what.add_argument("--max-evals", metavar="N", type=_whole(1), help="with --search: how many evaluations")
    what.add_argument(
        "--minimize", action="store_true",
        help="smaller objectives are better; kept with the search, so that all that shows it knows",
    )  # fmt: skip
    what.add_argument("--seed", metavar="N", type=_whole(0), help="of the search and of the jobs")
    _add_execution(run)
    run.add_argument_group("what becomes of the results").add_argument(
        "--storage", metavar="STORE", default=os.environ.get("EVALPOOL_STORAGE") or None,
        help="keep everything here: survives a crash, can be watched and resumed",
    )  # fmt: skip
    _add_results(run)
    again = run.add_argument_group("going on")
    again.add_argument(
        "--resume", action="store_true",
        help="go on with a search of the storage: evaluate what is missing of the file, or up to --max-evals",
    )  # fmt: skip
    again.add_argument("--search-id", metavar="ID", help="with --resume: which one; the latest if not given")
    again.add_argument(
        "--force", action="store_true",
        help="with --resume: also with another function, space or file than the search was begun with",
    )  # fmt: skip

    retry = command("retry", "Run again what failed.", _RETRY)
    _add_store(retry)
    retry.add_argument("--function", metavar="FUNCTION", help="the run-function, as for `evalpool run`; needed")
    retry.add_argument("--failed", action="store_true", help="jobs that failed")
    retry.add_argument("--cancelled", action="store_true", help="jobs that were cancelled, or out of time")
    _add_execution(retry)
    _add_results(retry)

    status = command("status", "Say how a search stands.", _STORE + "\n" + _EXAMPLES["status"])
    _add_store(status)
    _add_json(status)

    show = command(
        "show", "Say everything about one job: configuration, result, error.", _STORE + "\n" + _EXAMPLES["show"]
    )
    _add_store(show)
    show.add_argument("job", metavar="JOB", help="its id, as 0.7, or its number in the search")
    _add_json(show)

    watch = command("watch", "Show how a search goes, live.", _STORE + "\n" + _EXAMPLES["watch"])
    _add_store(watch)
    watch.add_argument(
        "--interval", metavar="SECONDS", type=_seconds, default=0.5, help="between two looks (default: 0.5)"
    )
    _add_json(watch, "a line of JSON at each change")

    export = command("export", "Write the results to a file.", _STORE + "\n" + _EXAMPLES["export"])
    _add_store(export)
    export.add_argument(
        "-o", "--out", metavar="FILE", required=True, help=".csv, .parquet or .jsonl; - for JSON lines on stdout"
    )

    plot = command("plot", "Draw the results.", _STORE + "\n" + _EXAMPLES["plot"])
    _add_store(plot)
    plot.add_argument("-o", "--out", metavar="FILE", required=True, help="the picture: .png, .svg or .pdf")
    plot.add_argument(
        "--kind", choices=("all", "objective", "workers"), default="all",
        help="objective over time, what the workers did, or both (default)",
    )  # fmt: skip

    serve = command("serve", "Show a search in the browser, live.", _STORE + "\n" + _EXAMPLES["serve"])
    _add_store(serve)
    serve.add_argument("--port", metavar="N", type=_whole(0), default=0, help="of 127.0.0.1 (default: a free one)")

    doctor = command("doctor", "Say what works on this machine, and why the rest does not.", _EXAMPLES["doctor"])
    doctor.add_argument(
        "--backend", metavar="NAME", action="append",
        help="only this one; the exit code is 1 if it does not work. May be repeated",
    )  # fmt: skip
    _add_json(doctor)
    return parser


def _add_store(parser: argparse.ArgumentParser) -> None:
    default = os.environ.get("EVALPOOL_STORAGE") or None
    if default:
        parser.add_argument("store", metavar="STORE", nargs="?", default=default, help=f"default: {default}")
    else:
        parser.add_argument("store", metavar="STORE", help="where the results are")
    parser.add_argument("--search-id", metavar="ID", help="which search; the latest if not given")


def _add_json(parser: argparse.ArgumentParser, text: str = "for programs") -> None:
    parser.add_argument("--json", action="store_true", help=text)


def _add_execution(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how to evaluate")
    group.add_argument(
        "--backend", metavar="NAME", default=os.environ.get("EVALPOOL_BACKEND") or "process",
        help="serial, thread, process (default), ray or mpi; `evalpool doctor` says what works here",
    )  # fmt: skip
    group.add_argument(
        "-n", "--num-workers", metavar="N", type=_whole(-1), default=os.environ.get("EVALPOOL_NUM_WORKERS") or None,
        help="how many jobs at a time; -1 for every CPU (default: 1; on ray and mpi all there are)",
    )  # fmt: skip
    group.add_argument(
        "--timeout", metavar="TIME", type=_seconds, help="for everything: seconds, or as 90s, 15m, 2h, 1d"
    )
    group.add_argument("--job-timeout", metavar="TIME", type=_seconds, help="for one job; then it is F_timeout")
    group.add_argument(
        "--retries", metavar="N", type=_whole(0), default=0,
        help="how often to run a job again at once that raised or whose worker died (default: 0)",
    )  # fmt: skip
    group.add_argument(
        "--max-failures", metavar="N", type=_whole(1),
        help="end if the first N evaluations all failed; then the exit code is 3",
    )  # fmt: skip


def _add_results(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--out", metavar="FILE",
        help="write a table: .csv as results come; .parquet or .jsonl at the end",
    )  # fmt: skip
    parser.add_argument(
        "--progress", choices=("auto", "live", "lines", "off"), default="auto",
        help="on stderr: a live view, a line now and then, or nothing (default: live in a terminal, else lines)",
    )  # fmt: skip
    _add_json(parser, "the summary at the end for programs")


def _whole(least: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is below {least}")
        return value

    return whole


_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)([smhd]?)", text)
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; give seconds above 0, or as 90s, 15m, 2h, 1d")
    return seconds
