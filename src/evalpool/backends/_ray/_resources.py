"""The resources that a worker needs, and how many workers a cluster has room for."""

from __future__ import annotations

import math
from typing import Any

from evalpool._checks import is_real
from evalpool.errors import BadArgument

__all__ = ["Needs", "as_text"]


class Needs:
    """The resources that one worker, and so each job, has for itself.

    Args:
        cpus, gpus: whole numbers or fractions.
        custom: other resources by their names in the cluster; also ``memory``, instead of `memory`.
        memory: bytes.

    Raises:
        BadArgument: an amount is invalid.
    """

    def __init__(self, cpus: Any, gpus: Any, custom: Any, memory: Any = None) -> None:
        self.cpus = _amount("num_cpus_per_task", cpus)
        self.gpus = _amount("num_gpus_per_task", gpus)
        if custom is not None and not isinstance(custom, dict):
            raise BadArgument(f'resources_per_task is {custom!r}; give a dict: resources_per_task={{"licence": 1}}.')
        for name in custom or {}:
            if not isinstance(name, str) or name == "object_store_memory":
                raise BadArgument(f"resources_per_task has {name!r}, which Ray gives to no worker.")
        self.custom = {name: _amount(f"resources_per_task[{name!r}]", value) for name, value in (custom or {}).items()}
        for name in ("CPU", "GPU"):
            if name in self.custom:
                raise BadArgument(f"resources_per_task has {name}; give num_{name.lower()}s_per_task.")
        if memory is not None and "memory" in self.custom:
            raise BadArgument(
                f"memory_per_task is {memory!r} and resources_per_task has memory, too; give one of them."
            )
        if memory is not None:
            memory = _amount("memory_per_task", memory)
        # Ray has a separate argument for memory.
        self.memory = int(self.custom.pop("memory", memory or 0))
        amounts = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory, **self.custom}
        self.amounts = {name: amount for name, amount in amounts.items() if amount > 0}

    def options(self) -> dict[str, Any]:
        """Return the options for a Ray actor."""
        return {
            "num_cpus": self.cpus,
            "num_gpus": self.gpus,
            "memory": self.memory or None,
            "resources": self.custom or None,
        }

    def fits(self, free: dict[str, float]) -> bool:
        """Whether there is enough for one worker, if all of it is on one node."""
        return all(free.get(name, 0.0) >= amount for name, amount in self.amounts.items())

    def text(self) -> str:
        """Return the amounts as text for a user."""
        return as_text(self.amounts) or "no resources"

    def capacity(self, nodes: list[dict[str, Any]]) -> int:
        """Return how many workers the living nodes have room for, without other use."""
        if not self.amounts:
            return 0
        count = 0
        for node in nodes:
            if node["Alive"]:
                have = node["Resources"]
                # A millionth is added for rounding errors of fractions; Ray counts in ten-thousandths.
                fits = (have.get(name, 0.0) / amount + 1e-6 for name, amount in self.amounts.items())
                count += math.floor(min(fits))
        return count

    def check(self, nodes: list[dict[str, Any]], num_workers: int | None, grows: bool) -> int:
        """Return the number of workers: as asked, or as many as fit. Raises `BadArgument` if none can ever start.

        Args:
            nodes: of the cluster, as Ray lists them.
            num_workers: None for as many as fit.
            grows: whether more nodes may join.
        """
        if not self.amounts:
            if num_workers is None:
                raise BadArgument(
                    "A worker that needs no resources fits any number of times; give num_workers, or "
                    "num_cpus_per_task above 0."
                )
            return num_workers
        capacity = self.capacity(nodes)
        if capacity == 0 and not (grows and num_workers is not None):
            raise BadArgument(
                f"No node of the Ray cluster can ever hold a worker, which needs {self.text()}; there are "
                + ("; ".join(as_text(_offered(node, self.amounts)) for node in nodes if node["Alive"]) or "no nodes")
                + ". Lower what a task needs, or start Ray with more"
                + ("; or give num_workers, if the cluster starts nodes when they are asked for." if grows else ".")
            )
        return capacity if num_workers is None else num_workers


def _offered(node: dict[str, Any], names: dict[str, float]) -> dict[str, float]:
    return {name: node["Resources"].get(name, 0.0) for name in names}


def as_text(amounts: dict[str, float]) -> str:
    """Return amounts by name, in one line."""
    return ", ".join(
        f"{amount / 2**20:.1f} MiB of {name}" if name.endswith("memory") else f"{amount:g} {name}"
        for name, amount in amounts.items()
    )


def _amount(name: str, value: Any) -> float:
    if not is_real(value) or not 0 <= value < math.inf:
        raise BadArgument(f"{name} is {value!r}; give a number of 0 or more.")
    if value > 1 and value != int(value):
        raise BadArgument(f"{name} is {value!r}; above 1, Ray lends whole units only.")
    return float(value)
