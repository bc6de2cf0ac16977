"""The store is deleted while it is used, as by a purge of old files: that is an error which names the file.

Prints:

    StorageUnavailable
    names the file: True
"""

import os

from evalpool import Evaluator
from evalpool.errors import StorageUnavailable
from evalpool.storage import SQLiteStorage


def run(job):
    return 1.0


storage = SQLiteStorage("results.db")
evaluator = Evaluator.create(run, "thread", {"storage": storage})
evaluator.submit([{"x": 0}])
evaluator.gather()
for name in os.listdir():
    if name.startswith("results.db"):
        os.remove(name)
try:
    evaluator.submit([{"x": 1}])
except StorageUnavailable as error:
    print(type(error).__name__)
    print("names the file:", "results.db was deleted" in str(error))
evaluator.close()
try:
    storage.close()
except StorageUnavailable:
    pass
