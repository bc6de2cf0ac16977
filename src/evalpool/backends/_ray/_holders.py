"""Why a cluster starts no worker: what a worker needs, what the cluster has, and what uses it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from typing import Any

from evalpool.backends._ray._resources import Needs, as_text

__all__ = ["describe"]


def describe(ray: Any, needs: Needs, ours: Iterable[tuple[str, int, set[int], Needs]]) -> str:
    """Return what a user needs to know so that workers can start.

    Args:
        ray: the module, connected.
        needs: of each worker.
        ours: the evaluators of this program that have workers: name, number of workers, their pids, needs of each.
    """
    ours = list(ours)
    total, free = ray.cluster_resources(), ray.available_resources()
    there = {name: total.get(name, 0.0) for name in needs.amounts}
    left = {name: free.get(name, 0.0) for name in needs.amounts}
    text = f"A worker needs {needs.text()}; the cluster has {as_text(there)}, and {as_text(left)} of that are free. "
    if needs.capacity(ray.nodes()) == 0:
        return text + "No node of the cluster is large enough: start one that is, or lower what a task needs."
    if needs.fits(left):
        return text + "So workers are starting; a large runtime_env or slow imports take time."
    holders = [f"{count} workers of {name}, {each.text()} each" for name, count, _, each in ours]
    holders += _other_actors(set().union(*(pids for _, _, pids, _ in ours)))
    held = (
        f"In use by: {'; '.join(holders)}. "
        if holders
        else "No actor uses the rest: Ray tasks or placement groups do, or Ray has kept it after an actor was killed "
        "while it started (then start Ray again). "
    )
    return text + held + "End what is not needed, lower num_workers or what a task needs elsewhere, or add nodes."


def _other_actors(known: set[int]) -> list[str]:
    """Return the living actors that belong to no evaluator of this program: how many of each class, and whose."""
    # Ray's public list of actors needs its dashboard, which small clusters do not have.
    from ray._private import state

    jobs: Any = state.jobs  # it has no type annotations
    drivers = {job["JobID"]: f"process {job['DriverPid']} on {job['DriverIPAddress']}" for job in jobs()}
    counts: Counter[tuple[str, str]] = Counter()
    for actor in state.actors(actor_state_name="ALIVE").values():
        if actor["Pid"] not in known:
            name = actor["ActorClassName"].rpartition(".")[2]
            counts[name, drivers.get(actor["JobID"], f"job {actor['JobID']}")] += 1
    here = f"process {os.getpid()} on "
    return [
        f"{count} {'actors' if count > 1 else 'actor'} {name} of {'this program' if whose.startswith(here) else whose}"
        + (", starting" if name == "EvalpoolWorker" and whose.startswith(here) else "")
        for (name, whose), count in counts.items()
    ]
