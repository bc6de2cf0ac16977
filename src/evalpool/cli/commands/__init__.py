"""The commands, one file each: what it says of itself, its options, and ``main(arguments) -> int``.

What takes time to import is imported in the functions that need it, so that help and mistakes cost little more than
Python itself.
"""

from __future__ import annotations

__all__ = ["COMMANDS"]

COMMANDS = {
    "run": "evaluate a file of configurations, or search",
    "retry": "run again what failed",
    "status": "say how a search stands",
    "show": "say everything about one job",
    "watch": "the same, live",
    "serve": "the same, as a page for the browser",
    "export": "write the results to a file",
    "plot": "draw them",
    "doctor": "say what works on this machine",
}
"""What ``evalpool --help`` says of each, in its order. The name is that of its module, which has `SUMMARY`, `HELP`,
`add_options(parser)` and `main`."""
