"""Jobs of the command print, `--json` is JSON all the same; `--resume` takes another function only if it is forced.

Prints:

    evaluated 3, best 3
    another function: exit 2, named: True
    with --force: exit 0
    jobs in the store: 6
"""

import json
import subprocess
from pathlib import Path

FUNCTIONS = """
def train(job):
    print("epoch 1: loss 0.25")
    return job["x"]

def other(job):
    return -job["x"]
"""


def command(*arguments):
    return subprocess.run(["evalpool", *arguments, "--progress", "off"], capture_output=True, text=True, timeout=50)


Path("functions.py").write_text(FUNCTIONS)
Path("first.csv").write_text("x\n1\n2\n3\n")
Path("second.csv").write_text("x\n4\n5\n6\n")
STORE = ("--storage", "sqlite:///store.db")
summary = json.loads(command("run", "functions.py:train", "--configs", "first.csv", *STORE, "--json").stdout)
print(f"evaluated {summary['evaluated']}, best {summary['best']['objective']}")
OTHER = ("run", "functions.py:other", "--configs", "second.csv", *STORE, "--resume")
refused = command(*OTHER)
print(f"another function: exit {refused.returncode}, named:", "functions.py:other" in refused.stderr)
print("with --force: exit", command(*OTHER, "--force").returncode)
status = subprocess.run(["evalpool", "status", "store.db", "--json"], capture_output=True, text=True, timeout=50)
print("jobs in the store:", json.loads(status.stdout)["jobs"]["all"])
