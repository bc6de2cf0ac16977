"""What tests need beside evalpool: installed in continuous integration, and elsewhere missed aloud.

A test that cannot run for want of a service is skipped on a developer's machine and fails in CI. What was skipped so is
said in the last lines of the run, by service, so that nobody takes a run without a browser for the whole.
"""

from __future__ import annotations

import importlib
import os
from collections import Counter
from collections.abc import Iterable
from typing import Any, NoReturn

import pytest

__all__ = ["IN_CI", "missing", "package", "summary"]

IN_CI = os.environ.get("CI", "") not in ("", "0", "false")
_FOR_WANT_OF = "for want of "


def missing(service: str, error: BaseException) -> NoReturn:
    """Skip the test for want of a service; in CI, where it should have been installed, raise the error."""
    if IN_CI:
        raise error
    pytest.skip(f"{_FOR_WANT_OF}{service}: {error}")


def package(name: str) -> Any:
    """Import an optional package."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        missing(name, error)


def summary(skipped: Iterable[pytest.TestReport]) -> list[str]:
    """A line for each service that was missed, with the number of tests; empty if nothing was."""
    wants: Counter[str] = Counter()
    for report in skipped:
        _, _, reason = report.longrepr if isinstance(report.longrepr, tuple) else ("", 0, "")
        found = reason.removeprefix("Skipped: ")
        if found.startswith(_FOR_WANT_OF):
            wants[found.removeprefix(_FOR_WANT_OF)] += 1
    return [f"{count} tests did not run for want of {want}" for want, count in sorted(wants.items())]
