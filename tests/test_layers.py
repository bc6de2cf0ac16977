"""The layers of the package: each room imports only from lines above its own, whatever the form of the import.

The lines are drawn in docs/architecture.md; this test holds the drawing against the code. It reads imports at the top
of a file, in functions and for type checkers, and modules that are named by text: to importlib, and in the tables
by which a room's names are imported when they are first used.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import evalpool

SOURCE = Path(evalpool.__file__).parent
DRAWING = Path(__file__).parent.parent / "docs" / "architecture.md"
NAMES_ABOVE = "evaluator._names_above"
"""The one file, without code, that may name what lies above it."""

MODULE = re.compile(r"evalpool(\.\w+)+(:\w+)?")


def lines_drawn() -> list[list[str]]:
    """The layers as docs/architecture.md draws them, lowest first."""
    text = DRAWING.read_text("utf-8")
    block = re.search(r"<!-- layers -->\n\n((?:    .+\n)+)", text)
    assert block is not None, "docs/architecture.md has no drawing of the layers"
    return [line.split() for line in block[1].splitlines()]


LAYERS = {room: number for number, line in enumerate(lines_drawn()) for room in line}
ROOT = "__init__"


def modules() -> dict[str, Path]:
    """Dotted name below evalpool -> file."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        if parts[-1] == "__init__" and len(parts) > 1:
            parts = parts[:-1]
        found[".".join(parts)] = path
    return found


MODULES = modules()


def room_of(module: str) -> str:
    return module.partition(".")[0]


def named(text: str) -> str:
    """The room that a dotted name of evalpool's names."""
    rest = text.partition(":")[0].removeprefix("evalpool").lstrip(".")
    return room_of(rest) if rest and room_of(rest) in LAYERS else ROOT


def imports_of(module: str, path: Path) -> Iterator[tuple[str, int]]:
    """(room, line) of each import and each module that is named by text."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "evalpool":
                    yield named(alias.name), node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            if node.module == "evalpool":
                yield from ((named(f"evalpool.{alias.name}"), node.lineno) for alias in node.names)
            elif node.module is not None and node.module.startswith("evalpool."):
                yield named(node.module), node.lineno
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and MODULE.fullmatch(node.value):
            if room_of(node.value.partition(":")[0].removeprefix("evalpool.")) in LAYERS:
                yield named(node.value), node.lineno
        elif isinstance(node, ast.JoinedStr) and node.values and isinstance(node.values[0], ast.Constant):
            start = str(node.values[0].value)
            if re.match(r"evalpool\.\w", start):
                yield named(start), node.lineno


def arrows() -> Iterator[tuple[str, str, int]]:
    """(module, room that it names, line), for what is not in the module's own room."""
    for module, path in MODULES.items():
        for room, line in imports_of(module, path):
            if room != room_of(module):
                yield module, room, line


def test_every_room_is_on_one_line_of_the_drawing() -> None:
    rooms = {room_of(module) for module in MODULES}
    assert rooms == set(LAYERS) & rooms, f"not drawn: {rooms - set(LAYERS)}"
    drawn = [room for line in lines_drawn() for room in line]
    assert len(drawn) == len(set(drawn))


def test_no_import_goes_upward_or_along_a_line() -> None:
    upward = [
        f"{module}:{line} imports {room}"
        for module, room, line in arrows()
        if LAYERS[room] >= LAYERS[room_of(module)] and module != NAMES_ABOVE
    ]
    assert not upward


def test_rooms_within_benchmarks_stand_on_the_files_beside_them() -> None:
    """`adapters`, `_compare` and `_plan` know nothing of each other, and what is beside them knows none of them."""
    within = {"adapters", "_compare", "_plan"}
    for module, path in MODULES.items():
        room, _, rest = module.partition(".")
        if room == "benchmarks" and rest:
            own = rest.partition(".")[0]
            named_there = set(re.findall(r"evalpool\.benchmarks\.(\w+)", path.read_text("utf-8")))
            assert not (named_there & within) - {own}, module


def test_the_file_that_names_what_lies_above_has_no_code() -> None:
    docstring, *rest = ast.parse(MODULES[NAMES_ABOVE].read_text("utf-8")).body
    assert isinstance(docstring, ast.Expr)
    imported, guard = rest
    assert ast.unparse(imported) == "from typing import TYPE_CHECKING"
    assert isinstance(guard, ast.If)
    assert ast.unparse(guard.test) == "TYPE_CHECKING"
    assert all(isinstance(statement, ast.ImportFrom) for statement in guard.body)
    assert not guard.orelse


@pytest.mark.parametrize(
    ("code", "rooms"),
    [
        ("import evalpool.cli", ["cli"]),
        ("from evalpool import Job, storage", [ROOT, "storage"]),
        ("def f():\n    from evalpool.simulation._kernel import Kernel", ["simulation"]),
        ("if TYPE_CHECKING:\n    from evalpool.backends import profile", ["backends"]),
        ("importlib.import_module('evalpool.backends._pool._isolated')", ["backends"]),
        ("importlib.import_module(f'evalpool.cli.{name}')", ["cli"]),
        ("NAMES = {'x': 'evalpool.search:Stopper'}", ["search"]),
        ("logging.getLogger('evalpool')", []),
    ],
)
def test_each_form_of_an_import_is_seen(code: str, rooms: list[str], tmp_path: Path) -> None:
    path = tmp_path / "probe.py"
    path.write_text(code)
    assert [room for room, _ in imports_of("probe", path)] == rooms
