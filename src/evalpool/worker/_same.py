"""Decides whether a class or function from another process is the same as the one in this process.

A process of a pool that ran the script itself, or was forked from the program, has the script's classes already. They
are the same as the program's if they have the same code at the same lines. For a function, the plain values of the
globals that it uses must be the same, too. If it uses other global objects, it never counts as the same: the program
may have changed those after the definition.
"""

from __future__ import annotations

import enum
import functools
import types
import weakref
from typing import Any

try:
    from _blake2 import blake2b  # what `hashlib` has, without loading OpenSSL in each worker
except ImportError:
    from hashlib import blake2b

__all__ = ["CACHED", "PLAIN", "definition"]

CACHED = functools._lru_cache_wrapper
"""The type of functions with `functools.lru_cache` or `cache`."""

PLAIN = (int, float, complex, str, bytes, bool, type(None))
_NO_PART = frozenset(
    ["__dict__", "__weakref__", "__doc__", "__module__", "_abc_impl", "__annotations_cache__", "__slotnames__"]
)  # the last is set when an instance is pickled or copied


def definition(thing: Any) -> str:
    """Return a digest of the definition, which is the same in every process; empty if it cannot be known."""
    known = _of_classes.get(thing) if isinstance(thing, type) else None
    if known is not None:
        return known
    try:
        facts = _class(thing) if isinstance(thing, type) else _function(thing, {thing})
    except _Unknown:
        return ""
    digest = blake2b(repr(facts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    if isinstance(thing, type):  # what a function uses may change
        _of_classes[thing] = digest
    return digest


_of_classes: weakref.WeakKeyDictionary[type, str] = weakref.WeakKeyDictionary()


class _Unknown(Exception):
    """The definition depends on something that cannot be compared."""


def _class(cls: type) -> Any:
    if issubclass(cls, enum.Enum):
        parts: Any = [(name, _value(member._value_)) for name, member in cls.__members__.items()]
        methods = [(name, _attribute(value)) for name, value in vars(cls).items() if _code_of(value)]
        return "enum", cls.__qualname__, parts, sorted(methods)
    names = sorted(name for name, value in vars(cls).items() if name not in _NO_PART and not _may_change(name, value))
    bases = [(base.__module__.replace("__mp_main__", "__main__"), base.__qualname__) for base in cls.__bases__]
    return "class", cls.__qualname__, bases, [(name, _attribute(vars(cls)[name])) for name in names]


def _may_change(name: str, value: Any) -> bool:
    """Whether an attribute is a value, such as a counter or a cache, in contrast to a method or another descriptor."""
    return not name.startswith("__") and not hasattr(type(value), "__get__")


def _attribute(value: Any) -> Any:
    code = _code_of(value)
    return _code(code) if code is not None else _value(value)


def _code_of(value: Any) -> types.CodeType | None:
    if isinstance(value, property):
        value = value.fget
    value = getattr(value, "__func__", value)
    return value.__code__ if isinstance(value, types.FunctionType) else None


def _value(value: Any) -> Any:
    return repr(value) if isinstance(value, PLAIN) else type(value).__qualname__


def _code(code: types.CodeType) -> Any:
    constants = [
        _code(each) if isinstance(each, types.CodeType) else sorted(map(repr, each)) if isinstance(each, frozenset)
        else repr(each)
        for each in code.co_consts
    ]  # fmt: skip
    return code.co_name, code.co_firstlineno, code.co_code, code.co_names, code.co_varnames, constants


def _names(code: types.CodeType) -> set[str]:
    inner = [each for each in code.co_consts if isinstance(each, types.CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _function(function: Any, seen: set[Any]) -> Any:
    if isinstance(function, CACHED):
        function = function.__wrapped__
    if not isinstance(function, types.FunctionType):
        raise _Unknown
    try:
        used = [("", _used(cell.cell_contents, seen)) for cell in function.__closure__ or ()]  # what a decorator wraps
    except ValueError as error:  # a cell is still empty
        raise _Unknown from error
    for name in sorted(_names(function.__code__)):
        if name in function.__globals__:
            used.append((name, _used(function.__globals__[name], seen)))
    defaults = [_plain(each) for each in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).items())]
    return "function", function.__qualname__, _code(function.__code__), defaults, used


def _used(value: Any, seen: set[Any]) -> Any:
    if isinstance(value, types.ModuleType):
        return value.__name__
    if isinstance(value, type):
        return value.__qualname__
    if isinstance(value, CACHED):
        value = value.__wrapped__
    if isinstance(value, types.FunctionType):
        if value.__module__ not in ("__main__", "__mp_main__"):
            return value.__module__, value.__qualname__
        if value in seen:
            return value.__qualname__
        seen.add(value)
        return _function(value, seen)
    if isinstance(value, types.BuiltinFunctionType):
        return value.__qualname__
    return _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if not isinstance(value, PLAIN):
        raise _Unknown
    return repr(value)
