"""Reading files of configurations, with the options of their jobs, and search spaces.

An object of JSON is a configuration. If it has a key ``configuration`` with an object, and besides it only options, it
is a `Submission`. In a CSV file options have their own columns, ``options:priority``. A name that is nearly that of an
option is refused: a misspelt option would silently become a parameter that no run-function reads.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

from evalpool.errors import BadArgument
from evalpool.jobs._options import OPTIONS, Submission, submission
from evalpool.tables._cells import cells_of_any_size, value_of

__all__ = ["read_configurations", "read_space_file"]


WHOLE = "configuration"
"""In JSON, the key of the configuration in an object with options."""
PREFIX = "options:"
"""The prefix of the columns of options."""


def read_configurations(path: str) -> list[dict[str, Any] | Submission]:
    """The configurations in a ``.jsonl`` or ``.csv`` file, in their order; those with options as `Submission`.

    Raises:
        BadArgument: there is no such file, it is of another kind, or a line has no configuration or a wrong option.
    """
    readers = {".jsonl": _read_jsonl, ".csv": _read_csv}
    reader = readers.get(os.path.splitext(path)[1].lower())
    if reader is None:
        raise BadArgument(f"configurations in {path!r}: give a .jsonl file (a JSON object per line) or a .csv file.")
    try:
        found = list(reader(path))
    except (FileNotFoundError, IsADirectoryError):
        raise BadArgument(f"there is no file {path!r} of configurations.") from None
    except UnicodeDecodeError as error:
        raise BadArgument(f"{path!r} is not a text in UTF-8: {error}.") from None
    if not found:
        raise BadArgument(f"{path!r} holds no configuration.")
    return found


def _read_jsonl(path: str) -> Iterator[dict[str, Any] | Submission]:
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line, object_pairs_hook=_each_once)
            except _Twice as twice:
                raise BadArgument(
                    f"line {number} of {path!r} has the name {twice.name!r} twice; give each once."
                ) from None
            except ValueError as error:
                raise BadArgument(f"line {number} of {path!r} is not JSON: {error}.") from None
            except RecursionError:
                raise BadArgument(f"line {number} of {path!r} is nested too deeply to be read.") from None
            if not isinstance(value, dict):
                raise BadArgument(
                    f'line {number} of {path!r} is not a JSON object; a configuration is one: {{"x": 1}}.'
                )
            if isinstance(value.get(WHOLE), dict):
                yield _submission_of(path, number, value)
            else:
                _refuse_misspelt_whole(path, number, value)
                yield value


def _submission_of(path: str, number: int, value: dict[str, Any]) -> dict[str, Any] | Submission:
    """An object with the key `WHOLE`: a configuration with options, or one that has a parameter of that name."""
    given, others = value.keys() & set(OPTIONS), value.keys() - {WHOLE, *OPTIONS}
    if not others:
        return _checked(path, number, value[WHOLE], {name: value[name] for name in given})
    meant = {name: option for name in others if (option := _meant(name))}
    if given or meant:
        beside = " and ".join(map(repr, [WHOLE, *sorted(given)]))
        guess = "".join(f" Is {name!r} meant to be {option}?" for name, option in sorted(meant.items()))
        raise BadArgument(
            f"line {number} of {path!r} has {_listed(others)} beside {beside}.{guess} A configuration "
            f'with options has nothing else: {{"{WHOLE}": {{"x": 1}}, "priority": 2}}; a job has the options '
            f"{', '.join(OPTIONS)}. If the whole object is the configuration, put it under {WHOLE!r}."
        )
    return value


OFTEN_MEANT = {
    "prio": "priority",
    "timeout": "job_timeout",
    "time_limit": "job_timeout",
    "options": "options themselves",
}
"""Other names that people write for options."""


def _meant(name: str) -> str | None:
    """The option that was probably meant by this name."""
    plain = re.sub("[ -]", "_", name.strip().lower())
    return next(iter(get_close_matches(plain, OPTIONS, 1, cutoff=0.75)), OFTEN_MEANT.get(plain))


def _refuse_misspelt_whole(path: str, number: int, value: dict[str, Any]) -> None:
    """Raise `BadArgument` if an object has, besides options, only an object under a name similar to `WHOLE`."""
    names = [name for name in value if name not in OPTIONS]
    if len(names) != 1 or not isinstance(value[names[0]], dict):
        return
    plain = names[0].strip().lower()
    if get_close_matches(plain, [WHOLE], cutoff=0.75) or (plain in ("config", "conf", "params") and len(value) > 1):
        raise BadArgument(
            f"line {number} of {path!r} has {names[0]!r}. Is it meant to be {WHOLE!r}? If the whole object is "
            f'the configuration, put it under {WHOLE!r}: {{"{WHOLE}": {{{json.dumps(names[0])}: ...}}}}.'
        )


def _checked(
    path: str, number: int, configuration: dict[str, Any], options: dict[str, Any]
) -> dict[str, Any] | Submission:
    """A configuration with options of a file: null is the default, and whole numbers may have become floats."""
    options = {name: value for name, value in options.items() if value is not None}
    priority = options.get("priority")
    if isinstance(priority, float) and priority.is_integer():
        options["priority"] = int(priority)
    try:
        made = Submission(configuration, **options)
    except BadArgument as error:
        raise BadArgument(f"line {number} of {path!r}: {error}") from None
    return submission(configuration, made.options)


def _listed(names: Iterable[str]) -> str:
    return " and ".join(map(repr, sorted(names)))


class _Twice(ValueError):
    """A JSON object has a name twice; Python would silently keep the last."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _Twice(name)
        found[name] = value
    return found


