"""What the benchmarks share: pairs in alternation, ratios with spread, a table with machine and versions."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import statistics
from collections.abc import Callable

__all__ = ["alternate", "heading", "row"]

Measure = Callable[[], float]


def alternate(measures: dict[str, Measure], repeats: int) -> dict[str, list[float]]:
    """Run all measures in turn, `repeats` times: a machine that slows down slows them all."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(repeats):
        for name, measure in measures.items():
            found[name].append(measure())
    return found


def row(name: str, values: list[float], peers: list[float], budget: float | None, unit: str = "jobs/s") -> str:
    """A line of a table: median, ratio to the peer pair by pair with its spread, and the budget."""
    ratios = sorted(a / b for a, b in zip(values, peers, strict=True))
    asked = "" if budget is None else f"{budget:g} x"
    return (
        f"| {name} | {statistics.median(values):,.0f} {unit} | {statistics.median(peers):,.0f} | "
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
