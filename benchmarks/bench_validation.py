"""Whether simulated time shows what a search would have done: the published validation, against runs that really sleep.

    python benchmarks/bench_validation.py [--quick]

The problem is the multi-fidelity Hartmann function in six dimensions with four fidelities (K. Kandasamy et al., arXiv
1703.06240, as used by S. Watanabe et al., arXiv 2403.01888): a hundred evaluations, proposed by random search with
random fidelities, on 4 and 8 workers, without and with noise. An evaluation takes up to a hundred seconds. For the runs
that sleep, a virtual second is a few milliseconds; their times are scaled back before they are compared.

Sleeping runs: threads and processes of this machine, all seeds of one setting at the same time, because they use hardly
any CPU. Simulated runs: the decorator (`simulated`), `simulate`, and the wrapper (`ObjectiveFuncWrapper`, called from
threads), which must agree exactly. The times of a sleeping run include what the machine adds, a fraction of a
millisecond per job and more if it is busy, so ends that are closer than that may come in another order.

Then Optuna's TPE, whose proposals depend on the order in which it is told: there one swap changes all that follows. The
three simulated interfaces are compared with each other under a declared overhead, and with a sleeping run.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from _tables import heading

from evalpool import (
    Evaluator,
    OptunaOptimizer,
    ProcessPoolEvaluator,
    RandomSearch,
    SerialEvaluator,
    ThreadPoolEvaluator,
    simulate,
    simulated,
)
from evalpool.simulation import ObjectiveFuncWrapper, get_multiple_wrappers

LONGEST = 100.0
"""Virtual seconds of an evaluation at full fidelity."""

WEIGHTS = (1.0, 1.2, 3.0, 3.2)
SHARPNESS = (
    (10.0, 3.0, 17.0, 3.5, 1.7, 8.0),
    (0.05, 10.0, 17.0, 0.1, 8.0, 14.0),
    (3.0, 3.5, 1.7, 10.0, 17.0, 8.0),
    (17.0, 8.0, 0.05, 10.0, 0.1, 14.0),
)
CENTRES = (
    (0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886),
    (0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991),
    (0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650),
    (0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381),
)
BIAS, NOISE = 0.1, math.sqrt(0.05)
SPACE: dict[str, Any] = {
    **{f"x{d}": (0.0, 1.0) for d in range(6)},
    **{f"z{d}": (11, 100) for d in range(4)},
}


class Completion(NamedTuple):
    """An evaluation as a search was told of it; the end in virtual seconds."""

    end: float
    loss: float


class Hartmann:
    """The problem, as a run-function and as an objective of the wrapper. It can be pickled.

    Args:
        noisy: adds noise to the loss; it derives from the configuration, so that it is the same in every run.
        seconds: to sleep per virtual second.
        overhead: virtual seconds that are added to each runtime.
    """

    def __init__(self, noisy: bool, seconds: float = 0.0, overhead: float = 0.0) -> None:
        self.noisy, self.seconds, self.overhead = noisy, seconds, overhead

    def loss(self, c: Any) -> float:
        total = 0.0
        for k in range(4):
            distance = sum(SHARPNESS[k][d] * (c[f"x{d}"] - CENTRES[k][d]) ** 2 for d in range(6))
            total -= (WEIGHTS[k] - BIAS * (1 - c[f"z{k}"] / 100)) * math.exp(-distance)
        if self.noisy:
            total += NOISE * random.Random(repr(sorted(c.items()))).gauss(0.0, 1.0)
        return total

    def runtime(self, c: Any) -> float:
        z = [c[f"z{k}"] / 100 for k in range(4)]
        seconds = LONGEST * (0.1 + 0.9 * (z[0] + z[2] + z[1] ** 2 + z[3] ** 3) / 4)
        return round(seconds * 1024) / 1024  # a fraction whose sums are exact, so that equal means equal

    def __call__(self, job: Any) -> dict[str, float]:
        runtime = self.runtime(job)
        if self.seconds:
            time.sleep(runtime * self.seconds)
        return {"objective": -self.loss(dict(job)), "runtime": runtime + self.overhead}

    def objective(self, eval_config: Any, fidels: Any = None, seed: Any = None) -> dict[str, float]:
        return {"loss": self.loss(eval_config), "runtime": self.runtime(eval_config)}


# The ways to run a search. Each takes an optimiser, and gives the completions in the order in which it was told.


def search(evaluator: Evaluator, optimizer: Any, workers: int, count: int, overhead: float = 0.0) -> list[Any]:
    """Keep the workers busy until so many jobs are told; an overhead is declared as the search's time to think."""
    told: list[Any] = []
    out = 0
    while len(told) < count:
        for job in evaluator.gather("BATCH", 1, timeout=0 if out < workers else None):
            optimizer.tell(job)
            told.append(job)
            out -= 1
        if len(told) < count:
            configuration = optimizer.ask()
            if overhead:
                evaluator.advance(overhead)  # type: ignore[attr-defined]
            evaluator.submit([configuration])
            out += 1
    return told[:count]


