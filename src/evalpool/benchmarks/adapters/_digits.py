"""evalpool's own table: a neural network on scikit-learn's images of digits, 360 configurations at 1 to 27 epochs.

``examples/digits_table/make.py`` made it, on one core.
"""

from __future__ import annotations

from pathlib import Path

from evalpool.benchmarks._benchmark import Benchmark
from evalpool.benchmarks._suites import Suite

__all__ = ["DigitsSuite"]


class DigitsSuite(Suite):
    """``load("digits")``: the share of wrongly classified images, and seconds of training from scratch."""

    def problems(self) -> list[str]:
        """Return its one problem."""
        return ["error"]

    def load(self, problem: str, curve: bool = False) -> Benchmark:
        """Return the benchmark.

        Args:
            problem: its one problem.
            curve: whether jobs record the results at lower epochs as their learning curve.
        """
        return Benchmark.from_table(
            Path(__file__).with_name("digits.csv"),
            name="digits",
            objectives="error",
            maximize=False,
            runtime="seconds",
            fidelity="epochs",
            curve=curve,
        )
