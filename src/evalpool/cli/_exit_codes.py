"""What the command exits with."""

from __future__ import annotations

__all__ = ["FAILED", "INCOMPLETE", "NO_RESULT", "USAGE"]

FAILED = 1
"""Something outside failed: a storage, a worker, a file."""
USAGE = 2
"""The command line, or a file it names, is wrong; as argparse has it."""
NO_RESULT = 3
"""Everything was evaluated and every evaluation failed."""
INCOMPLETE = 4
"""The time was up before everything was evaluated."""
