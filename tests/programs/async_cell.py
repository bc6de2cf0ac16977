"""A cell of a notebook, whose event loop runs, uses an asynchronous run-function on `serial`: it works, and it closes.

Prints:

    [0.0, 1.0, 2.0]
    closed
"""

import asyncio

from evalpool import Evaluator


async def run(job):
    await asyncio.sleep(0.01)
    return float(job["x"])


async def cell():
    with Evaluator.create(run, method="serial", method_kwargs={"num_workers": 3}) as evaluator:
        evaluator.submit([{"x": x} for x in range(3)])
        print(sorted(job.objective for job in evaluator.gather()))
    print("closed")


asyncio.run(cell())
