"""The origin of a search, stored with it, so that other code continues it only with `--force`.

The value of the key `ORIGIN` of the search (`Storage.load_search_value`) is a dict: ``function`` as the command
named it, ``path`` of its file, ``source`` (SHA-256 of that file), ``configurations`` (the path) or ``space``, with
``digest`` (SHA-256 of their values), ``search`` (how it proposes; None for a file), ``command`` and ``versions``.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import os
import platform
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evalpool._json import to_json
from evalpool._text import LONGEST_LINE
from evalpool._version import __version__
from evalpool.cli._words import clean
from evalpool.errors import BadArgument

if TYPE_CHECKING:
    from evalpool.storage import Storage

__all__ = ["ORIGIN", "check_origin", "function_of", "origin_of"]

ORIGIN = "origin"


def origin_of(arguments: argparse.Namespace, function: Callable[..., Any], values: Any) -> dict[str, Any]:
    """The origin of a search that this command line begins.

    Args:
        values: the configurations of the file, or the space.
    """
    given = arguments.configs or arguments.space
    return {
        **function_of(arguments.function, function),
        "configurations" if arguments.configs else "space": os.path.realpath(given),
        "digest": hashlib.sha256(to_json(values).encode()).hexdigest(),
        "search": arguments.search,
        "command": list(sys.argv),
        "versions": {"evalpool": __version__, "python": platform.python_version()},
    }


def function_of(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    """The part of an origin that identifies the function."""
    try:
        path = inspect.getsourcefile(inspect.unwrap(function))
    except TypeError:  # not a function, but another callable
        path = None
    source = None
    if path is not None and os.path.isfile(path):
        with open(path, "rb") as file:
            source = hashlib.sha256(file.read()).hexdigest()
    return {"function": name, "path": None if path is None else os.path.realpath(path), "source": source}


def check_origin(
    storage: Storage, search_id: str, mine: dict[str, Any], otherwise: str = "Leave --resume out to begin a new search"
) -> None:
    """Raise `BadArgument` if the search was begun with another function, space or file of configurations.

    A function is the same if its file was edited, or moved unchanged; a file of configurations, if it was
    extended, or moved unchanged; a space, if its values are the same.

    Args:
        mine: the origin of this command; only its function if the command names no configurations.
        otherwise: what else the user may do, for the message.
    """
    try:
        theirs = storage.load_search_value(search_id, ORIGIN)
    except KeyError:
        try:  # begun by an earlier version, which kept the name only
            theirs = {"function": storage.load_search_value(search_id, "run_function")}
        except KeyError:
            return
    if not isinstance(theirs, dict):
        return  # no version of evalpool wrote this
    if "digest" not in mine:
        mine = {**theirs, **mine}
    for what, same in (
        ("function", _same_function(theirs, mine)),
        ("configurations", _same(theirs, mine, "configurations") or theirs.get("digest") == mine.get("digest")),
        ("space", "space" not in theirs or "space" not in mine or theirs.get("digest") == mine.get("digest")),
    ):
        if not same:
            raise BadArgument(
                f"search {search_id} was begun with {_named(theirs, what)}, and this command has "
                f"{_named(mine, what)}: one search would have results of both. {otherwise}, or continue "
                "nevertheless with --force."
            )


def _named(origin: dict[str, Any], what: str) -> str:
    """What the search was given: `what`, or a space instead of a file, or a file instead of a space."""
    other = {"configurations": "space", "space": "configurations"}.get(what, what)
    name = what if origin.get(what) is not None else other
    return f"{_WORDS[name]} {clean(str(origin.get(name)), LONGEST_LINE)}"


_WORDS = {"function": "the function", "configurations": "the configurations of", "space": "the space of"}


def _same_function(theirs: dict[str, Any], mine: dict[str, Any]) -> bool:
    names = [str(origin.get("function")).rpartition(":")[2] for origin in (theirs, mine)]
    if names[0] != names[1]:
        return False
    if theirs.get("path") is None:
        return bool(theirs.get("function") == mine["function"]) or "path" not in theirs
    return theirs["path"] == mine["path"] or (theirs.get("source") is not None and theirs["source"] == mine["source"])


def _same(theirs: dict[str, Any], mine: dict[str, Any], key: str) -> bool:
    return "digest" not in theirs or theirs.get(key) == mine.get(key)
