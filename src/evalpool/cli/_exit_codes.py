"""The exit codes of the command."""

from __future__ import annotations

__all__ = ["FAILED", "INCOMPLETE", "NO_RESULT", "USAGE"]

FAILED = 1
"""A storage, a worker or a file failed."""
USAGE = 2
"""The command line, or a file that it names, is wrong; argparse uses the same code."""
NO_RESULT = 3
"""Everything was evaluated and every evaluation failed."""
INCOMPLETE = 4
"""The time limit was reached before everything was evaluated, or another program evaluates the rest."""
