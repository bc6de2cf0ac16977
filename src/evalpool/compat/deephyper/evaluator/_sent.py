"""What workers get of a program when they start, which is before the first job: the program may go on changing it.

In deephyper processes are forked at the first job, and have what the program has by then.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
from collections.abc import Callable
from typing import Any

import cloudpickle

__all__ = ["what_workers_get"]


def what_workers_get(function: Callable[..., Any], kwargs: dict[str, Any]) -> bytes | None:
    """A digest of a function, with the globals that it uses and its keyword arguments, and of the environment.

    Returns:
        None if there is none, as they cannot be pickled; two digests of the same are mostly equal.
    """
    digest = hashlib.blake2b()
    buffers: list[pickle.PickleBuffer] = []
    try:
        where = (dict(os.environ), sys.path, os.getcwd())
        digest.update(cloudpickle.dumps((function, kwargs, where), protocol=5, buffer_callback=buffers.append))
        for buffer in buffers:
            digest.update(buffer.raw())
    except Exception:  # noqa: BLE001  code of the program, which each job will report
        return None
    return digest.digest()
