"""Programs that use evaluators directly: outputs, lists, callbacks, storages, queues, profiles, classes of their own.

    python evaluators.py (deephyper | evalpool.compat.deephyper)

Prints the same with both.
"""

import asyncio
import importlib
import sys
import time

root = sys.argv[1]
room = importlib.import_module(f"{root}.evaluator")
callback = importlib.import_module(f"{root}.evaluator.callback")
storages = importlib.import_module(f"{root}.evaluator.storage")
Evaluator, JobStatus, HPOJob = room.Evaluator, room.JobStatus, room.HPOJob


def run(job, y=0):
    return job["x"] + y


async def arun(job, y=0):
    await asyncio.sleep(0)
    return job.parameters["x"] + y


@room.profile
def profiled(job):
    return {"objective": job["x"], "metadata": {"number": job["job_id"]}}


@room.profile(memory=True, register=False)
def measured(job):
    return {"y": job["x"]}


def lent(job, dequed):
    return dequed


def until_told(job):
    if job["x"] == 0:
        return 0
    while job.status is JobStatus.RUNNING:
        time.sleep(0.01)
    return {"objective": 7, "metadata": {"seen": job.status.name}}


def values(job):
    return [2, {"y": 1}, None, "hello", (1, 2), [3.5]][job["x"]]


class Noting(callback.Callback):
    def __init__(self):
        self.heard = []

    def on_launch(self, job):
        self.heard.append(("launch", job.id, job.status.name))

    def on_done(self, job):
        self.heard.append(("done", job.id, job.status.name, job.output, sorted(job.metadata)))

    def on_done_other(self, job):
        self.heard.append(("other", job.id, job.output, job.args))

    def on_gather(self, local_jobs, other_jobs):
        self.heard.append(("gather", len(local_jobs), len(other_jobs)))

    def on_close(self):
        self.heard.append("close")


def in_order(jobs):
    return sorted(jobs, key=lambda job: int(job.id.split(".")[1]))


def outputs(function, method, xs=(1, 2, 3), **kwargs):
    evaluator = Evaluator.create(function, method=method, method_kwargs=kwargs)
    evaluator.submit([{"x": x} for x in xs])
    jobs = in_order(evaluator.gather("ALL"))
    evaluator.close()
    return [(type(job).__name__, job.id, job.args, job.output, job.status.name) for job in jobs]


class Mine(Evaluator):
    async def execute(self, job):
        async with self.sem:
            job.status = JobStatus.RUNNING
            running = job.create_running_job(self._stopper)
            output = await self.loop.run_in_executor(
                None, lambda: job.run_function(running, **self.run_function_kwargs)
            )
        return self._update_job_when_done(job, output)


