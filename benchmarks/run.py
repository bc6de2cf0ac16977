"""Run the benchmarks of this folder, one after the other: ``make bench``.

    python benchmarks/run.py [--quick] [--only dispatch payload ...] [--save docs/benchmarks.md]

The one on MPI runs under the `mpirun` of each library that the tests install from its wheel. With ``--save`` what is
printed is also kept, with its date, as a page of the documentation.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SCRIPTS = {path.stem.removeprefix("bench_"): path for path in sorted(HERE.glob("bench_*.py"))}
BESIDE_DEEPHYPER = {"dispatch", "payload", "ray"}
MPI_SIZES = {False: ("2000", "7"), True: ("500", "2")}

PAGE = """# Benchmarks

What `make bench` printed, saved by `python benchmarks/run.py --save docs/benchmarks.md`. Each table says when and where
it ran and how busy the machine was. The two sides of a pair ran in alternation, in one process each. Read the ratios
and their spread, not the rates: on another machine the rates differ much, and the ratios little. Where a figure misses
its budget, a [decision](decisions/README.md) says by how much and what was tried: [all
rows](decisions/0044-rows-on-a-quiet-machine.md), [large arrays](decisions/0043-memory-files-are-written-again.md),
[simulated time](decisions/0041-simulated-time-on-a-quiet-machine.md), [local
dispatch](decisions/0042-workers-look-before-they-sleep.md), [storages and
tables](decisions/0035-records-and-callbacks-measured.md), [what is missed
still](decisions/0039-rows-that-are-missed.md), [MPI](decisions/0036-ranks-wake-each-other.md),
[Ray](decisions/0023-rings-for-ray.md). A row says in its first column how many CPUs other programs used, if they used
any: then its rates go by how the system shares the CPUs.

`make bench ARGS="--only published"` runs protocols that other projects published, and prints their figures beside ours:
the calls that rush measures on Redis, Ray Tune's ten thousand trials, and ADBO's utilisation of 1 920 workers. Those
figures are of other machines.
"""


def mpi_engines() -> list[Any]:
    """The MPI libraries that the tests install from their wheels; installs those that are missing."""
    sys.path.insert(0, str(HERE.parent))
    from tests.backends.mpi.engines import ENGINES

    for engine in ENGINES.values():
        engine.install()
    return list(ENGINES.values())


def mpi_commands(quick: bool) -> list[list[str]]:
    """The benchmark on MPI, under each library."""
    commands = []
    for engine in mpi_engines():
        own = {key: value for key, value in engine.environment().items() if key.startswith(("MPI4PY", "OMPI"))}
        launch = [
            "env",
            *(f"{key}={value}" for key, value in own.items()),
            str(engine.mpirun),
            *engine.options,
            "-n",
            "3",
        ]
        commands.append([*launch, sys.executable, str(SCRIPTS["mpi"]), *MPI_SIZES[quick]])
    return commands


def main() -> int:
    """The number of benchmarks that failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller sizes: minutes instead of half an hour")
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=list(SCRIPTS))
    parser.add_argument("--save", type=Path, help="a Markdown page to keep what is printed")
    parser.add_argument("--append", action="store_true", help="to that page, instead of writing it anew")
    arguments = parser.parse_args()
    size = " --quick" if arguments.quick else ""
    library = {}
    if BESIDE_DEEPHYPER.intersection(arguments.only):  # it imports mpi4py
        library["MPI4PY_LIBMPI"] = mpi_engines()[0].environment()["MPI4PY_LIBMPI"]
    failed, said = 0, [] if arguments.append else [PAGE]
    said.append(f"\nBy `python benchmarks/run.py{size} --only {' '.join(arguments.only)}`:\n")
    for name in arguments.only:
        commands = [[sys.executable, str(SCRIPTS[name]), *(["--quick"] if arguments.quick else [])]]
        if name == "mpi":
            commands = mpi_commands(arguments.quick)
        print(f"\n# {SCRIPTS[name].name}\n", flush=True)
        for command in commands:
            process = subprocess.Popen(command, env={**library, **os.environ}, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                print(line, end="", flush=True)
                lines.append(line)
            failed += process.wait() != 0
            text = "".join(lines).strip()
            if not text.startswith("## "):  # it is not Markdown
                text = f"## {SCRIPTS[name].name}\n\n```text\n{text}\n```"
            said.append(f"\n{text}\n")
    if arguments.save is not None:
        with arguments.save.open("a" if arguments.append else "w") as page:
            page.write("".join(said))
    return failed


if __name__ == "__main__":
    sys.exit(main())
