"""The volume of the objective space that a set of results dominates, and the Pareto front; larger is better.

The hypervolume of points with respect to a reference point is the volume of the region that is dominated
by at least one of the points and dominates the reference. Two objectives need one sweep, three a sweep with
a staircase, more than three the exclusive-volume recursion of WFG.

Sources: C. M. Fonseca, L. Paquete, M. Lopez-Ibanez, "An improved dimension-sweep algorithm for the
hypervolume indicator" (CEC 2006), for two and three objectives; L. While, L. Bradstreet, L. Barone, "A fast
way of calculating exact hypervolumes" (IEEE TEC 16(1), 2012), for the recursion.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from evalpool.errors import BadArgument

__all__ = ["Front", "hypervolume", "pareto_front"]

Point = tuple[float, ...]
Array = npt.NDArray[np.float64]


def hypervolume(points: npt.ArrayLike, reference: Sequence[float] | Array) -> float:
    """Return the volume between `points` and `reference`, all objectives maximised.

    O(n log n) for two objectives and, but for a memory move, for three; exponential in the number of
    objectives at worst.

    Args:
        points: float array (n, n_objectives). Points not above `reference` in every objective add nothing.
        reference: one number per objective.

    >>> hypervolume([(1, 2), (2, 1)], (0, 0))
    3.0
    """
    array = _points(points)
    ref = np.asarray(reference, dtype=float)
    if array.shape[0] == 0:
        return 0.0
    if ref.shape != (array.shape[1],):
        raise BadArgument(f"reference has shape {ref.shape}; give {array.shape[1]} numbers, one per objective.")
    shifted = array - ref
    shifted = shifted[(shifted > 0).all(axis=1)]
    return _volume([tuple(point) for point in pareto_front(shifted).tolist()])


def pareto_front(points: npt.ArrayLike) -> Array:
    """Return the distinct points that no other dominates: float array (k, n_objectives), in given order."""
    array = _points(points)
    front = Front()
    for point in array:
        front.add(point)
    return front.points


def _points(points: npt.ArrayLike) -> Array:
    array = np.asarray(points, dtype=float)
    if array.size == 0:
        return array.reshape(0, array.shape[1] if array.ndim == 2 else 1)
    if array.ndim != 2:
        raise BadArgument(f"points has shape {array.shape}; give one row per point and one column per objective.")
    return array


class Front:
    """The points of a growing set that no other dominates.

    The cost of adding depends on the size of the front, not on how many points were added before.
    """

    def __init__(self) -> None:
        self.points: Array = np.empty((0, 0))
        """float array (k, n_objectives), in order of arrival."""

    def add(self, point: Sequence[float] | Array) -> bool:
        """Add a point; False if a point of the front is at least as good in every objective."""
        new = np.asarray(point, dtype=float)
        if self.points.size == 0:
            self.points = new[np.newaxis, :].copy()
            return True
        if new.shape != self.points.shape[1:]:
            raise BadArgument(f"got {new.size} objectives where there were {self.points.shape[1]} before.")
        if (self.points >= new).all(axis=1).any():
            return False
        kept = self.points[~(self.points <= new).all(axis=1)]
        self.points = np.vstack([kept, new])
        return True


def _volume(points: list[Point]) -> float:
    """The hypervolume of distinct, mutually non-dominated points with the reference in the origin."""
    if not points:
        return 0.0
    objectives = len(points[0])
    if objectives == 1:
        return max(points)[0]
    if objectives == 2:
        return _area(points)
    if objectives == 3:
        return _volume3(points)
    return _wfg(points)


def _area(points: list[Point]) -> float:
    area = height = 0.0
    for x, y in sorted(points, reverse=True):  # from the right, each point adds what rises above the last
        if y > height:
            area += x * (y - height)
            height = y
    return area


def _volume3(points: list[Point]) -> float:
    """Sweep downwards along the third objective; between two levels the volume is area times height."""
    stairs: list[tuple[float, float]] = []  # (x, y) that no other dominates: x rises, y falls
    volume = area = 0.0
    level = 0.0
    for x, y, z in sorted(points, key=lambda point: -point[2]):
        volume += area * (level - z) if stairs else 0.0
        level = z
        at = bisect_left(stairs, (x, y))
        if at < len(stairs) and stairs[at][1] >= y:
            continue  # dominated by a point that is at least as good in all three objectives
        first = at
        while first > 0 and stairs[first - 1][1] <= y:
            first -= 1
        # The area that the new step adds, column by column over the steps that it covers and the next one.
        left = stairs[first - 1][0] if first > 0 else 0.0
        for step_x, step_y in stairs[first:at]:
            area += (step_x - left) * (y - step_y)
            left = step_x
        area += (x - left) * (y - (stairs[at][1] if at < len(stairs) else 0.0))
        stairs[first:at] = [(x, y)]
    return volume + area * level


def _wfg(points: list[Point]) -> float:
    """The sum of what each point adds to the points after it (While et al. 2012, section III)."""
    # Begin with the worst in the last objective: then the limited sets become small early.
    ordered = sorted(points, key=lambda point: point[-1])
    total = 0.0
    for i, point in enumerate(ordered):
        own = 1.0
        for value in point:
            own *= value
        limited = [tuple(map(min, point, other)) for other in ordered[i + 1 :]]
        total += own - _volume(_undominated(limited))
    return total


def _undominated(points: list[Point]) -> list[Point]:
    kept: list[Point] = []
    for point in sorted(set(points), reverse=True):  # a point is dominated by an earlier one only
        if not any(all(map(_at_least, other, point)) for other in kept):
            kept.append(point)
    return kept


def _at_least(a: float, b: float) -> bool:
    return a >= b
