"""A table in a folder that others may write to: a second writer is refused, and somebody's link is not followed.

Prints:

    the second writer: BadArgument, says who the first is: True
    rows: ['0', '1']
    the other file: precious
"""

import csv
import os
from pathlib import Path

from evalpool import Evaluator
from evalpool.callbacks import CSVLoggerCallback
from evalpool.errors import BadArgument


def logged():
    return Evaluator.create(lambda job: 1.0, "thread", {"callbacks": [CSVLoggerCallback("shared/results.csv")]})


Path("shared").mkdir()
Path("other").write_text("precious")
os.symlink(os.path.abspath("other"), "shared/.results.csv.new")
with logged() as evaluator:
    evaluator.submit([{"x": 0}])
    evaluator.gather()
    try:
        logged()
    except BadArgument as error:
        print("the second writer: BadArgument, says who the first is:", f"process {os.getpid()}" in str(error))
    evaluator.submit([{"x": 1}])
    evaluator.gather()
with open("shared/results.csv", newline="") as file:
    print("rows:", [row["job_id"] for row in csv.DictReader(file)])
print("the other file:", Path("other").read_text())
