"""A program written for joblib's `Parallel` and `delayed`, run by evalpool.

Twenty lines provide the calls that joblib's programs make: results come in the order of the calls, and exceptions are
raised here. evalpool adds that a call that ends its process affects no other call, that each call may have a time
limit, and that the outcome of each is known.

    python examples/from_joblib.py

Needs: pip install evalpool joblib
"""

import os
from collections.abc import Callable, Iterable
from typing import Any

import joblib
from joblib import delayed

from evalpool import Evaluator, Job, RunningJob

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
"""What `delayed(function)(...)` returns."""


def call(job: RunningJob, calls: list[Call]) -> Any:
    """The run-function. The calls went to each worker once; a job says which one it is."""
    function, args, kwargs = calls[job["call"]]
    return function(*args, **kwargs)


class Parallel:
    """Used like `joblib.Parallel`: ``Parallel(n_jobs=2)(delayed(f)(x) for x in xs)``."""

    def __init__(self, n_jobs: int = 1, method: str = "process", **settings: Any) -> None:
        self._method, self._settings = method, {"num_workers": n_jobs, "job_type": "task", **settings}

    def __call__(self, calls: Iterable[Call]) -> list[Any]:
        """The results in the order of the calls. Raises `JobError` if one of them failed."""
        return [job.output for job in self.jobs(calls, on_error="raise")]

    def jobs(self, calls: Iterable[Call], **settings: Any) -> list[Job[Any]]:
        """The job of each call, in the order of the calls."""
        known = {"calls": list(calls)}
        kwargs = {**self._settings, **settings, "run_function_kwargs": known}
        with Evaluator.create(call, self._method, kwargs) as evaluator:
            jobs = evaluator.submit([{"call": number} for number in range(len(known["calls"]))])
            evaluator.gather("ALL")
        return jobs


def area(width: float, height: float = 1.0) -> float:
    if width < 0:
        os._exit(3)  # as a library may do at an unexpected value
    return width * height


def main() -> None:
    calls = [delayed(area)(width, height=2.0) for width in range(5)]
    print("joblib:  ", joblib.Parallel(n_jobs=2)(calls))
    print("evalpool:", Parallel(n_jobs=2)(calls))

    calls[2] = delayed(area)(-1.0)
    try:
        joblib.Parallel(n_jobs=2)(calls)
    except RuntimeError as error:
        print(f"joblib, with a call that kills its process: {type(error).__name__}, and no result")
    jobs = Parallel(n_jobs=2).jobs(calls)
    print("evalpool:", [job.output if job.kind is None else job.objective for job in jobs])


if __name__ == "__main__":
    main()
