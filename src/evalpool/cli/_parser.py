"""The command line: its commands, their options and their help.

A command's module is imported only where its options are needed.
"""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Sequence
from typing import Any

from evalpool._version import __version__
from evalpool.cli._options import STORE
from evalpool.cli.commands import COMMANDS

__all__ = ["build_parser", "command_of"]

_DESCRIPTION = "Evaluate expensive functions on threads, processes, Ray or MPI, and look at the results."

_EXIT_CODES = """\
exit codes:
  0    done
  1    a storage, a worker or a file failed
  2    the command line, or a file that it names, is wrong
  3    run, retry, simulate: every evaluation failed, or the first --max-failures; compare: every cell failed
  4    run, retry: the time limit was reached before all was evaluated; compare: another program evaluates the rest
  130  interrupted (Ctrl-C); 143: told to end (SIGTERM)

environment:
  EVALPOOL_STORAGE      default of STORE and --storage
  EVALPOOL_BACKEND      default of --backend
  EVALPOOL_NUM_WORKERS  default of --num-workers
  EVALPOOL_LOG_LEVEL    default of --log-level
  NO_COLOR              if it is not empty, there are no colours
"""


def build_parser(words: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """The parser of the command line; a wrong environment variable is reported as an error of its option.

    Args:
        words: what is to be parsed: only the command that they name gets its options. None: all commands do.
    """
    listed = "".join(f"  {name:<8} {text}\n" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="evalpool", description=f"{_DESCRIPTION}\n\n{listed}", epilog=STORE + "\n" + _EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter, usage="evalpool COMMAND ...",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"evalpool {__version__}")
    commands = parser.add_subparsers(
        prog="evalpool", dest="command", required=True, metavar="COMMAND", help=argparse.SUPPRESS
    )
    asked = None if words is None else next((word for word in words if not word.startswith("-")), "")
    for name in COMMANDS:
        if asked in (None, name):
            _add_command(commands, name)
        else:
            commands.add_parser(name)
    return parser


def _add_command(commands: Any, name: str) -> None:
    module = command_of(name)
    parser = commands.add_parser(
        name,
        description=f"{module.SUMMARY}\n\n{module.HELP}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common = parser.add_argument_group("messages")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    common.add_argument(
        "--log-level", metavar="LEVEL", default=os.environ.get("EVALPOOL_LOG_LEVEL") or None,
        help="debug, info, warning or error: what evalpool and the run-functions log, on stderr",
    )  # fmt: skip
    module.add_options(parser)


def command_of(name: str) -> Any:
    """The module of a command."""
    return importlib.import_module(f"evalpool.cli.commands.{name}")
