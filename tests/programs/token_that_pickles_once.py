"""A value that pickles once only, as a token: its job runs, also if it is given from one worker to another.

Prints:

    gathered 7 of 7: {7.0}
    outstanding: 0
"""

import time

from evalpool import ProcessPoolEvaluator


class Token:
    """Becomes 7 in the worker."""

    taken = False

    def __reduce__(self):
        if self.taken:
            raise RuntimeError("the token was taken before")
        self.taken = True
        return int, (7,)


def run(job):
    time.sleep(job["seconds"])
    return float(job["token"])


if __name__ == "__main__":
    with ProcessPoolEvaluator(run, num_workers=2) as evaluator:
        evaluator.submit([{"seconds": 0, "token": 7}] * 2)  # short ones: from now on jobs are prefetched
        evaluator.gather("ALL")
        evaluator.submit([{"seconds": 1.0 if x == 0 else 0, "token": Token()} for x in range(7)])
        jobs = evaluator.gather("ALL", timeout=40)
        print(f"gathered {len(jobs)} of 7:", {job.objective for job in jobs})
        print("outstanding:", evaluator.num_jobs_submitted - evaluator.num_jobs_gathered)
