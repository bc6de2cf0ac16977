"""Pickles by value what the receiver cannot import: cloudpickle, with tokens for definitions of the script.

cloudpickle sends by value the classes and functions of `__main__`, of modules that were registered for it, and local
ones. Each of its pickles would make them again, or change the class that the receiver has. Here each class, and each
function of the script, is wrapped so that the receiver makes it only once; see `evalpool.worker._script`.
"""

from __future__ import annotations

import enum
import functools
import io
import marshal
import sys
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import cloudpickle

from evalpool._text import described
from evalpool.worker._enums import is_member, member, reduce_enum
from evalpool.worker._same import CACHED, definition
from evalpool.worker._script import (
    Table,
    at_its_place,
    cached,
    came_from_elsewhere,
    dispatching,
    fill,
    find,
    home_of,
    instance,
    make,
    pickled_so_far,
    register_all,
    set_attributes,
    token_of,
)

__all__ = ["dumps", "tables"]

_DEFINITIONS = (type, types.FunctionType, CACHED)

LARGEST = 1 << 20
"""The most bytes in the pickle of a definition that the run-function does not name. A larger one contains data and is
left out."""


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, file: Any, buffer_callback: Any = None, back: bool = False, alone: str | None = None) -> None:
        super().__init__(file, 5, buffer_callback)
        self._back, self._alone = back, alone  # what is written out, with its parts; others are looked up

    def reducer_override(self, obj: Any) -> Any:
        if not isinstance(obj, _DEFINITIONS):
            if isinstance(obj, types.CodeType):  # cloudpickle forgets its file, which tracebacks name
                return marshal.loads, (marshal.dumps(obj),)
            if type(obj) is functools.cached_property:  # before Python 3.12 it holds a lock
                facts = {name: value for name, value in vars(obj).items() if name != "lock"}
                return functools.cached_property, (obj.func,), facts
            if is_member(obj):
                return member, (type(obj), obj._name_)
            return NotImplemented
        if self._back and came_from_elsewhere(obj):
            return find, (token_of(obj), home_of(obj), obj.__qualname__)
        if isinstance(obj, CACHED):
            reduced = _reduce_cached(obj)
        elif getattr(obj, "__code__", None) is _DISPATCH:
            reduced = _reduce_dispatcher(obj)
        else:
            reduced = super().reducer_override(obj)
        if not isinstance(reduced, tuple) or len(reduced) != 6:  # found by import, or built in
            return reduced
        placed = at_its_place(obj)
        if not placed and not isinstance(obj, type):
            return reduced
        token, module = token_of(obj), home_of(obj)
        if placed and self._alone not in (None, obj.__qualname__.partition(".")[0]):
            return find, (token, module, obj.__qualname__)
        maker, args, state, _, _, setter = reduced
        if isinstance(obj, enum.EnumMeta):
            maker, args, state, setter = reduce_enum(obj, args[5], state, setter) or (maker, args, state, setter)
        elif isinstance(obj, type) and _has_slots(obj):
            # cloudpickle sets them when the class is there, which is too late: instances would have a `__dict__`.
            args = *args[:3], {**args[3], "__slots__": vars(obj)["__slots__"]}, *args[4:]
        name = obj.__qualname__
        same = definition(obj) if placed and (isinstance(obj, type) or "." not in name) else ""
        return make, (token, module, name, placed, same, maker, args, self._back), (setter, state), None, None, fill


def _has_slots(cls: type) -> bool:
    """Whether the body of this class defines its slots. An enum has none, and `NamedTuple` sets them itself."""
    if "__slots__" not in vars(cls) or isinstance(cls, enum.EnumMeta):
        return False
    return NamedTuple not in vars(cls).get("__orig_bases__", ())


def _reduce_cached(function: Any) -> Any:
    """Reduce a cached function, which pickles only by name by default; each process has its own cache."""
    if home_of(function) not in ("__main__", *cloudpickle.list_registry_pickle_by_value()):
        return NotImplemented
    options = function.cache_parameters()
    args = function.__wrapped__, options["maxsize"], options["typed"]
    return cached, args, vars(function), None, None, set_attributes


_generic: Any = functools.singledispatch(len)
_DISPATCH = _generic.__code__
"""The code of every function that `functools.singledispatch` makes; such a function has weak references, which cannot
be pickled."""


def _reduce_dispatcher(function: Any) -> Any:
    """Reduce a generic function of the script, with all its registered implementations, and an empty cache."""
    if home_of(function) not in ("__main__", *cloudpickle.list_registry_pickle_by_value()):
        return NotImplemented
    own = {name: value for name, value in vars(function).items() if name not in _OF_DISPATCHERS}
    state = dict(function.registry), {**own, "__name__": function.__name__, "__doc__": function.__doc__}
    return dispatching, (function.__module__, function.__qualname__), state, None, None, register_all


_OF_DISPATCHERS = frozenset(vars(_generic))


def dumps(value: Any, buffer_callback: Callable[[Any], Any] | None = None, back: bool = False) -> bytes:
    """Pickle `value` by value as far as needed.

    Args:
        value: any object. Raises whatever its own code raises.
        buffer_callback: as in `pickle.dumps`, protocol 5.
        back: whether the receiver is the process that sent this process its task.
    """
    _know_a_spawned_script()
    with io.BytesIO() as file:
        _Pickler(file, buffer_callback, back).dump(value)
        return file.getvalue()


def tables() -> dict[str, Table]:
    """Return the definitions of the script, and of modules that are sent by value, by name, for lookups in a worker."""
    _know_a_spawned_script()
    found = pickled_so_far()
    for module in ("__main__", *cloudpickle.list_registry_pickle_by_value()):
        there = sys.modules.get(module)
        if module != "__mp_main__" and there is not None:
            found[module] = {**found.get(module, {}), **_table(there)}
    return found


def _table(module: Any) -> Table:
    table: Table = {}
    for name, value in list(vars(module).items()):
        if isinstance(value, _DEFINITIONS):
            if value.__qualname__ == name and at_its_place(value):
                table[name] = _alone(value, name)
        elif _pickles_by_name(value, name):
            table[name] = _alone(_Named(value), "")
    return table


class _Named:
    """An object that pickles by its name, by value."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __reduce__(self) -> tuple[Any, ...]:
        return instance, (type(self._value), vars(self._value))


def _pickles_by_name(value: Any, name: str) -> bool:
    if type(value).__module__ not in ("__main__", "__mp_main__", "typing") or not hasattr(value, "__dict__"):
        return False  # typing is included because of `NewType`
    try:
        return bool(value.__reduce_ex__(5) == name)
    except Exception:  # noqa: BLE001  it cannot be pickled, and an attempt to do so will report that
        return False


class _Full(Exception):
    """More than `LARGEST`."""


class _Limited(io.BytesIO):
    def write(self, data: Any) -> int:
        if self.tell() + memoryview(data).nbytes > LARGEST:
            raise _Full(f"what it refers to has more than {LARGEST} bytes; name it in the run-function")
        return super().write(data)


def _alone(value: Any, name: str) -> bytes | str:
    """Return the pickle of one definition; it refers to the script's other definitions by name."""
    file = _Limited()
    try:
        _Pickler(file, alone=name).dump(value)
    except Exception as error:  # noqa: BLE001  any object's own code may raise anything
        return described(error)
    return file.getvalue()


def _know_a_spawned_script() -> None:
    """In a process that `multiprocessing` spawned, the script is `__mp_main__`, which other processes cannot import."""
    script = sys.modules.get("__mp_main__")
    if script is not None and script.__name__ == "__mp_main__":
        cloudpickle.register_pickle_by_value(script)
