"""Pictures that commands write."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from evalpool.errors import BadArgument, MissingExtra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["KINDS", "check_picture", "new_figure"]

KINDS = (".png", ".svg", ".pdf")


def check_picture(path: str) -> None:
    """Raise `BadArgument` if the name of a file is not that of a picture."""
    if os.path.splitext(path)[1].lower() not in KINDS:
        raise BadArgument(f"--out is {path!r}; give a file that ends with {', '.join(KINDS)}.")


def new_figure(plots: int) -> Figure:
    """A figure of its own for so many plots, without pyplot: no window system is looked for."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra.of("A plot needs matplotlib", "plot") from error
    return Figure(figsize=(8.0, 4.2 * plots), layout="constrained")
