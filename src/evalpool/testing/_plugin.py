"""Registers the marks of the contract suites with pytest. Pytest loads it by an entry point."""

from __future__ import annotations

from typing import Any

MARKS = (
    "slow: takes longer than a quarter of a second",
    "leaves_threads: the test abandons a thread on purpose",
)


def pytest_configure(config: Any) -> None:
    """Register the marks; a hook of pytest."""
    for mark in MARKS:
        config.addinivalue_line("markers", mark)
