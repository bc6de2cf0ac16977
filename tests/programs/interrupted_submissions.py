"""Ctrl-C at any moment of `submit`: its jobs are taken and run, or nobody has ever heard of them.

Prints:

    unknown to the evaluator: 0
    without end: 0
    later resumed: 0
"""

import os
import random
import signal
import threading

from evalpool import Evaluator
from evalpool.callbacks import CSVLoggerCallback
from evalpool.storage import JournalStorage

over = threading.Event()


def interrupt():
    moments = random.Random(2)
    for _ in range(60):
        over.wait(moments.uniform(0.002, 0.02))
        os.kill(os.getpid(), signal.SIGINT)
    over.set()


def undisturbed(call):
    """Call again what an interrupt broke off; `submit` and `gather` can be."""
    while True:
        try:
            return call()
        except KeyboardInterrupt:
            pass


gathered = []


def search(evaluator):
    while not over.is_set():
        evaluator.submit([{"x": 1}, {"x": 2}])
        gathered.extend(evaluator.gather())


storage = JournalStorage("store")
options = {"storage": storage, "num_workers": 2, "callbacks": [CSVLoggerCallback("table.csv")]}
evaluator = Evaluator.create(lambda job: 1.0, "thread", options)
thread = threading.Thread(target=interrupt)
thread.start()
undisturbed(lambda: search(evaluator))
undisturbed(thread.join)
evaluator.gather()
records = storage.results()
print("unknown to the evaluator:", len(records) - evaluator.num_jobs_submitted)
print("without end:", sum(record.status.name != "DONE" for record in records))
evaluator.close()
with Evaluator.create(lambda job: 1.0, "thread", {"storage": storage, "search_id": "latest"}) as later:
    print("later resumed:", later.resume())
storage.close()
