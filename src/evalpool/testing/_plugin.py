"""Registers the marks of the contract suites with pytest, for those who bind them; loaded by pytest's entry point."""

from __future__ import annotations

from typing import Any

MARKS = (
    "slow: takes longer than a quarter of a second",
    "leaves_threads: the test abandons a thread on purpose",
)


def pytest_configure(config: Any) -> None:
    """Hook of pytest."""
    for mark in MARKS:
        config.addinivalue_line("markers", mark)