def by_sleeping(
    cls: type[Evaluator],
    optimizer: Any,
    problem: Hartmann,
    workers: int,
    count: int,
    together: threading.Barrier | None = None,
) -> list[Completion]:
    with cls(problem, num_workers=workers) as evaluator:
        # Processes are started by the first job of each, which is not what is compared.
        started: set[Any] = set()
        while len(started) < workers:
            evaluator.submit([dict.fromkeys(SPACE, 50)] * workers)
            started |= {job.worker for job in evaluator.gather("ALL")}
        if together is not None:
            together.wait()
        jobs = search(evaluator, optimizer, workers, count)
        evaluator.gather("ALL")  # a thread that sleeps cannot be stopped
    begin = min(job.metadata["timestamp_submit"] for job in jobs)
    return [Completion((job.metadata["timestamp_end"] - begin) / problem.seconds, -job.objective) for job in jobs]


def by_decorator(
    optimizer: Any, problem: Hartmann, workers: int, count: int, overhead: float = 0.0
) -> list[Completion]:
    with simulated(SerialEvaluator)(problem, num_workers=workers) as evaluator:
        jobs = search(evaluator, optimizer, workers, count, overhead)
    return [Completion(job.metadata["virtual_end"], -job.objective) for job in jobs]


def by_simulate(
    optimizer: Any, problem: Hartmann, workers: int, count: int, overhead: Any = "none", sampling: Any = "serial"
) -> list[Completion]:
    result = simulate(optimizer, problem, num_workers=workers, max_evals=count, overhead=overhead, sampling=sampling)
    ends = [row["end"] for row in result.completions]
    return [Completion(end, -objective) for end, objective in zip(ends, result.objectives, strict=True)]


def by_wrapper(optimizer: Any, problem: Hartmann, workers: int, count: int, overhead: float = 0.0) -> list[Completion]:
    """The optimiser has threads of its own, one a worker, which share its state behind a lock."""
    lock = threading.Lock()
    with tempfile.TemporaryDirectory() as directory:
        wrappers = get_multiple_wrappers(
            problem.objective,
            n_workers=workers,
            n_evals=count,
            n_actual_evals_in_opt=count + workers,
            tmp_dir=directory,
            overhead=lambda worker, call: overhead,
        )
        first = [optimizer.ask() for _ in wrappers]  # in the order of the workers, not of their threads' starts

        def work(wrapper: ObjectiveFuncWrapper, configuration: dict[str, Any]) -> None:
            while (loss := wrapper(configuration)["loss"]) < 1 << 30:
                with lock:
                    optimizer.tell(told_of(configuration, -loss))
                    configuration = optimizer.ask()

        with ThreadPoolExecutor(workers) as threads:
            for ended in [threads.submit(work, *pair) for pair in zip(wrappers, first, strict=True)]:
                ended.result()
        results = wrappers[0].get_results()
        for wrapper in wrappers:
            wrapper.close()
    return [Completion(*pair) for pair in zip(results["cumtime"], results["loss"], strict=True)]


