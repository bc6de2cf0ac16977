"""From the command line to a command, and from an error to one line and an exit code.

Each command is a module of this room with a ``main(arguments) -> int``; it is imported when it is asked for, so that
``evalpool --help`` costs little more than Python itself.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence

from evalpool.cli._parser import build_parser

__all__ = ["FAILED", "INCOMPLETE", "NO_RESULT", "USAGE", "main"]

FAILED = 1
"""Something outside failed: a storage, a worker, a file."""
USAGE = 2
"""The command line, or a file it names, is wrong; as argparse has it."""
NO_RESULT = 3
"""Everything was evaluated and every evaluation failed."""
INCOMPLETE = 4
"""The time was up before everything was evaluated."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code.

    Args:
        argv: the arguments behind the program's name; None for those of this process.
    """
    arguments = build_parser().parse_args(argv)
    from evalpool.errors import BadArgument, EvalpoolError

    try:
        if arguments.log_level is not None:
            from evalpool.logging import set_level

            set_level(arguments.log_level)
        command = importlib.import_module(f"evalpool.cli._{arguments.command}")
        code: int = command.main(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        sys.stderr.write("evalpool: interrupted\n")
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # Whoever read our output has enough. The interpreter's own flush at exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (EvalpoolError, OSError) as error:
        if arguments.debug:
            raise
        sys.stderr.write(f"evalpool {arguments.command}: {_one_line(error)}\n")
        return USAGE if isinstance(error, BadArgument) else FAILED


def _one_line(error: Exception) -> str:
    from evalpool._text import LONGEST_MESSAGE, printable

    text = printable(" ".join(str(error).split()), LONGEST_MESSAGE)
    return text or type(error).__name__
