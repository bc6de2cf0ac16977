"""A store that somebody else wrote has nonsense in it: each command reads it, or refuses it in one line.

Prints:

    counter: no harm
    last event: no harm
    terminal escapes: no harm
    surrogate: no harm
"""

import json
import shutil
import sqlite3
import subprocess
import sys

from evalpool import Evaluator
from evalpool.storage import SQLiteStorage

ESCAPES = "\x1b]0;owned\x07\x1b[2J"
ADD = "INSERT INTO events(kind, search_id, number, data) VALUES (?, ?, ?, ?)"


def counter(store):
    store.execute("UPDATE counters SET next = 'abc' WHERE search_id = '0'")


def last_event(store):
    store.execute("UPDATE events SET id = 9223372036854775807 WHERE id = (SELECT max(id) FROM events)")


def terminal_escapes(store):
    store.execute(ADD, ("search", ESCAPES, None, json.dumps({"start": 1.0, "schema": 1})))
    store.execute(ADD, ("created", ESCAPES, 0, json.dumps({"args": {ESCAPES: ESCAPES}})))


def surrogate(store):
    store.execute(ADD, ("created", "0", 5, json.dumps({"args": {"x": "caf\udce9"}})))
    store.execute(ADD, ("finished", "0", 5, json.dumps({"status": "DONE", "objective": 1.0})))


CASES = {
    "counter": counter,
    "last event": last_event,
    "terminal escapes": terminal_escapes,
    "surrogate": surrogate,
}
COMMANDS = [
    ["status", "bad.db"],
    ["export", "bad.db", "-o", "table.csv"],
    ["retry", "bad.db", "--failed", "--function", "f.py:run", "--progress", "off"],
]


def run(job):
    return float(job["x"])


def harm(name, command):
    """What is wrong with the answer of a command; empty if nothing is."""
    shutil.copy("good.db", "bad.db")
    store = sqlite3.connect("bad.db")
    CASES[name](store)
    store.commit()
    store.close()
    done = subprocess.run([sys.executable, "-m", "evalpool", *command], capture_output=True, timeout=30)
    told = done.stdout + done.stderr
    wrong = [what for what in ("Traceback", "\x1b") if what.encode() in told]
    if done.returncode not in (0, 1, 2):
        wrong.append(f"exit code {done.returncode}")
    if done.returncode and len(done.stderr.strip().splitlines()) != 1:
        wrong.append("not one line")
    return f"{command[0]}: {wrong} {told.decode(errors='replace')[-700:]!r}" if wrong else ""


if __name__ == "__main__":
    with SQLiteStorage("good.db") as storage, Evaluator.create(run, "thread", {"storage": storage}) as evaluator:
        evaluator.submit([{"x": 1}, {"x": "no number"}])
        evaluator.gather()
    with open("f.py", "w") as file:
        file.write("def run(job):\n    return 1.0\n")
    for name in CASES:
        print(f"{name}:", "; ".join(filter(None, (harm(name, command) for command in COMMANDS))) or "no harm")