def told_of(configuration: dict[str, Any], objective: float) -> Any:
    """A job as an optimiser's `tell` takes one."""
    from evalpool import Job, JobStatus, Outcome

    job: Job[Any] = Job(None, None, "wrapper", 0, configuration, "hpo", 0.0)
    job._outcome, job._status = Outcome(JobStatus.DONE, objective), JobStatus.DONE
    return job


def random_search(seed: int) -> Any:
    return RandomSearch(SPACE, seed=seed)


def tpe(seed: int) -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return OptunaOptimizer(optuna.samplers.TPESampler(seed=seed), SPACE)


# What is compared.


class Agreement(NamedTuple):
    """Of simulated runs with sleeping ones of the same seeds."""

    time_error: float
    makespan_error: float
    order: float
    identical: int

    @classmethod
    def of(cls, simulated_runs: list[list[Completion]], sleeping: list[list[Completion]]) -> Agreement:
        pairs = list(zip(simulated_runs, sleeping, strict=True))
        times = [abs(b.end - a.end) / a.end for one, other in pairs for a, b in zip(one, other, strict=True)]
        makespans = [abs(other[-1].end - one[-1].end) / one[-1].end for one, other in pairs]
        order = [a.loss == b.loss for one, other in pairs for a, b in zip(one, other, strict=True)]
        identical = sum(losses(one) == losses(other) for one, other in pairs)
        return cls(statistics.mean(times), statistics.mean(makespans), statistics.mean(order), identical)


def losses(run: list[Completion]) -> list[float]:
    return [completion.loss for completion in run]


FACES: dict[str, Callable[[Any, Hartmann, int, int], list[Completion]]] = {
    "decorator": by_decorator,
    "simulate": by_simulate,
    "wrapper": by_wrapper,
}


def random_searches(seeds: list[int], count: int, seconds: float) -> None:
    print(heading(f"Random search, {count} evaluations, {len(seeds)} seeds"))
    print(
        "| sleeping | workers | noise | slept | error of ends | of makespan | same order | same losses | "
        "speed-up at full size: decorator | simulate | wrapper |\n|---|---|---|---|---|---|---|---|---|---|---|"
    )
    by_simulate(random_search(0), Hartmann(False), 4, 10)  # imports
    for workers in (4, 8):
        for noisy in (False, True):
            runs = simulated_runs(seeds, noisy, workers, count)
            assert len({tuple(map(tuple, found)) for found, _ in runs.values()}) == 1, "the faces agree exactly"
            for name, cls in (("threads", ThreadPoolEvaluator), ("processes", ProcessPoolEvaluator)):
                problem = Hartmann(noisy, seconds * workers / 4)
                slept = beside(cls, seeds, problem, workers, count)
                full = statistics.mean(run[-1].end for run in slept)
                found = Agreement.of(runs["simulate"][0], slept)
                print(
                    f"| {name} | {workers} | {'yes' if noisy else 'no'} | {full * problem.seconds:.1f} s of "
                    f"{full:,.0f} | {found.time_error:.2%} | {found.makespan_error:.2%} | {found.order:.1%} | "
                    f"{found.identical} of {len(seeds)} | "
                    + " | ".join(f"{full / took:,.0f} x" for _, took in runs.values())
                    + " |",
                    flush=True,
                )


def simulated_runs(
    seeds: list[int], noisy: bool, workers: int, count: int
) -> dict[str, tuple[list[list[Completion]], float]]:
    """Interface -> the runs of all seeds, and the seconds that one took (median)."""
    found = {}
    for name, face in FACES.items():
        runs, took = [], []
        for seed in seeds:
            began = time.perf_counter()
            runs.append(face(random_search(seed), Hartmann(noisy), workers, count))
            took.append(time.perf_counter() - began)
        found[name] = (runs, statistics.median(took))
    return found


