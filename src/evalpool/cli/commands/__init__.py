"""The commands, one file each, with their help, their options, and ``main(arguments) -> int``.

Modules that take time to import are imported in the functions that need them, so that help and error messages take
little longer than Python itself.
"""

from __future__ import annotations

__all__ = ["COMMANDS"]

COMMANDS = {
    "run": "evaluate a file of configurations, or search",
    "retry": "run failed jobs again",
    "status": "show the state of a search",
    "show": "show everything about one job",
    "watch": "show a search live, in the terminal",
    "serve": "show a search live, in the browser",
    "export": "write the results to a file",
    "plot": "draw the results",
    "simulate": "run a search on a benchmark in simulated time",
    "compare": "compare searches on benchmarks in simulated time",
    "plan": "say how many workers a search can feed",
    "doctor": "report what works on this machine",
}
"""The text of each command in ``evalpool --help``, in this order. A command's name is that of its module, which has
`SUMMARY`, `HELP`, `add_options(parser)` and `main`."""