if __name__ == "__main__":
    for method in ("thread", "process", "loky"):
        print(method, outputs(values, method, range(6)))
        print(method, outputs(run, method, num_workers=2, run_function_kwargs={"y": 10}))
    print(outputs(arun, "serial", num_workers=2))
    print([status.value for status in JobStatus], list(room.EVALUATORS))

    noting = Noting()
    evaluator = room.ThreadPoolEvaluator(run, 1, [noting], {"y": 1})
    evaluator.submit(args_list=[{"x": 1}])
    print(evaluator.to_json(), evaluator.num_jobs_submitted)
    print([job.output for job in evaluator.gather("ALL")], len(evaluator.jobs))
    evaluator.run_function_kwargs["y"] = 5
    evaluator.submit([{"x": 1}])
    print([job.output for job in evaluator.gather("BATCH", 1)], evaluator.num_jobs_gathered)
    print(evaluator.close())
    evaluator.submit([{"x": 2}])
    print([job.output for job in evaluator.gather("ALL")], evaluator.job_id_gathered)
    evaluator.close()
    print(*noting.heard, sep="\n")

    storage = storages.MemoryStorage()
    print(storage.is_connected(), storage.connect() is storage, storage.is_connected())
    noting = Noting()
    one = Evaluator.create(arun, "serial", {"storage": storage})
    two = Evaluator.create(arun, "serial", {"storage": storage, "search_id": one._search_id, "callbacks": [noting]})
    one._job_class = two._job_class = HPOJob
    one.submit([{"x": 4}])
    one.gather("ALL")
    two.submit([{"x": 5}])
    pair = two.gather("ALL")
    print([[(job.id, job.objective, tuple(job)) for job in jobs] for jobs in pair])
    print(*noting.heard, sep="\n")
    record = storage.load_job("0.0")
    print(record["status"], record["in"], record["out"], sorted(record["metadata"]), list(storage.load_search("0")))
    job = storage.create_new_job("0")
    storage.store_job_in(job, args=(1, 2), kwargs={"k": 3})
    storage.store_job_status(job_id=job, job_status=3)
    storage.store_job(job, "mine", 9)
    print(storage.load_job(job), storage.load_job_status(job))
    one.close()
    two.close()

    evaluator = Evaluator.create(profiled, "thread")
    evaluator._job_class = HPOJob
    evaluator.submit([{"x": 4}])
    (job,) = evaluator.gather("ALL")
    print(job.output, list(job.metadata), job.metadata["number"])
    evaluator.close()
    evaluator = Evaluator.create(measured, "thread")
    evaluator.submit([{"x": 4}])
    (job,) = evaluator.gather("ALL")
    print(job.output, sorted(job.metadata), job.metadata["memory"] > 0)
    evaluator.close()

    queue = room.queued(room.ThreadPoolEvaluator)(lent, 1, queue=[7, 8, 9], queue_pop_per_task=2)
    print(type(queue).__name__, list(queue.queue), queue.queue_pop_per_task)
    for x in range(2):
        queue.submit([{"x": x}])
        (job,) = queue.gather("ALL")
        print(job.output, job.metadata["dequed"])
    queue.close()

    evaluator = Evaluator.create(until_told, "thread")
    evaluator._job_class = HPOJob
    evaluator.timeout = 0.5
    evaluator.submit([{"x": 1}])
    (job,) = evaluator.gather("ALL")
    print(job.status.name, job.objective, job.metadata["seen"], evaluator.time_left <= 0)
    evaluator.close()

    evaluator = Evaluator.create(arun, "serial")
    evaluator.set_maximum_num_jobs_submitted(3)
    evaluator.submit([{"x": 1}])
    try:
        evaluator.submit([{"x": x} for x in (2, 3, 4, 5)])
    except room.MaximumJobsSpawnReached as error:
        print(type(error).__name__, [job.output for job in in_order(evaluator.gather("ALL"))])
    evaluator.set_maximum_num_jobs_submitted(1)
    evaluator.submit([{"x": 6}])
    print([job.output for job in evaluator.gather("ALL")], evaluator.num_jobs_submitted, evaluator.num_jobs_gathered)
    evaluator.close()

    mine = Mine(run, 2, run_function_kwargs={"y": 3})
    mine.submit([{"x": x} for x in range(3)])
    print([(job.output, job.status.name) for job in in_order(mine.gather("ALL"))][:1])
    mine.close()

    objectives = [1, 3, "F_mine", (1.0, 2.0), (2.0, 1.0), 2]
    for part in (objectives[:3], objectives[3:5]):
        stopping = callback.SearchEarlyStopping(patience=1, threshold=-5)
        evaluator = Evaluator.create(
            lambda job, part=part: part[job["x"]], "thread", {"callbacks": [callback.LoggerCallback(), stopping]}
        )
        evaluator._job_class = HPOJob
        for x in range(len(part)):
            evaluator.submit([{"x": x}])
            evaluator.gather("ALL")
        evaluator.close()
        print(stopping.search_stopped)

    evaluator = Evaluator.create(run, "thread")
    evaluator.submit([{"x": 1}])
    try:
        evaluator.gather("SOME")
    except AssertionError:
        print(evaluator.gather("BATCH", 0), [job.output for job in evaluator.gather("ALL")])
    evaluator.close()

    running = room.RunningJob(id="test", parameters={"x": 1})
    running.record(1, 0.5)
    print(running.id, running["job_id"], dict(running), running.status, running.objective, running.stopped(), running)
    byhand = HPOJob("0.0", {"x": 1}, None, running.storage)
    byhand.set_output({"objective": 3, "metadata": {"m": 1}})
    byhand.status = JobStatus.DONE
    print(byhand, byhand.objective, byhand.metadata, tuple(byhand), HPOJob.standardize_output((1, 2)))
    print(room.to_json({"x": 1, "f": run, "c": Mine}))
