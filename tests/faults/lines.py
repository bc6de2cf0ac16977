"""An interrupt at a chosen line of chosen functions, so that a test can try every line and not random moments.

The line of a `with` comes again when its block ends, just before the context is left. There Python delivers no signal:
it looks for one at the end of a call and at a jump backwards. So that line counts once, as the block begins.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any


class Line:
    """The line at which the interrupt strikes.

    Attributes:
        struck: the function and line where it did; None if the block had fewer lines.
    """

    def __init__(self) -> None:
        self.struck: tuple[str, int] | None = None


def interrupt() -> None:
    """What a Ctrl-C does wherever signals are not deferred."""
    raise KeyboardInterrupt


@contextmanager
def interrupt_at(which: int, *functions: Callable[..., Any], strike: Callable[[], None] = interrupt) -> Iterator[Line]:
    """Strike, in this thread, before the `which`-th line that these functions execute in the block.

    Where signals may be deferred, `strike` sends one.
    """
    codes: set[CodeType] = {getattr(function, "__func__", function).__code__ for function in functions}
    line = Line()
    left = which

    def in_function(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal left
        if event == "line" and line.struck is None and not leaves_a_block(frame):
            if left == 0:
                line.struck = (frame.f_code.co_name, frame.f_lineno)
                strike()
            left -= 1
        return in_function

    entered: dict[FrameType, set[int]] = {}

    def leaves_a_block(frame: FrameType) -> bool:
        number = frame.f_lineno
        text = linecache.getline(frame.f_code.co_filename, number).strip()
        if not text.startswith(("with ", "async with ")):
            return False
        lines = entered.setdefault(frame, set())
        again = number in lines
        lines.add(number)
        return again

    def at_call(frame: FrameType, _event: str, _argument: Any) -> Any:
        return in_function if frame.f_code in codes else None

    before = sys.gettrace()
    sys.settrace(at_call)
    try:
        yield line
    finally:
        sys.settrace(before)
