"""Pickles for other processes: plain pickle first, cloudpickle for what it cannot."""

from __future__ import annotations

import pickle
from typing import Any

__all__ = ["dump", "dump_whole", "load"]


def dump(value: Any) -> tuple[bytes, list[memoryview]]:
    """Pickle a value with its large buffers (numpy arrays) beside it, uncopied (PEP 574).

    Raises whatever the value's own code raises, also under cloudpickle.
    """
    buffers: list[pickle.PickleBuffer] = []
    try:
        payload = pickle.dumps(value, 5, buffer_callback=buffers.append)
    except Exception:  # noqa: BLE001  lambdas, local classes: any error of any type means "not by reference"
        import cloudpickle

        buffers.clear()
        payload = cloudpickle.dumps(value, 5, buffer_callback=buffers.append)
    return payload, [buffer.raw() for buffer in buffers]


def dump_whole(value: Any) -> bytes:
    """As `dump`, in one piece, for engines that take bytes."""
    try:
        return pickle.dumps(value, 5)
    except Exception:  # noqa: BLE001  as above
        import cloudpickle

        payload: bytes = cloudpickle.dumps(value, 5)
        return payload


def load(payload: bytes | memoryview, buffers: list[memoryview]) -> Any:
    """What `dump` was given."""
    return pickle.loads(payload, buffers=buffers)
