"""Objects of other packages that cannot be pickled: handles of C++ code, sessions, classes of loaded files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Remade"]


class Remade:
    """Holds an object, and goes to a worker as the call that makes it: the worker makes its own.

    Args:
        make: a function that can be imported.
        arguments, options: what it is called with, which can be pickled.

    Attributes:
        made: what `make` returned in this process.
    """

    def __init__(self, make: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        self._recipe = (make, arguments, options)
        self.made = make(*arguments, **options)

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, self._recipe


def _again(make: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> Remade:
    return Remade(make, *arguments, **options)
