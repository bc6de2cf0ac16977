"""Pickles for other processes: plain pickle first, by value for what the receiver cannot import."""

from __future__ import annotations

import pickle
from typing import Any

from evalpool.worker._script import refers_to_the_script

__all__ = ["dump", "dump_whole", "load", "unpicklable"]


def dump(value: Any, back: bool = False) -> tuple[bytes, list[memoryview]]:
    """Pickle a value with its large buffers (numpy arrays) beside it, uncopied (PEP 574).

    With `back` it goes to the process that this worker's task came from, which knows what it has sent.

    Raises whatever the value's own code raises, also under cloudpickle.
    """
    buffers: list[pickle.PickleBuffer] = []
    try:
        payload = pickle.dumps(value, 5, buffer_callback=buffers.append)
        by_reference = not refers_to_the_script(payload)
    except Exception:  # noqa: BLE001  lambdas, local classes: any error of any type means "not by reference"
        by_reference = False
    if not by_reference:
        from evalpool.worker._by_value import dumps

        buffers.clear()
        payload = dumps(value, buffers.append, back)
    return payload, [buffer.raw() for buffer in buffers]


def dump_whole(value: Any, back: bool = False) -> bytes:
    """As `dump`, in one piece, for engines that take bytes."""
    try:
        payload = pickle.dumps(value, 5)
        if not refers_to_the_script(payload):
            return payload
    except Exception:  # noqa: BLE001  as above
        pass
    from evalpool.worker._by_value import dumps

    return dumps(value, back=back)


def load(payload: bytes | memoryview, buffers: list[memoryview]) -> Any:
    """What `dump` was given."""
    return pickle.loads(payload, buffers=buffers)


def unpicklable(error: BaseException) -> str:
    """What a job fails with whose configuration's own code raised this as it was pickled."""
    import traceback

    reason = traceback.format_exception_only(type(error), error)[-1].strip()  # also where its `str` raises
    return f"The configuration could not be pickled: {reason}"
