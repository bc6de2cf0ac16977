"""Public names that are imported when first used (PEP 562).

A worker process needs only a few small modules of evalpool, and neither pydantic nor numpy. A user who does not use Ray
must not wait for its import. So no `__init__` imports anything. The idea is that of `scientific-python/lazy-loader`;
thirty lines are enough here.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["BASES", "BUILT_IN", "REEXPORTED", "attach"]

REEXPORTED: dict[str, dict[str, str]] = {}
"""Room -> public names that it offers although a room above it defines them, in the form for `attach`.

The package's root fills it, since it may import from every room; so no room imports from above."""
BUILT_IN: dict[str, dict[str, str]] = {}
"""Group of entry points -> name -> ``module:attribute`` of evalpool's own; filled by the root, read by `_registry`."""
BASES: dict[str, str] = {}
"""Group of entry points -> ``module:class``, of which each must be a subclass; where that lies above who reads them."""


def attach(package: str, names: dict[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__, __dir__, __all__`` for the `__init__` of `package`.

    Args:
        package: the ``__name__`` of the calling module.
        names: public name -> module that defines it, relative to `package` (``"_job"``) or absolute
            (``"evalpool.errors"``). A name mapped to ``""`` is a submodule of its own.
    """
    names = {**names, **REEXPORTED.get(package, {})}

    def __getattr__(name: str) -> Any:
        try:
            module = names[name]
        except KeyError:
            raise AttributeError(f"module {package!r} has no attribute {name!r}") from None
        if module == "":
            return importlib.import_module(f"{package}.{name}")
        home = importlib.import_module(module if module.startswith("evalpool.") else f"{package}.{module}")
        value = getattr(home, name)
        setattr(sys.modules[package], name, value)  # the next look-up costs a plain attribute
        return value

    def __dir__() -> list[str]:
        return sorted(names)

    return __getattr__, __dir__, sorted(names)
