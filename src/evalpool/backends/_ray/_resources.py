"""What one worker needs, and how many of them a cluster holds."""

from __future__ import annotations

import math
from typing import Any

from evalpool._checks import is_real
from evalpool.errors import BadArgument

__all__ = ["Needs"]


class Needs:
    """The resources that one worker, and so each job, has to itself.

    Args:
        cpus, gpus: whole numbers or fractions.
        custom: other resources by the names they have in the cluster.

    Raises:
        BadArgument: no such amounts.
    """

    def __init__(self, cpus: Any, gpus: Any, custom: Any) -> None:
        self.cpus = _amount("num_cpus_per_task", cpus)
        self.gpus = _amount("num_gpus_per_task", gpus)
        if custom is not None and not isinstance(custom, dict):
            raise BadArgument(f'resources_per_task is {custom!r}; give a dict: resources_per_task={{"licence": 1}}.')
        self.custom = {name: _amount(f"resources_per_task[{name!r}]", value) for name, value in (custom or {}).items()}
        for name in ("CPU", "GPU"):
            if name in self.custom:
                raise BadArgument(f"resources_per_task has {name}; give num_{name.lower()}s_per_task.")
        amounts = {"CPU": self.cpus, "GPU": self.gpus, **self.custom}
        self.amounts = {name: amount for name, amount in amounts.items() if amount > 0}

    def options(self) -> dict[str, Any]:
        """As Ray takes them for an actor."""
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, "resources": self.custom or None}

    def capacity(self, nodes: list[dict[str, Any]]) -> int:
        """How many workers the nodes that live can hold, whoever else uses them."""
        if not self.amounts:
            return 0
        count = 0
        for node in nodes:
            if node["Alive"]:
                have = node["Resources"]
                # A millionth for sums of fractions: Ray counts in ten thousandths.
                fits = (have.get(name, 0.0) / amount + 1e-6 for name, amount in self.amounts.items())
                count += math.floor(min(fits))
        return count

    def check(self, nodes: list[dict[str, Any]], num_workers: int | None) -> int:
        """The number of workers: as asked, or as many as fit. Raises `BadArgument` if none ever can start."""
        if not self.amounts:
            if num_workers is None:
                raise BadArgument(
                    "A worker that needs no resources fits any number of times; give num_workers, or "
                    "num_cpus_per_task above 0."
                )
            return num_workers
        capacity = self.capacity(nodes)
        if capacity == 0:
            raise BadArgument(
                f"No node of the Ray cluster can ever hold a worker, which needs {_text(self.amounts)}; there are "
                + ("; ".join(_text(_offered(node, self.amounts)) for node in nodes if node["Alive"]) or "no nodes")
                + ". Lower what a task needs, or start Ray with more."
            )
        return capacity if num_workers is None else num_workers


def _offered(node: dict[str, Any], names: dict[str, float]) -> dict[str, float]:
    return {name: node["Resources"].get(name, 0.0) for name in names}


def _text(amounts: dict[str, float]) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in amounts.items())


def _amount(name: str, value: Any) -> float:
    if not is_real(value) or not 0 <= value < math.inf:
        raise BadArgument(f"{name} is {value!r}; give a number of 0 or more.")
    if value > 1 and value != int(value):
        raise BadArgument(f"{name} is {value!r}; above 1, Ray lends whole units only.")
    return float(value)
