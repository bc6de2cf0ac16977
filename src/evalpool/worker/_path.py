"""`sys.path` with absolute directories, for processes that start in another directory or later.

A relative entry means the directory that it named when Python first used it, because the import system keeps its
finder. The empty entry means the current directory at each import. So after a `chdir`, neither has the same meaning in
a new process as in the program. Workers get absolute directories instead.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from types import ModuleType

__all__ = ["boot_text", "extend_path", "understood_path"]


def understood_path() -> list[str]:
    """Return `sys.path` with absolute entries, in its order.

    Entries that are not text (`pathlib.Path`, bytes) are left out, because imports ignore them. So are texts that
    cannot be names of directories.
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
        found = [entry for entry in found if entry]  # a second empty entry has no effect
    return found


def extend_path(entries: Iterable[str], first: bool) -> None:
    """Let this process also import from another one's path, as far as its directories exist here.

    Args:
        entries: the other process's `understood_path`.
        first: whether they come before this process's own entries, or after.
    """
    own = list(sys.path)
    known = set(own) if not first else set()
    theirs = [entry for entry in entries if entry not in known and os.path.exists(entry)]
    if first:
        sys.path[:] = theirs + [entry for entry in own if entry not in set(theirs)]
    else:
        sys.path.extend(theirs)


def boot_text(entries: Iterable[str]) -> str:
    """Return the entries as a text that can be an environment variable, whatever characters their names have.

    They are joined by NUL, the only character that no name has. Without any import,
    `bytes.fromhex(text).decode("utf-8", "surrogatepass")`, split at NUL, restores them.
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
    """Return former current directories from which modules were imported, found by the loaded modules."""
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
            # The import system has used this name, so it was an entry, or the current directory.
            if directory not in known and directory in sys.path_importer_cache:
                found[directory] = None
    return list(found)
