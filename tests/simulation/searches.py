"""Optimisers for the tests of `simulate`: they propose what was planned, and write down when and what they are told."""

from __future__ import annotations

from typing import Any

from .oracle import Planned


class Listed:
    """Proposes the plans in line, in a form of `ask`, and is told results."""

    def __init__(self, plans: list[Planned], form: str = "fidels") -> None:
        self.plans = plans
        self.form = form
        self.asked = 0
        self.told: list[tuple[Any, ...]] = []
        self.known: list[int] = []  # how many were told before each proposal

    def ask(self) -> Any:
        number, plan = self.asked, self.plans[self.asked]
        self.asked += 1
        self.known.append(len(self.told))
        if plan.key is None:
            return {"n": number}
        if self.form == "dict":
            return {"key": plan.key, "epochs": plan.fidelity}
        return {"key": plan.key}, {"epochs": plan.fidelity}

    def tell(self, eval_config: Any, results: Any, *, fidels: Any, config_id: Any) -> None:
        self.told.append((eval_config, results, fidels, config_id))


class Table:
    """The run-function of plans: the n-th call of a search evaluates plan n. Pickled, it goes by the job's number."""

    def __init__(self, plans: list[Planned]) -> None:
        self.plans = plans

    def __call__(self, job: Any) -> Any:
        number = int(job.id.rpartition(".")[2])
        plan = self.plans[number]
        objective: Any = "F_planned" if plan.failed else float(number)
        metadata = {"seed": job.seed}
        if plan.runtime is None:
            return {"objective": objective, "metadata": metadata}
        return {"objective": objective, "metadata": {**metadata, "runtime": plan.runtime}}


def runs(plans: list[Planned], **settings: Any) -> tuple[Any, Listed]:
    """Simulate a search that proposes these plans; the result and the optimiser."""
    from evalpool import simulate

    optimizer = Listed(plans, settings.pop("form", "fidels"))
    return simulate(optimizer, Table(plans), seed=1, **settings), optimizer
