"""A decorator's hook raises once: the job that it was asked for fails with the reason, and the others run.

Prints:

    [('F_worker_died', True), (1.0, False), (1.0, False)]
    outstanding: 0
"""

from evalpool import ThreadPoolEvaluator


class Licensed(ThreadPoolEvaluator):
    asked = 0

    def _acquire(self, job):
        self.asked += 1
        if self.asked == 1:
            raise ConnectionError("the licence server is away")
        return {}


with Licensed(lambda job: 1.0, num_workers=1) as evaluator:
    evaluator.submit([{"x": x} for x in range(3)])
    jobs = sorted(evaluator.gather("ALL", timeout=30), key=lambda job: job.number)
    print([(job.objective, "licence server" in (job.error or "")) for job in jobs])
    print("outstanding:", evaluator.num_jobs_submitted - evaluator.num_jobs_gathered)
