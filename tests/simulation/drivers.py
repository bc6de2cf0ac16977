"""How the faces call the kernel, reduced to what a test needs: the order of calls, and results that arrive late."""

from __future__ import annotations

import random
from collections.abc import Callable

from evalpool.jobs._options import NO_OPTIONS, JobOptions
from evalpool.simulation._kernel import ASK, BEGIN, NOTHING, RETRIED, WAIT, Kernel

from .oracle import Planned, Rules

Arrivals = random.Random


def new_kernel(rules: Rules) -> Kernel:
    def limit(value: float) -> float | None:
        return None if value == float("inf") else value

    return Kernel(
        rules.workers,
        sampling=rules.sampling,
        tell=rules.tell,
        continual_max_fidel=rules.max_fidelity,
        failure_runtime=rules.failure_runtime,
        job_timeout=limit(rules.job_timeout),
        max_evals=limit(rules.max_evals),  # type: ignore[arg-type]
        max_submits=limit(rules.max_submits),  # type: ignore[arg-type]
        max_time=limit(rules.max_time),
    )


class Late:
    """Real results that arrive in any order, and only when they are waited for."""

    def __init__(self, arrivals: Arrivals, eager: float) -> None:
        self.waiting: list[tuple[int, Planned]] = []
        self._arrivals = arrivals
        self._eager = eager

    def run(self, kernel: Kernel, job: int, plan: Planned) -> None:
        self.waiting.append((job, plan))
        while self.waiting and self._arrivals.random() < self._eager:
            self.deliver(kernel)

    def deliver(self, kernel: Kernel) -> None:
        assert self.waiting, "the kernel waits for a result, but every one was delivered"
        job, plan = self.waiting.pop(self._arrivals.randrange(len(self.waiting)))
        again = plan.then is not None
        kernel.finish(job, plan.runtime, failed=plan.failed or again, retry=again, seed=job)


class Queue:
    """The order of calls of an evaluator: start what can be started after every submission and every event."""

    def __init__(self, kernel: Kernel, late: Late) -> None:
        self.kernel = kernel
        self.plans: list[Planned] = []
        self._late = late

    def pump(self) -> None:
        while (job := self.kernel.startable()) != NOTHING:
            if job == WAIT:
                self._late.deliver(self.kernel)
                continue
            self.kernel.start()
            self._late.run(self.kernel, job, self.plans[job])

    def submit(self, plans: list[Planned]) -> None:
        for plan in plans:
            options = JobOptions(priority=plan.priority) if plan.priority else NO_OPTIONS
            job = self.kernel.submit(plan.key, plan.fidelity, options, plan.alone)
            assert job == len(self.plans)
            self.plans.append(plan)
        self.pump()

    def gather(self, at_least: int) -> list[int]:
        taken: list[int] = []
        while True:
            until = float("inf") if len(taken) < at_least else self.kernel.clock
            answer = self.kernel.step(until)
            if answer >= 0:
                taken.append(answer)
            elif answer == WAIT:
                self._late.deliver(self.kernel)
            elif answer == NOTHING:
                return taken
            else:
                self.again(answer)
            self.pump()

    def again(self, answer: int) -> None:
        """A job is run again, by the plan of its next attempt."""
        assert answer == RETRIED
        then = self.plans[self.kernel.marked].then
        assert then is not None
        self.plans[self.kernel.marked] = then

    def advance(self, seconds: float) -> list[int]:
        target, taken = self.kernel.clock + seconds, []
        while (answer := self.kernel.step(target)) != NOTHING:
            if answer == WAIT:
                self._late.deliver(self.kernel)
            elif answer >= 0:
                taken.append(answer)
            else:
                self.again(answer)
            self.pump()
        self.kernel.advance(target)
        return taken


def search(
    kernel: Kernel,
    plans: list[Planned],
    overheads: list[float],
    late: Late,
    each: Callable[[Kernel], Kernel] = lambda k: k,
) -> tuple[Kernel, list[int]]:
    """The order of calls of an ask-and-tell loop; `each` may replace the kernel between two calls."""
    told: list[int] = []
    while True:
        kernel = each(kernel)
        answer = kernel.poll()
        if answer >= 0:
            told.append(answer)
        elif answer == ASK:
            number = kernel.num_submitted
            plan = plans[number]
            job = kernel.ask(overheads[number], plan.key, plan.fidelity)
            assert job == number
            if not kernel.begins_later:
                late.run(kernel, job, plan)
        elif answer == BEGIN:
            late.run(kernel, kernel.marked, plans[kernel.marked])
        elif answer == WAIT:
            late.deliver(kernel)
        else:
            assert answer == NOTHING
            return kernel, told
