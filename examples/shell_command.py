"""A shell command as the evaluation: a simulation, a compiled program, or an `mpirun` of one.

The command prints its result on a line that begins with DH-OUTPUT: as JSON or a Python literal. Its other output is
ignored. If the command fails, the job fails, with the end of the command's standard error. For a program under MPI the
command would be ["mpirun", "-n", "4", "./simulate", ...], with as many processes as slots were lent to the job.

    python examples/shell_command.py
"""

import json
import subprocess
import sys
from typing import Any

from evalpool import ProcessPoolEvaluator, RunningJob, parse_subprocess_result

SIMULATION = """
import json, sys
configuration = json.loads(sys.argv[1])
print("reading the mesh ...")
if configuration["pressure"] < 0:
    sys.exit("the pressure is negative")
drag = (configuration["pressure"] - 2) ** 2 + configuration["angle"] ** 2
print("DH-OUTPUT:", json.dumps({"objective": -drag, "metadata": {"iterations": 17}}))
"""


def simulate(job: RunningJob) -> Any:
    """The run-function. A job over its time limit is killed with the command that it started."""
    command = [sys.executable, "-c", SIMULATION, json.dumps(job.parameters)]
    return parse_subprocess_result(subprocess.run(command, capture_output=True, text=True))


def main() -> None:
    with ProcessPoolEvaluator(simulate, num_workers=2, job_timeout=30) as evaluator:
        evaluator.submit([{"pressure": p, "angle": a} for p in (-1.0, 1.0, 2.0) for a in (0.0, 0.5)])
        for job in sorted(evaluator.gather("ALL"), key=lambda job: job.number):
            if job.error:
                print(f"{job.args}: {job.objective}: {job.error.strip().splitlines()[-1]}")
            else:
                print(f"{job.args}: {job.objective} after {job.metadata['iterations']} iterations")


if __name__ == "__main__":
    main()
