"""Runs a script only on the root rank, while all other ranks run jobs, so the script needs no guard.

::

    mpirun -n 8 python -m evalpool.mpi script.py arguments ...
    mpirun -n 8 python -m evalpool.mpi -m module arguments ...

Every `MPICommEvaluator` of the script then uses these ranks. However the script ends, by its last line, an exception,
`sys.exit` or Ctrl-C, all ranks end, and the exit code is the script's.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import traceback
from typing import Any

from evalpool._mpi._crew import CREW, load_mpi, one_rank_only, runner_crew
from evalpool.batch._deadline import suspends_on_sigterm
from evalpool.errors import EvalpoolError
from evalpool.worker._forked import exit_code

__all__ = ["main"]

USAGE = "usage: mpirun -n N python -m evalpool.mpi (script.py | -m module) [arguments ...]\n"


def main(arguments: list[str]) -> int:
    """Serve, or run the script; return the exit code."""
    if not arguments or arguments[0] in ("-h", "--help") or arguments == ["-m"]:
        (sys.stdout if arguments[:1] in (["-h"], ["--help"]) else sys.stderr).write(USAGE)
        return 0 if arguments[:1] in (["-h"], ["--help"]) else 2
    # If a Ctrl-C ended a rank before it serves, the others would wait for it.
    held: list[int] = []
    own = signal.signal(signal.SIGINT, lambda number, frame: held.append(number))
    try:
        MPI = load_mpi()
        if MPI.COMM_WORLD.size == 1:
            sys.stderr.write(f"evalpool: {one_rank_only(MPI, ' '.join(('python -m evalpool.mpi', *arguments)))}\n")
            return 2
        crew = runner_crew(MPI.COMM_WORLD)
    except EvalpoolError as error:
        sys.stderr.write(f"evalpool: {error}\n")
        return 2
    if crew.rank != crew.root:
        from evalpool.backends._mpi._rank import Rank

        Rank.of(crew).serve(CREW)
        return 0
    code = 1
    crew.at_end.append(lambda: crew.close(CREW, []))
    try:
        code = _run(arguments, own, bool(held))
    finally:
        crew.exit_code = code or 1
        from evalpool.evaluator._open_evaluators import close_all

        close_all()
        crew.part()
    return code


def _run(arguments: list[str], on_ctrl_c: Any, interrupted: bool) -> int:
    """Run the script as ``python script.py`` would; returns the exit code that it would have had."""
    try:
        signal.signal(signal.SIGINT, on_ctrl_c)
        if interrupted:
            signal.raise_signal(signal.SIGINT)
        with suspends_on_sigterm():
            if arguments[0] == "-m":
                sys.argv = arguments[1:]
                sys.path[0] = os.getcwd()
                runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
            else:
                sys.argv = list(arguments)
                sys.path[0] = os.path.dirname(os.path.abspath(arguments[0]))
                runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as error:
        return exit_code(error)
    except KeyboardInterrupt:
        traceback.print_exc()
        return 128 + signal.SIGINT
    except BaseException:  # noqa: BLE001  shown, and in the exit code, as the interpreter does
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
