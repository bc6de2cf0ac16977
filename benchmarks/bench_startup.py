"""The time until evalpool is imported, and until the first result.

    python benchmarks/bench_startup.py            half a minute
    python benchmarks/bench_startup.py --quick

Each figure is from a fresh interpreter, compared with one that imports what the budget names. They run in alternation;
read the differences and ratios.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from functools import partial

from _tables import alternate, heading, row

LIBRARIES = "import numpy, cloudpickle, pydantic"
EVALUATOR = LIBRARIES + ", evalpool; evalpool.Evaluator"
FIRST = """
import os
from evalpool import Evaluator
def run(job):
    return job["x"]
evaluator = Evaluator.create(run, "process", {"num_workers": 2})
evaluator.submit([{"x": 1.0}])
assert evaluator.gather()[0].objective == 1.0
os._exit(0)  # the end is not measured
"""
HEAVY = "{'ray', 'mpi4py', 'pandas', 'matplotlib', 'sklearn'}"


def seconds(code: str) -> float:
    """Seconds of an interpreter that runs this code."""
    # Compiled modules are kept, as they are of an installed package: else each start would compile ours anew.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    return time.perf_counter() - start


def rate(code: str) -> float:
    return 1.0 / seconds(code)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int, default=11)
    arguments = parser.parse_args()
    repeats = 3 if arguments.quick else arguments.repeats
    print(heading("Start", "evalpool", "numpy", "pydantic"))
    for code in (LIBRARIES, EVALUATOR, FIRST):
        seconds(code)  # compiles what is not compiled yet
    found = alternate({"libraries": partial(seconds, LIBRARIES), "evalpool": partial(seconds, EVALUATOR)}, repeats)
    extra = sorted(a - b for a, b in zip(found["evalpool"], found["libraries"], strict=True))
    middle, least, most = (1000 * value for value in (statistics.median(extra), extra[0], extra[-1]))
    print("import evalpool and its Evaluator, over numpy, cloudpickle and pydantic: ", end="")
    print(f"{middle:.0f} ms ({least:.0f} - {most:.0f}); budget 50 ms\n")
    check = f"{EVALUATOR}; import sys; assert not {HEAVY} & set(sys.modules)"
    seconds(check)
    print("| what | starts | numpy alone | ratio (spread) | budget |\n|---|---|---|---|---|")
    found = alternate({"numpy": partial(rate, "import numpy"), "first": partial(rate, FIRST)}, repeats)
    title = "first result, process, from import (0.83 is 1.2 times as long)"
    print(row(title, found["first"], found["numpy"], 0.83, "starts/s"))


if __name__ == "__main__":
    main()