def _read_csv(path: str) -> Iterator[dict[str, Any] | Submission]:
    with open(path, encoding="utf-8-sig", newline="") as file, cells_of_any_size():
        reader = csv.DictReader(file, strict=True)  # else a quote that nobody closes takes in all rows behind it
        end = 0  # the line at which the row before ends, as one row may take several lines
        try:
            names = [name for name in reader.fieldnames or () if name]
            options = [name for name in names if name.startswith(PREFIX)]
            if unknown := {name.removeprefix(PREFIX) for name in options} - set(OPTIONS):
                raise BadArgument(
                    f"{path!r} has the column {_listed(PREFIX + name for name in unknown)}; a job has the options "
                    f"{', '.join(PREFIX + name for name in OPTIONS)}. A parameter of such a name is given as "
                    f"p:{PREFIX}..."
                )
            names = [name for name in names if name not in options]
            ours = [name for name in names if name.startswith("p:")]  # a table of results has more beside these
            for name in ours or names:
                if (like := _LIKE_AN_OPTION.match(name)) and (option := _meant(like[1])) in OPTIONS:
                    raise BadArgument(
                        f"{path!r} has the column {name!r}. Is it meant to be {PREFIX}{option}? If not, name it "
                        f"p:{name}, and put p: before the names of all other parameters, too."
                    )
            kept = [*(name.removeprefix("p:") for name in ours or names), *options]
            if double := [name for name, count in Counter(kept).items() if count > 1]:
                columns = " and ".join(map(repr, double))
                raise BadArgument(f"{path!r} has the column {columns} more than once; give each name once.")
            end = reader.line_num
            for row in reader:
                end = reader.line_num
                if None in row:
                    raise BadArgument(f"line {end} of {path!r} has more cells than there are names.")
                if absent := [name for name, text in row.items() if text is None]:
                    raise BadArgument(
                        f"line {end} of {path!r} has no cell for {_listed(absent)}; it has fewer cells than there are "
                        "names. Where a configuration has no value, leave the cell empty."
                    )
                cells = {name.removeprefix("p:"): row[name] for name in ours or names}
                configuration = {name: _cell(text) for name, text in cells.items() if text not in (None, "")}
                chosen = {
                    name.removeprefix(PREFIX): _option(name, row[name])
                    for name in options
                    if row[name] not in (None, "")
                }
                yield _checked(path, end, configuration, chosen) if chosen else configuration
        except csv.Error as error:
            raise _not_csv(path, end, reader.line_num, error) from None
        except RecursionError:
            raise BadArgument(f"line {end} of {path!r} has a cell that is nested too deeply to be read.") from None


def _not_csv(path: str, end: int, line: int, error: csv.Error) -> BadArgument:
    """The error for a row that begins behind line `end`, and at which the reader stopped at `line`."""
    hint = ' Is a quote (") not closed?' if "end of data" in str(error) or line > end + 1 else ""
    return BadArgument(f"the row that begins at line {end + 1} of {path!r} is not CSV: {error}.{hint}")


_LIKE_AN_OPTION = re.compile(r"\s*options?\s*[:._/ -]\s*(.*)", re.IGNORECASE)
"""The name of a column that is similar to that of an option."""
_NULLS = ("null", "none", "nan")
"""What programs write for a missing value."""


def _option(name: str, text: str) -> Any:
    """The value of an option in a cell; tags are a list in JSON, or texts with commas between them."""
    if text.strip().lower() in _NULLS:
        return None
    if name != f"{PREFIX}tags":
        return _cell(text)
    value = _cell(text)
    return value if isinstance(value, list) else [tag.strip() for tag in text.split(",")]


def _cell(text: str) -> Any:
    if text[:1] in ("[", "{"):  # containers are JSON in a table
        try:
            return json.loads(text)
        except ValueError:
            return text
    return value_of(text)


def read_space_file(path: str) -> dict[str, Any]:
    """The search space in a JSON file, as `evalpool.RandomSearch` and `evalpool.OptunaOptimizer` take it.

    Raises:
        BadArgument: there is no such file, or a value in it is not a dimension; the message says which.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            space = json.load(file, object_pairs_hook=_each_once)
    except (FileNotFoundError, IsADirectoryError):
        raise BadArgument(f"there is no file {path!r} of a search space.") from None
    except _Twice as twice:
        raise BadArgument(f"{path!r} has {twice.name!r} twice; give each name once.") from None
    except ValueError as error:
        raise BadArgument(f"{path!r} is not JSON: {error}.") from None
    except RecursionError:
        raise BadArgument(f"{path!r} is nested too deeply to be read.") from None
    if not isinstance(space, dict) or not space:
        raise BadArgument(
            f"{path!r} holds no search space; give one such as "
            '{"x": {"low": 0.0, "high": 1.0}, "kind": ["a", "b"]}.'
        )
    return {name: _dimension(path, name, value) for name, value in space.items()}


def _dimension(path: str, name: str, value: Any) -> Any:
    if isinstance(value, list):
        return value
    if isinstance(value, dict) and {"low", "high"} <= value.keys() <= {"low", "high", "log"}:
        log = value.get("log", False)
        if isinstance(log, bool):
            return (value["low"], value["high"], "log") if log else (value["low"], value["high"])
    raise BadArgument(
        f'{name!r} in {path!r} is {json.dumps(value)}; give {{"low": 0.0, "high": 1.0}}, '
        '{"low": 1e-5, "high": 0.1, "log": true}, or a list of values.'
    )
