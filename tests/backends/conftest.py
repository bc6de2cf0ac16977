"""Engines are told to do what breaks them by the programs of `tests/faults`."""

from faults.conftest import make, program  # noqa: F401  fixtures
