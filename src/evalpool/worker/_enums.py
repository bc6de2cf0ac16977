"""Enum classes by value: their members keep their identity, values and attributes.

cloudpickle would make members again from their values, but without `__init__` and `__new__` of the class, so they would
lack what those set. Here the members are made empty together with the class, and get everything that they have in the
program once they exist, because their values may refer to the class.
"""

from __future__ import annotations

import copyreg
import enum
from collections.abc import Callable
from typing import Any

import cloudpickle.cloudpickle

__all__ = ["is_member", "member", "reduce_enum"]


def is_member(value: Any) -> bool:
    """Whether a value is a named member of an enum, in contrast to a combination of flags."""
    return isinstance(value, enum.Enum) and type(value)._member_map_.get(value._name_) is value


def member(cls: Any, name: str) -> Any:
    """Return a member. Its value might not find it: another process's value need not be equal to this one's."""
    return cls._member_map_[name]


def reduce_enum(cls: Any, tracker: str, state: Any, setter: Callable[[Any, Any], Any]) -> tuple[Any, ...] | None:
    """Return how to make and then to complete an enum: the maker, its arguments, the state, and its setter.

    None if members are of a type that says in its own way how to make its instances.

    Args:
        cls: the enum.
        tracker: identifies it for cloudpickle.
        state, setter: cloudpickle's, for what is no member.
    """
    names: dict[int, str] = {}
    plan: list[Any] = []
    for name, each in cls._member_map_.items():
        first = names.setdefault(id(each), name)
        args = _arguments(each) if first == name else ()
        if args is None:
            return None
        plan.append((name, first, args))
    members = [(name, each) for name, each in cls._member_map_.items() if names[id(each)] == name]
    slots = copyreg._slotnames(cls)  # type: ignore[attr-defined]
    facts = {name: value for name, value in state[0].items() if name not in cls._member_map_}
    facts_of_members = [
        (name, dict(vars(each)), {slot: getattr(each, slot) for slot in slots if hasattr(each, slot)})
        for name, each in members
    ]
    attributes = {name: vars(cls)[name] for name in cls._member_map_ if name in vars(cls)}
    values = [(value, names[id(each)]) for value, each in cls._value2member_map_.items() if id(each) in names]
    order = list(cls._member_names_)
    completed = facts, state[1], setter, facts_of_members, attributes, values, order
    return _make, (type(cls), cls.__name__, cls.__bases__, cls.__module__, plan, tracker), completed, _complete


def _arguments(each: Any) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Return the arguments for `__new__` of the members' data type, such as the float of an enum of floats."""
    cls: Any = type(each)
    kind = cls._member_type_
    if kind is object:
        return (), {}
    maker, args = kind.__reduce_ex__(each, 2)[:2]
    if maker is copyreg.__newobj__:  # type: ignore[attr-defined]
        return args[1:], {}
    if maker is copyreg.__newobj_ex__:  # type: ignore[attr-defined]
        return args[1], args[2]
    return (args, {}) if maker is cls else None


# What pickles call.


def _make(metaclass: Any, name: str, bases: tuple[type, ...], module: str, plan: list[Any], tracker: str) -> Any:
    """Return an enum whose members have nothing but their names and what they are as instances of their data type."""
    body = metaclass.__prepare__(name, bases)
    body["__module__"] = module
    cls: Any = metaclass.__new__(metaclass, name, bases, body)
    for each, first, arguments in plan:
        if each == first:
            args, kwargs = arguments
            made = cls._member_type_.__new__(cls, *args, **kwargs)
            vars(made)["_name_"] = each  # for its hash
            cls._member_map_[each] = made
        else:
            cls._member_map_[each] = cls._member_map_[first]
    return cloudpickle.cloudpickle._lookup_class_or_track(tracker, cls)


def _complete(cls: Any, state: tuple[Any, ...]) -> None:
    facts, slots, setter, members, attributes, values, order = state
    setter(cls, (facts, slots))
    for name, of_dict, of_slots in members:
        each = cls._member_map_[name]
        vars(each).update(of_dict)
        for slot, value in of_slots.items():
            object.__setattr__(each, slot, value)  # the type may be frozen
    for name, value in attributes.items():
        type.__setattr__(cls, name, value)  # an enum refuses to set a member
    cls._value2member_map_.update({value: cls._member_map_[name] for value, name in values})
    cls._member_names_[:] = order
