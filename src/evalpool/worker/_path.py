"""`sys.path` as the program's own imports understood it, for processes that start elsewhere or later.

A relative entry means the directory that it named when Python first looked there: the import system keeps the finder
that it made then. The empty entry means the current directory at each import. So after a `chdir` neither means in a
fresh process what it meant in the program, and workers are given absolute directories.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from types import ModuleType

__all__ = ["boot_text", "extend_path", "understood_path"]


def understood_path() -> list[str]:
    """`sys.path` with absolute entries, in its order.

    Entries that are no text (`pathlib.Path`, bytes) are left out: imports ignore them. So are texts that no
    directory can be named by.
    """
    found: list[str] = []
    for entry in list(sys.path):
        if not isinstance(entry, str) or not _can_be_a_name(entry):
            continue
        if entry:
            finder = sys.path_importer_cache.get(entry)
            looked_at = getattr(finder, "path", None)
            found.append(looked_at if isinstance(looked_at, str) and os.path.isabs(looked_at) else _absolute(entry))
        else:
            found.append(entry)
    if "" in found:
        at = found.index("")
        here = _absolute("")
        before = _imported_from({here, *found})
        found[at : at + 1] = [*before, here]
        found = [entry for entry in found if entry]  # a second empty entry means nothing more
    return found


def extend_path(entries: Iterable[str], first: bool) -> None:
    """Let this process import also from another one's path, as far as its entries are here.

    Args:
        entries: of the other's `understood_path`.
        first: they come before this process's own, which it started with; else behind.
    """
    own = list(sys.path)
    known = set(own) if not first else set()
    theirs = [entry for entry in entries if entry not in known and os.path.exists(entry)]
    if first:
        sys.path[:] = theirs + [entry for entry in own if entry not in set(theirs)]
    else:
        sys.path.extend(theirs)


def boot_text(entries: Iterable[str]) -> str:
    """The entries as a text that can be an environment variable, whatever characters directories are named with.

    NUL is the one character that no directory's name has; `bytes.fromhex(text).decode("utf-8", "surrogatepass")`
    split at it gives the entries back, without an import.
    """
    return "\0".join(entries).encode("utf-8", "surrogatepass").hex()


def _can_be_a_name(entry: str) -> bool:
    try:
        return b"\0" not in os.fsencode(entry)
    except UnicodeEncodeError:
        return False


def _absolute(entry: str) -> str:
    try:
        return os.path.abspath(entry)
    except OSError:  # the current directory was removed: nothing can be imported from it
        return entry or os.sep


def _imported_from(known: set[str]) -> list[str]:
    """Former current directories from which modules were imported, by the modules that are loaded."""
    found: dict[str, None] = {}
    for name, module in list(sys.modules.items()):
        if "." in name or not isinstance(module, ModuleType):
            continue
        spec = getattr(module, "__spec__", None)
        if spec is None or spec.name != name:
            continue
        if spec.submodule_search_locations is not None:
            files = list(spec.submodule_search_locations)
        else:
            files = [spec.origin] if spec.has_location and spec.origin else []
        for file in files:
            directory = os.path.dirname(file)
            # The import system has looked there by this name, so it was an entry, or the current directory.
            if directory not in known and directory in sys.path_importer_cache:
                found[directory] = None
    return list(found)
