"""Running the command that a command line names; an error becomes one line and an exit code.

Each command is a module of `commands`, which is imported when it is used, so that ``evalpool --help`` takes little
longer than Python itself.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from evalpool.cli._exit_codes import FAILED, USAGE
from evalpool.cli._parser import build_parser, command_of
from evalpool.cli._streams import complete_streams

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code.

    Args:
        argv: the arguments after the program's name; None for those of this process.
    """
    try:
        complete_streams()
        words = sys.argv[1:] if argv is None else list(argv)
        return _run(build_parser(words).parse_args(words))
    except KeyboardInterrupt:
        sys.stderr.write("evalpool: interrupted\n")
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader of our output has ended. The interpreter's own flush at exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def _run(arguments: argparse.Namespace) -> int:
    from evalpool.errors import BadArgument, EvalpoolError

    try:
        if arguments.log_level is not None:
            from evalpool.logging import set_level

            set_level(arguments.log_level)
        code: int = command_of(arguments.command).main(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        raise
    except (EvalpoolError, OSError) as error:
        if arguments.debug:
            raise
        sys.stderr.write(f"evalpool {arguments.command}: {_one_line(error)}\n")
        return USAGE if isinstance(error, BadArgument) else FAILED


def _one_line(error: Exception) -> str:
    from evalpool._text import LONGEST_MESSAGE, printable

    text = printable(" ".join(str(error).split()), LONGEST_MESSAGE)
    return text or type(error).__name__
