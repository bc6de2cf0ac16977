"""Classes and functions of the program's script (`__main__`), in a process that did not run it.

A worker does not run the script again: the script may have no file or no guard, and would begin a second search. Its
classes and functions are sent by value (`evalpool.worker._by_value` writes them). Here each is made only *once* per
process, however often it comes: it has a token, by which a process finds the one that it has already. So a class stays
the same class in both directions, and `isinstance` and the identity of an enum's members work.

`pickle` finds names of `__main__` there. In a process of ours `__main__` is a module without code: it has what was
sent, and makes other definitions of the script when they are looked up. In a foreign process (a pool of the user)
`__main__` keeps its names: a definition that is the same as a sent one is used instead of that, and only missing names
are added.

This module imports little, because a user waits for a worker's start.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import pickle
import sys
import types
import weakref
from collections.abc import Callable
from typing import Any

from evalpool.worker._same import PLAIN, definition
from evalpool.worker._spawned import spec_for_children

__all__ = ["Table", "adopt", "at_its_place", "home_of", "pickled_so_far", "refers_to_the_script"]

Table = dict[str, "bytes | str"]
"""By name: the pickle of a definition, or the reason why there is none."""

_tokens: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
_objects: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
_incomplete: weakref.WeakSet[Any] = weakref.WeakSet()
_received: weakref.WeakSet[Any] = weakref.WeakSet()
_to_update: weakref.WeakSet[Any] = weakref.WeakSet()
"""Classes of this process that represent the program's, and do not have their current plain values yet."""

_tables: dict[str, Table] = {}
"""By module: the definitions of the program's script, as far as this process was told."""
_ours: set[str] = set()
"""The modules that we made in this process."""


class _Script(types.ModuleType):
    """Represents a module of the program that is not run here."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        if name == "__main__":
            self.__spec__ = spec_for_children()

    def __repr__(self) -> str:  # by default that of its spec, which names another module
        return f"<module {self.__name__!r}>"

    def __getattr__(self, name: str) -> Any:
        return _give(self.__name__, name)


def adopt(tables: dict[str, Table], ours: bool) -> None:
    """Tell this process what the program's script defines.

    Args:
        tables: by module; mostly only `__main__`.
        ours: whether this process serves only evalpool, so that its `__main__` may be replaced.
    """
    for name, table in tables.items():
        if name not in sys.modules and name not in _ours and importlib.util.find_spec(name) is not None:
            continue  # the user wants it to be sent by value, but it can be imported here
        if name in _ours or (ours and name == "__main__") or name not in sys.modules:
            if name not in _ours:
                sys.modules[name] = _Script(name)
                _ours.add(name)
            _tables[name] = table  # of the newest evaluator
            if name == "__main__":
                sys.modules["__mp_main__"] = sys.modules[name]  # its name where the program itself was spawned
        else:
            _tables[name] = {**_tables.get(name, {}), **table}
            vars(sys.modules[name]).setdefault("__getattr__", functools.partial(_give, name))


def pickled_so_far() -> dict[str, Table]:
    """Return the adopted tables, for workers that this process starts itself."""
    return dict(_tables)


def refers_to_the_script(payload: bytes) -> bool:
    """Whether a plain pickle may name something that other processes cannot find. A wrong True only costs time."""
    return b"__main__" in payload or b"__mp_main__" in payload or any(name in payload for name in _by_value_names())


def _by_value_names() -> list[bytes]:
    cloudpickle = sys.modules.get("cloudpickle")
    return [] if cloudpickle is None else [name.encode() for name in cloudpickle.list_registry_pickle_by_value()]


def home_of(thing: Any) -> str:
    """Return the module of a class or function; always `__main__` for a script, however it was started."""
    name = getattr(thing, "__module__", None)
    return "__main__" if name == "__mp_main__" else name if isinstance(name, str) else ""


def _look_up(module: str, qualname: str) -> Any:
    """Return the object with this name in a module, or None."""
    found = sys.modules.get(module)
    for part in qualname.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            return None
    return found


def _standing(module: str, qualname: str) -> Any:
    """As `_look_up`, but without making objects that are made when they are looked up."""
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, "__dict__", {}).get(part)
        found = found.__func__ if isinstance(found, (staticmethod, classmethod)) else found
    return found


def at_its_place(thing: Any) -> bool:
    """Whether a class or function is found in its module by its name. Not if it is local, or was defined again."""
    return _standing(home_of(thing), thing.__qualname__) is thing


def token_of(thing: Any) -> str:
    """Return the token of a class or function, which identifies it in all processes."""
    token = _tokens.get(thing)
    if token is None:
        token = _tokens.setdefault(thing, os.urandom(16).hex())
        _objects[token] = thing
    return token


def came_from_elsewhere(thing: Any) -> bool:
    """Whether it came with this process's task or jobs; then their sender knows it by its token."""
    return thing in _received