def beside(
    cls: type[Evaluator], seeds: list[int], problem: Hartmann, workers: int, count: int
) -> list[list[Completion]]:
    """One sleeping run for each seed, at the same time."""
    together = threading.Barrier(len(seeds), timeout=60)
    with ThreadPoolExecutor(len(seeds)) as threads:
        runs = [
            threads.submit(by_sleeping, cls, random_search(seed), problem, workers, count, together) for seed in seeds
        ]
        return [run.result() for run in runs]


def optuna_searches(seeds: list[int], count: int, seconds: float) -> None:
    workers, overhead = 4, 0.5
    print("\n" + heading(f"Optuna TPE, {count} evaluations, {len(seeds)} seeds, {workers} workers", "optuna"))
    each = serial = same = 0
    parted = []
    for seed in seeds:
        problem = Hartmann(False)
        each += faces_agree(tpe, seed, workers, count, overhead)
        serial += one_by_one_agrees(tpe, seed, workers, count, overhead)
        undisturbed = by_simulate(tpe(seed), problem, workers, count)
        sleeping = by_sleeping(ThreadPoolEvaluator, tpe(seed), Hartmann(False, seconds), workers, count)
        pairs = zip(losses(undisturbed), losses(sleeping), strict=True)
        at = next((number for number, (one, other) in enumerate(pairs) if one != other), None)
        same += at is None
        if at is not None:
            near = [completion.end for completion in undisturbed[max(0, at - 1) : at + 2]]
            parted.append((at, min(b - a for a, b in itertools.pairwise(near))))
    print(f"decorator, simulate and wrapper agree, each worker deciding for itself: {each} of {len(seeds)} seeds")
    print(f"decorator and simulate agree, one decision after the other: {serial} of {len(seeds)} seeds")
    print(f"the sequence of losses is that of the sleeping run: {same} of {len(seeds)} seeds")
    if parted:
        at, gap = (statistics.median(values) for values in zip(*parted, strict=True))
        print(WHY.format(others=len(parted), at=at + 1, gap=gap, slept=gap * seconds * 1e3))


def faces_agree(make: Callable[[int], Any], seed: int, workers: int, count: int, overhead: float) -> bool:
    """Under a declared overhead, each worker deciding for itself.

    For the decorator, which has one search, such a decision is a part of its job.
    """
    problem = Hartmann(False)
    searched = by_simulate(make(seed), problem, workers, count, overhead, "parallel")
    decorated = by_decorator(make(seed), Hartmann(False, overhead=overhead), workers, count)
    return searched == decorated == by_wrapper(make(seed), problem, workers, count, overhead)


def one_by_one_agrees(make: Callable[[int], Any], seed: int, workers: int, count: int, overhead: float) -> bool:
    """Under a declared overhead, one search that decides for one worker after the other."""
    problem = Hartmann(False)
    searched = by_simulate(make(seed), problem, workers, count, overhead)
    return searched == by_decorator(make(seed), problem, workers, count, overhead)


WHY = """
The other {others} part at evaluation {at:.0f} (median), where two ends lie {gap:.1f} virtual seconds apart (median),
{slept:.1f} ms of the sleeping run. There the search's own time counts, some milliseconds a proposal, of which the
simulated run was told nothing, and the machine's timers and its other work add theirs. So ends pass each other, or a
result comes after a decision instead of before. TPE's next proposal is then another one, and with it all that follow:
another draw of the same search, not a wrong one. Up to there the sequences are equal. Under a declared overhead there
is nothing to pass, and all faces agree."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    seeds = list(range(2 if quick else 10))
    count = 40 if quick else 100
    random_searches(seeds, count, seconds=1 / 250 if quick else 1 / 200)
    try:
        import optuna  # noqa: F401
    except ImportError:
        print("\nOptuna is not installed: pip install -r benchmarks/requirements.txt")
        return
    optuna_searches(seeds, count, seconds=1 / 500)


if __name__ == "__main__":
    main()
