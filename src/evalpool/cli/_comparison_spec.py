"""Reads the file that says what is compared: TOML, or JSON with the same names."""

from __future__ import annotations

import importlib
import json
import os
from typing import Any

from evalpool.errors import BadArgument, MissingExtra

__all__ = ["NAMES", "read_spec"]

NAMES = ("searches", "benchmarks", "workers", "seeds", "budget", "max_time", "overhead")
"""What a file may say: the arguments of `evalpool.benchmarks.compare` with these names."""
NEEDED = ("searches", "benchmarks")


def read_spec(path: str) -> dict[str, Any]:
    """Return the arguments of `compare` that a file gives; their values are checked there.

    Raises:
        BadArgument: there is no such file, it is not TOML or JSON, or it has an unknown name or lacks a needed one.
        MissingExtra: it is TOML, and this is Python 3.10 without the package tomli.
    """
    kind = os.path.splitext(path)[1].lower()
    if kind not in (".toml", ".json"):
        raise BadArgument(f"the file is {path!r}; give one that ends with .toml or .json.")
    if not os.path.isfile(path):
        raise BadArgument(f"there is no file {path!r}.")
    with open(path, "rb") as file:
        data = file.read()
    try:
        text = data.decode("utf-8")
        spec = json.loads(text) if kind == ".json" else _toml().loads(text)
    except ValueError as error:  # also that of tomllib, and of bytes that are no text
        raise BadArgument(f"{path!r} cannot be read as {kind[1:].upper()}: {error}.") from error
    if not isinstance(spec, dict):
        raise BadArgument(f"{path!r} holds {type(spec).__name__}; give an object with {', '.join(NAMES)}.")
    if unknown := [name for name in spec if name not in NAMES]:
        raise BadArgument(f"{path!r} has {', '.join(map(repr, unknown))}; known are {', '.join(NAMES)}.")
    if missing := [name for name in NEEDED if name not in spec]:
        raise BadArgument(f"{path!r} lacks {', '.join(missing)}.")
    return spec


def _toml() -> Any:
    """The reader of TOML that comes with Python 3.11, or the package that it was made from."""
    for name in ("tomllib", "tomli"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise MissingExtra("Python 3.10 does not read TOML: pip install tomli, or give the same as a .json file.")
