"""What other packages may add by an entry point, beside evalpool's own: found by name, imported when first asked for.

One rule for backends and storages, and for each later group: evalpool's own names win, an unknown name is an
error that lists the known ones, and what an entry point names must be of the group's class.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from evalpool._lazy import BUILT_IN
from evalpool.errors import BadArgument, UnknownMethod

__all__ = ["Registry"]

ClassT = TypeVar("ClassT", bound=type)


class Registry(Mapping[str, ClassT]):
    """Name -> class. Looking one up imports its module; listing the names imports nothing.

    Args:
        room: whose plural names the group of entry points, ``evalpool.<room>``: ``name = package.module:Class``.
        what: one of them, in a message: ``"evaluator method"``.
        base: gives the class of which each must be a subclass; called at a look-up.
        makers: plural of another group, whose classes each make one of the group's: by a class method of this name.
    """

    def __init__(self, room: str, what: str, base: Callable[[], ClassT], makers: tuple[str, str] | None = None) -> None:
        self.group = f"evalpool.{room}"
        self._makers = None if makers is None else f"evalpool.{makers[0]}"
        self._make = "" if makers is None else makers[1]
        self._what = what
        self._base = base

    def _targets(self) -> dict[str, str]:
        from importlib.metadata import entry_points

        makers = () if self._makers is None else entry_points(group=self._makers)
        found = {point.name: point.value for point in (*makers, *entry_points(group=self.group))}
        return {**found, **BUILT_IN[self.group]}

    def __getitem__(self, name: str) -> ClassT:
        target = BUILT_IN[self.group].get(name) if isinstance(name, str) else None
        if target is None:
            targets = self._targets()
            if name not in targets:
                raise UnknownMethod(f"There is no {self._what} {name!r}; known are {', '.join(sorted(targets))}.")
            target = targets[name]
        module, _, attribute = target.partition(":")
        cls: ClassT = getattr(importlib.import_module(module), attribute)
        make = getattr(cls, self._make, None) if self._make else None
        if make is not None:
            return make()  # type: ignore[no-any-return]
        base = self._base()
        if not (isinstance(cls, type) and issubclass(cls, base)):
            raise BadArgument(f"The entry point {name!r} names {target}, which is no subclass of {base.__name__}.")
        return cls

    def __contains__(self, name: object) -> bool:
        return name in BUILT_IN[self.group] or name in self._targets()

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets())

    def __len__(self) -> int:
        return len(self._targets())

    def __repr__(self) -> str:
        return f"<Registry of {', '.join(sorted(self))}>"
