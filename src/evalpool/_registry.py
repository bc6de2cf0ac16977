"""What other packages may add by an entry point, beside evalpool's own: found by name, imported when first asked for.

One rule for backends and storages, and for each later group: evalpool's own names win, an unknown name is an
error that lists the known ones, a name that two entry points give is refused, and what an entry point names must be of
the group's class.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from evalpool._lazy import BASES, BUILT_IN
from evalpool._log import get_logger
from evalpool._text import described
from evalpool.errors import BadArgument, MissingExtra, UnknownMethod

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["Registry"]

logger = get_logger()

ClassT = TypeVar("ClassT", bound=type)


class Registry(Mapping[str, ClassT]):
    """Name -> class. Looking one up imports its module; listing the names imports nothing.

    Args:
        room: whose plural names the group of entry points, ``evalpool.<room>``: ``name = package.module:Class``.
        what: one of them, in a message: ``"evaluator method"``.
        base: gives the class of which each must be a subclass; called at a look-up.
        makers: plural of another group, whose classes each make one of the group's: by a class method of this name.
            Classes of the group's own may have it, too.
    """

    def __init__(self, room: str, what: str, base: Callable[[], ClassT], makers: tuple[str, str] | None = None) -> None:
        self.group = f"evalpool.{room}"
        self._makers = None if makers is None else f"evalpool.{makers[0]}"
        self._make = "" if makers is None else makers[1]
        self._what = what
        self._base = base
        self._overruled: set[str] = set()

    def _points(self) -> dict[str, list[EntryPoint]]:
        """The entry points of other packages, by name; more than one where two have the same."""
        from importlib.metadata import entry_points

        found: dict[str, list[EntryPoint]] = {}
        for group in filter(None, (self._makers, self.group)):
            for point in entry_points(group=group):
                if point.name not in BUILT_IN[self.group]:
                    found.setdefault(point.name, []).append(point)
                elif (place := _place(point)) not in self._overruled:
                    self._overruled.add(place)
                    text = "%s counts for nothing: %r is an %s of evalpool's own. Its author may give it another name."
                    logger.warning(text, place, point.name, self._what)
        return found

    def __getitem__(self, name: str) -> ClassT:
        target = BUILT_IN[self.group].get(name) if isinstance(name, str) else None
        if target is not None:
            cls: ClassT = _attribute(target)
            return cls
        points = self._points()
        if name not in points:
            known = ", ".join(sorted({*points, *BUILT_IN[self.group]}))
            raise UnknownMethod(f"There is no {self._what} {name!r}; known are {known}.")
        point, *others = points[name]
        if others:
            given = " and by ".join(map(_place, points[name]))
            raise BadArgument(f"The {self._what} {name!r} is given by {given} and so by none. Uninstall all but one.")
        return self._class_of(point)

    def _class_of(self, point: EntryPoint) -> ClassT:
        try:
            cls: Any = point.load()
        except AttributeError as error:
            raise BadArgument(f"{_place(point)} names what is not there: {error}.") from error
        except Exception as error:
            raise MissingExtra(
                f"{_place(point)} cannot be imported ({described(error)}). Install what it needs, install "
                "the distribution again, or uninstall it."
            ) from error
        own = point.group == self.group
        base: Any = self._base() if own else _attribute(BASES[point.group])
        if isinstance(cls, type):
            make = getattr(cls, self._make, None) if self._make else None
            if make is not None and (own or issubclass(cls, base)):
                return make()  # type: ignore[no-any-return]
            if own and issubclass(cls, base):
                return cls  # type: ignore[return-value]
        raise BadArgument(f"{_place(point)} is no subclass of {base.__name__}.")

    def __contains__(self, name: object) -> bool:
        return name in BUILT_IN[self.group] or name in self._points()

    def __iter__(self) -> Iterator[str]:
        return iter({**self._points(), **BUILT_IN[self.group]})

    def __len__(self) -> int:
        return len({**self._points(), **BUILT_IN[self.group]})

    def __repr__(self) -> str:
        return f"<Registry of {', '.join(sorted(self))}>"


def _attribute(target: str) -> Any:
    """What ``module:attribute`` names."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _place(point: EntryPoint) -> str:
    """An entry point, as its owner finds it."""
    of = "" if point.dist is None else f" of the distribution {point.dist.name} {point.dist.version}"
    return f"{point.value}, the entry point {point.name!r} in {point.group}{of},"
