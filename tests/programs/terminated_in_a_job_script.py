"""A batch system terminates a search in the background of a job script, where Ctrl-C is ignored: it ends at once.

What had finished is in the store.

Prints:

    exit code 143
    jobs that run: 0
    finished ones are kept: True
"""

import subprocess
import sys
from pathlib import Path

from evalpool.storage import JournalStorage

SEARCH = """
import time
from evalpool import Evaluator, stops_on_sigterm
from evalpool.storage import JournalStorage

def run(job):
    time.sleep(job["seconds"])
    return 1.0

with JournalStorage("store") as storage, stops_on_sigterm():
    with Evaluator.create(run, "process", {"storage": storage, "num_workers": 2}) as evaluator:
        evaluator.submit([{"seconds": 0}, {"seconds": 0}, {"seconds": 300}])
        evaluator.gather("BATCH", 2)
        print("two are done", flush=True)
        evaluator.gather()
print("swallowed")
"""
SCRIPT = """
"$0" search.py > said & search=$!
until grep -q done said; do :; done
kill -TERM $search
wait $search
echo exit code $?
"""
Path("search.py").write_text(SEARCH)
subprocess.run(["sh", "-c", SCRIPT, sys.executable], timeout=50, check=True)
with JournalStorage("store") as storage:
    records = storage.results()
print("jobs that run:", sum(record.status.name == "RUNNING" for record in records), flush=True)
print("finished ones are kept:", [record.objective for record in records[:2]] == [1.0, 1.0])
