"""How many CPUs this process may use."""

from __future__ import annotations

import math
import os

__all__ = ["usable_cpus"]


def usable_cpus() -> int:
    """Return how many CPUs affinity and control groups allow this process; at least 1."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        count = os.cpu_count() or 1
    return max(1, min(count, _cgroup_limit(count)))


def _cgroup_limit(count: int) -> int:
    """Return the quota of a container (cgroup v2, then v1), rounded up to whole CPUs."""
    try:
        quota, period = _text_of("/sys/fs/cgroup/cpu.max").split()[:2]
    except (OSError, ValueError):
        try:
            quota = _text_of("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").strip()
            period = _text_of("/sys/fs/cgroup/cpu/cpu.cfs_period_us").strip()
        except OSError:
            return count
    if quota in ("max", "-1"):
        return count
    return max(1, math.ceil(int(quota) / int(period)))


def _text_of(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()
