"""A program that is launched several times; all of them share only the name of a directory.

python -m tests.simulation.launched <directory> <worker or "rank"> <what it does>
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

from tests.simulation.callers import call_until_the_end, declared, die, in_line

from evalpool.errors import EvalpoolError
from evalpool.simulation import ObjectiveFuncWrapper

N_WORKERS, N_EVALS = 3, 30


def objective(eval_config: dict[str, Any], fidels: Any = None, seed: Any = None) -> dict[str, float]:
    doing = sys.argv[3]
    number = eval_config["x"] % 1000
    if doing == "dies" and number == 4:
        die()
    if doing == "hangs" and number == 4:
        sys.stdout.write("hangs\n")
        sys.stdout.flush()
        threading.Event().wait(60)
    if doing == "raises" and number == 4:
        raise ZeroDivisionError("in the objective")
    return in_line(eval_config)


def worker_of(argument: str) -> int:
    """A number, or the rank of this process."""
    if argument != "rank":
        return int(argument)
    from mpi4py import MPI

    return int(MPI.COMM_WORLD.Get_rank())


def main() -> None:
    directory, worker, doing = sys.argv[1], worker_of(sys.argv[2]), sys.argv[3]
    settings = json.loads(os.environ.get("SETTINGS", "{}"))
    wrapper = ObjectiveFuncWrapper(
        objective,
        True,
        save_dir_name="run",
        **{
            "n_workers": N_WORKERS,
            "n_evals": N_EVALS,
            "n_actual_evals_in_opt": N_EVALS + N_WORKERS,
            "worker_index": worker,
            "tmp_dir": directory,
            "overhead": declared,
            "seed": 1,
            **settings,
        },
    )
    try:
        if doing == "leaves":
            wrapper({"x": worker * 1000, "runtime": 1.0})
            said = "left"
        else:
            said = str(len(call_until_the_end(wrapper, worker)))
    except (EvalpoolError, ZeroDivisionError) as error:
        said = f"{type(error).__name__}: {error}"
    sys.stdout.write(said + "\n")


if __name__ == "__main__":
    main()
