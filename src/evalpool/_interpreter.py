"""The Python interpreter with which this program starts processes."""

from __future__ import annotations

import sys

from evalpool.errors import BackendError

__all__ = ["interpreter"]


def interpreter() -> str:
    """Return the path of the Python that runs this program, for the processes that evalpool starts.

    Raises:
        BackendError: Python does not know it, as where it is embedded in another program.
    """
    if not sys.executable:
        raise BackendError(
            f"sys.executable is {sys.executable!r}, so that no process of Python can be started: Python does not know "
            "its own interpreter, as where it is embedded in another program. Set sys.executable to the path of this "
            "Python's interpreter before, or use the backend serial or thread, without profile."
        )
    return sys.executable
