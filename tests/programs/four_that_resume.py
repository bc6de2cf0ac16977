"""A search is killed and four programs resume it at the same moment: each lost job goes to one of them.

Prints:

    sqlite: 60 jobs, run twice: 0, ended: 60
    journal: 60 jobs, run twice: 0, ended: 60
"""

import collections
import subprocess
import sys
from pathlib import Path

from evalpool.storage import storage_from_url

OWNER = """
import os, sys, time
from evalpool import Evaluator
evaluator = Evaluator.create(lambda job: time.sleep(300), "thread", {"storage": sys.argv[1]})
evaluator.submit([{"x": x} for x in range(60)])
os._exit(9)
"""
CLAIMANT = """
import sys
from evalpool import Evaluator
url, name = sys.argv[1:]

def run(job):
    with open("runs", "a") as file:
        file.write(f"{name} {job.id}\\n")
    return 1.0

with Evaluator.create(run, "thread", {"storage": url, "search_id": "latest"}) as evaluator:
    print("ready", flush=True)
    sys.stdin.readline()
    evaluator.resume()
    evaluator.gather()
"""

for url in ("sqlite:///store.db", "journal:///store"):
    runs = Path("runs")
    runs.write_text("")
    subprocess.run([sys.executable, "-c", OWNER, url], timeout=50)
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMANT, url, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in "ABCD"
    ]
    for program in programs:
        program.stdout.readline()
    for program in programs:
        program.stdin.write("go\n")
        program.stdin.flush()
    for program in programs:
        program.communicate(timeout=50)
    counts = collections.Counter(line.split()[1] for line in runs.read_text().splitlines())
    with storage_from_url(url) as storage:
        ended = [record for record in storage.results() if record.status.name == "DONE"]
    twice = sum(count > 1 for count in counts.values())
    print(f"{url.partition(':')[0]}: {len(counts)} jobs, run twice: {twice}, ended: {len(ended)}")
