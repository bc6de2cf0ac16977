"""How large a file, a class and a function of the package may grow: what one can hold in one's head.

Who is stopped here splits by ideas, not by length: a part that has a name, and a sentence that says what it is for.
"""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator
from pathlib import Path

import evalpool

SOURCE = Path(evalpool.__file__).parent

LINES_OF_A_FILE = 500
MEDIAN_FILE = 150
METHODS_OF_A_CLASS = 45
"""Properties are methods; overloads, which have no body, are not counted."""
LINES_OF_A_FUNCTION = 80
"""Besides its docstring."""

LONG_FILES = {
    "simulation/_kernel.py": "the rules of virtual time are one thing, and are read together",
}
"""Files that may be longer, and why."""
SHORTER_FILES = {"evaluator/_evaluator.py": 450}
"""The facade passes everything to its parts: what makes it longer belongs into one of them."""

Function = (ast.FunctionDef, ast.AsyncFunctionDef)


def trees() -> Iterator[tuple[str, str, ast.Module]]:
    """(path below the package, text, tree) of each file."""
    for path in sorted(SOURCE.rglob("*.py")):
        text = path.read_text("utf-8")
        yield path.relative_to(SOURCE).as_posix(), text, ast.parse(text)


def methods_of(node: ast.ClassDef) -> list[str]:
    """The names of a class's own methods."""
    found = []
    for item in node.body:
        if isinstance(item, Function):
            decorators = {ast.unparse(decorator).rpartition(".")[2] for decorator in item.decorator_list}
            if "overload" not in decorators:
                found.append(item.name)
    return found


def length_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function from `def` to its end, without its docstring."""
    end = node.end_lineno or node.lineno
    lines = end - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def above_the_limits() -> dict[str, list[str]]:
    """File -> what of it is too long, for limits of files and classes."""
    found: dict[str, list[str]] = {}
    for name, text, tree in trees():
        lines = text.count("\n")
        if lines > SHORTER_FILES.get(name, LINES_OF_A_FILE) and name not in LONG_FILES:
            found.setdefault(name, []).append(f"{lines} lines")
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and len(methods_of(node)) > METHODS_OF_A_CLASS:
                found.setdefault(name, []).append(f"class {node.name} has {len(methods_of(node))} methods")
    return found


def test_no_file_and_no_class_is_larger_than_one_can_hold_in_the_head() -> None:
    assert above_the_limits() == {}


def test_what_is_named_as_an_exception_needs_to_be_one() -> None:
    for name in LONG_FILES:
        assert (SOURCE / name).read_text("utf-8").count("\n") > LINES_OF_A_FILE, name


def test_half_of_the_files_are_short() -> None:
    assert statistics.median(text.count("\n") for _, text, _ in trees()) <= MEDIAN_FILE


def test_a_function_fits_on_a_screen_or_two() -> None:
    found = [
        f"{name}:{node.lineno} {node.name} has {length_of(node)} lines"
        for name, _, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, Function) and length_of(node) > LINES_OF_A_FUNCTION
    ]
    assert not found
