"""What the benchmarks share: pairs in alternation, ratios with spread, a table with machine, versions and load."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["alternate", "heading", "row", "used_by_others"]

Measure = Callable[[], float]

QUIET = 0.15
"""CPUs that other programs may use: with more, rows say so, since then a rate goes by how the system shares CPUs."""
LISTEN = 0.2
"""Seconds for which the use of the CPUs by others is measured, before each round of pairs."""
_used: list[float] = []  # CPUs that others used, before each round of the last `alternate`


def alternate(measures: dict[str, Measure], repeats: int) -> dict[str, list[float]]:
    """Run all measures in turn, `repeats` times: a machine that slows down slows them all."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    _used.clear()
    for _ in range(repeats):
        _used.append(used_by_others())
        for name, measure in measures.items():
            found[name].append(measure())
    return found


def used_by_others(seconds: float = LISTEN) -> float:
    """How many CPUs other programs use while this one sleeps for some seconds; 0.0 where the system does not say."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0

    def busy() -> float:
        user, nice, system, _idle, _wait, *rest = map(int, stat.read_text().split("\n", 1)[0].split()[1:9])
        return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")

    before, start = busy(), time.perf_counter()
    time.sleep(seconds)
    return max(0.0, busy() - before) / (time.perf_counter() - start)


def _note() -> str:
    """What a row says of other programs, for its first column; empty on a quiet machine."""
    used = statistics.median(_used) if _used else 0.0
    return f" (others used {used:.1f} of {os.cpu_count()} CPUs)" if used > QUIET else ""


def row(name: str, values: list[float], peers: list[float], budget: float | None, unit: str = "jobs/s") -> str:
    """A line of a table: median, ratio to the peer pair by pair with its spread, and the budget."""
    ratios = sorted(a / b for a, b in zip(values, peers, strict=True))
    asked = "" if budget is None else f"{budget:g} x"
    return (
        f"| {name}{_note()} | {statistics.median(values):,.0f} {unit} | {statistics.median(peers):,.0f} | "
        f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} - {ratios[-1]:.2f}) | {asked} |"
    )


def heading(title: str, *packages: str) -> str:
    """The heading of a table: what was measured, where and when."""
    versions = []
    for package in packages:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{package} is not installed")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return (
        f"## {title}\n\n{datetime.date.today().isoformat()}, {platform.machine()}, {os.cpu_count()} CPUs, load "
        f"{load:.1f}, Python {platform.python_version()}" + "".join(f", {version}" for version in versions) + "\n"
    )
