"""The result of a shell command that a run-function calls: it is a line of the command's standard output."""

from __future__ import annotations

import ast
import json
import subprocess
from typing import Any

from evalpool.errors import SubprocessError

__all__ = ["parse_subprocess_result"]

MARK = "DH-OUTPUT:"
TAIL = 4_000


def parse_subprocess_result(completed_process: subprocess.CompletedProcess[Any]) -> Any:
    """Return the value that a command printed after ``DH-OUTPUT:``; the last such line counts.

    >>> import subprocess
    >>> parse_subprocess_result(subprocess.run(["echo", "DH-OUTPUT: 0.5"], capture_output=True, text=True))
    0.5

    Args:
        completed_process: from `subprocess.run` with ``capture_output=True``; text or bytes.

    Raises:
        SubprocessError: the exit code is not 0, there is no such line, or its value is neither JSON nor a Python
            literal; the message has the end of the standard error.
    """
    out, err = _text(completed_process.stdout), _text(completed_process.stderr)
    command = completed_process.args
    told = f"The end of its standard error:\n{err[-TAIL:]}" if err else "Its standard error is empty."
    if completed_process.returncode != 0:
        raise SubprocessError(f"The command {command!r} ended with exit code {completed_process.returncode}. {told}")
    lines = [line for line in out.splitlines() if MARK in line]
    if not lines:
        hint = f"Let it print '{MARK} <value>', and run it with capture_output=True."
        raise SubprocessError(f"The standard output of {command!r} has no line with {MARK!r}. {hint} {told}")
    text = lines[-1].split(MARK, 1)[1].strip()
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    if text.startswith("F"):
        return text  # a failure needs no quotes
    raise SubprocessError(f"{text[:200]!r} after {MARK!r} is neither JSON nor a Python literal. {told}")


def _text(stream: Any) -> str:
    if stream is None:
        return ""
    return stream.decode(errors="replace") if isinstance(stream, bytes) else str(stream)