# What pickles call.


def make(
    token: str,
    module: str,
    qualname: str,
    placed: bool,
    same: str,
    maker: Callable[..., Any],
    args: tuple[Any, ...],
    back: bool,
) -> Any:
    """Return the class or function of this token: the existing one, or a new one that `fill` will complete.

    Args:
        token: see `token_of`.
        module, qualname: where it is defined.
        placed: whether it is found there by its name.
        same: its `definition`.
        maker, args: make it, without its parts.
        back: whether a worker of this process sent it. Then who sent this process its own task does not know it.
    """
    known = _objects.get(token)
    if known is not None:
        return known
    if placed and same and module not in _ours:
        own = _standing(module, qualname)
        if own is not None and definition(own) == same:
            _remember(token, own, back)
            if isinstance(own, type) and module in _tables:
                _to_update.add(own)
            return own
    made = maker(*args)
    if isinstance(made, type):
        made.__qualname__ = qualname  # cloudpickle does not set it
    _remember(token, made, back)
    _incomplete.add(made)
    if placed:
        _place(module, qualname, made)
    return made


def fill(thing: Any, state: tuple[Callable[[Any, Any], Any], Any]) -> None:
    """Complete what `make` made; only once, so that later pickles do not change a class that is in use."""
    setter, facts = state
    if thing in _incomplete:
        setter(thing, facts)
        _incomplete.discard(thing)
    elif thing in _to_update:
        _to_update.discard(thing)
        for name, value in facts[0].items():
            if name.startswith("__"):
                continue
            if isinstance(value, PLAIN) or isinstance(vars(thing).get(name), PLAIN):  # such as a cache, None at first
                setattr(thing, name, value)


def find(token: str, module: str, qualname: str) -> Any:
    """Return an object that the sender knows to exist here."""
    known = _objects.get(token)
    if known is None:
        known = _look_up(module, qualname)
    if known is None:
        raise AttributeError(f"{module} has no {qualname} any more")
    return known


def cached(function: Any, maxsize: int | None, typed: bool) -> Any:
    """Return a function with an empty cache."""
    return functools.lru_cache(maxsize, typed)(function)


def dispatching(module: str, qualname: str) -> Any:
    """Return a generic function without registered implementations."""

    def nothing(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(qualname)

    function: Any = functools.singledispatch(nothing)
    function.__module__, function.__qualname__ = module, qualname
    return function


def register_all(function: Any, state: tuple[dict[type, Any], dict[str, Any]]) -> None:
    """Complete what `dispatching` made."""
    registered, facts = state
    for cls, implementation in registered.items():
        function.register(cls, implementation)
    vars(function).update({name: value for name, value in facts.items() if name not in ("__name__", "__doc__")})
    function.__name__, function.__doc__ = facts["__name__"], facts["__doc__"]
    function.__wrapped__ = registered[object]


def set_attributes(thing: Any, facts: dict[str, Any]) -> None:
    """Complete what `cached` made."""
    vars(thing).update(facts)


def instance(cls: type, facts: dict[str, Any]) -> Any:
    """Make an object of the script that pickles by its name."""
    made: Any = object.__new__(cls)
    vars(made).update(facts)
    return made


def _remember(token: str, thing: Any, back: bool) -> None:
    _tokens[thing] = token
    _objects[token] = thing
    if not back:
        _received.add(thing)


def _place(module: str, qualname: str, thing: Any) -> None:
    """Make an object findable for `pickle`; a nested one is found through the class around it."""
    there = sys.modules.get(module)
    if module not in _tables or there is None or "." in qualname:
        return
    if module in _ours:
        setattr(there, qualname, thing)  # replaces an older one, as when a notebook's cell is run again
    else:
        vars(there).setdefault(qualname, thing)


def _give(module: str, name: str) -> Any:
    """Make the script's definition of a name that the module lacks, and return it."""
    payload = _tables.get(module, {}).get(name)
    if not isinstance(payload, bytes):
        reason = f": it could not be sent to this process: {payload}" if payload else ""
        raise AttributeError(f"module {module!r} has no attribute {name!r}{reason}")
    try:
        thing = pickle.loads(payload)
    except BaseException:
        half = vars(sys.modules[module]).pop(name, None)  # so that the next lookup raises the same error
        if half in _incomplete:
            del _objects[_tokens.pop(half)]
        raise
    return vars(sys.modules[module]).setdefault(name, thing)
