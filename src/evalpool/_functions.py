"""Finding the function that a text names, for the command and for benchmarks in files."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from evalpool._text import described
from evalpool.errors import BadArgument, EvalpoolError

__all__ = ["load_function", "naming", "why_not_called"]

OWN = os.path.dirname(os.path.abspath(__file__)) + os.sep


def load_function(name: str) -> Callable[..., Any]:
    """Import ``module:function`` or ``path/to/file.py:function``.

    The directory of the file, or the working directory, is put first on `sys.path`, also in the workers.

    Raises:
        BadArgument: there is no such module, file or function, or importing it fails; the message names the line.
    """
    place, colon, attribute = name.rpartition(":")
    if not colon or not place or not attribute:
        raise BadArgument(f"{name!r} names no function; give module:function or path/to/file.py:function.")
    if ":" in os.path.splitdrive(place)[1] and not os.path.isfile(place):
        raise BadArgument(f"{name!r} has a colon too many; give module:function or path/to/file.py:function.")
    module = _load_file(place) if place.endswith(".py") or os.sep in place else _load_module(place)
    found: Any = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        own = [key for key in known if getattr(vars(module)[key], "__module__", None) == module.__name__]
        raise BadArgument(f"{place} has no function {attribute!r}; it has {', '.join(own) or 'none'}.")
    checked: Callable[..., Any] = found
    return checked


def why_not_called(function: Callable[..., Any], *positional: Any, **named: Any) -> str | None:
    """Why a function cannot be called with these arguments, with its signature; None if it can or that is not known."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of a compiled class
        return None
    try:
        signature.bind(*positional, **named)
    except TypeError as error:
        return f"its signature is {signature}: {error}"
    return None


def _load_module(name: str) -> ModuleType:
    _put_first(os.getcwd())
    try:
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    except ModuleNotFoundError as error:
        file = name.replace(".", os.sep) + ".py"
        raise BadArgument(
            f"{error}, looked for in {os.getcwd()} and on Python's path; give the file itself: path/to/{file}:function."
        ) from error
    except ValueError as error:
        raise BadArgument(f"{name!r} is not a module: {error}.") from error
    return _import(name, lambda: importlib.import_module(name))


def _load_file(path: str) -> ModuleType:
    if not os.path.isfile(path):
        raise BadArgument(f"there is no file {path!r}; give path/to/file.py:function, or module:function.")
    path = os.path.abspath(path)
    directory, file = os.path.split(path)
    name = file.removesuffix(".py")
    _put_first(directory)
    importlib.invalidate_caches()
    importable = name.isidentifier() and name not in sys.modules
    spec = importlib.util.find_spec(name) if importable else None
    if spec is None or spec.origin is None or not os.path.samefile(spec.origin, path):
        # Workers cannot import it by its name (my-script.py, json.py), so it is sent to them by value.
        importable = False
        name = "evalpool_run_" + re.sub(r"\W", "_", name)
        spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    found = spec

    def load() -> ModuleType:
        module = importlib.util.module_from_spec(found)
        sys.modules[name] = module
        assert found.loader is not None
        found.loader.exec_module(module)
        return module

    module = _import(path, load)
    if not importable:
        import cloudpickle

        cloudpickle.register_pickle_by_value(module)
    return module


def _import(name: str, load: Callable[[], ModuleType]) -> ModuleType:
    try:
        return load()
    except SystemExit as error:
        if _from_a_handler(error):
            raise
        raise BadArgument(
            f"importing {name} ends the program by {described(error)}{_place_of(error)}; put what it does as a program "
            'under if __name__ == "__main__":.'
        ) from error
    except Exception as error:
        at = f" at line {error.lineno} of {error.filename}" if isinstance(error, SyntaxError) else _place_of(error)
        raise BadArgument(f"importing {name} fails with {type(error).__name__}{at}: {error}") from error


@contextlib.contextmanager
def naming(name: str) -> Iterator[None]:
    """Inside the block, which calls code of the user, an error of that becomes a `BadArgument` that names it.

    Those of evalpool pass through: they say themselves what is wrong. `sys.exit` is such an error: it would end the
    command, mostly with the exit code of a success.
    """
    try:
        yield
    except EvalpoolError:
        raise
    except (Exception, SystemExit) as error:
        if _from_a_handler(error):
            raise
        place = _place_of(error)
        raise BadArgument(f"{name} raised {described(error)}{place and f',{place}'}") from error


def _from_a_handler(error: BaseException) -> bool:
    from evalpool._interrupts import from_a_handler  # here, because it loads logging, and `evalpool --help` would wait

    return from_a_handler(error)


def _place_of(error: BaseException) -> str:
    """Where an error was raised: the innermost line that is not one of evalpool's; empty if all are."""
    frames = [one for one in traceback.extract_tb(error.__traceback__) if not one.filename.startswith(OWN)]
    return f" at line {frames[-1].lineno} of {frames[-1].filename}" if frames else ""


def _put_first(directory: str) -> None:
    if directory not in sys.path[:1]:
        sys.path.insert(0, directory)
