"""Pickles for other processes: plain pickle if possible, and by value for what the receiver cannot import."""

from __future__ import annotations

import pickle
from typing import Any

from evalpool._text import described
from evalpool.worker._script import refers_to_the_script

__all__ = ["dump", "dump_whole", "load", "unpicklable"]


def dump(value: Any, back: bool = False) -> tuple[bytes, list[memoryview]]:
    """Pickle a value; return the pickle and its large buffers (numpy arrays), which are not copied (PEP 574).

    With `back`, the receiver is the process that sent this worker its task, so it knows the definitions in it.

    Raises whatever the value's own code raises, also under cloudpickle.
    """
    buffers: list[pickle.PickleBuffer] = []
    try:
        payload = pickle.dumps(value, 5, buffer_callback=buffers.append)
        by_reference = not refers_to_the_script(payload)
    except Exception:  # noqa: BLE001  such as for lambdas and local classes: any error means "not by reference"
        by_reference = False
    if not by_reference:
        from evalpool.worker._by_value import dumps

        buffers.clear()
        payload = dumps(value, buffers.append, back)
    return payload, [buffer.raw() for buffer in buffers]


def dump_whole(value: Any, back: bool = False) -> bytes:
    """As `dump`, but in one piece, for engines that take bytes."""
    try:
        payload = pickle.dumps(value, 5)
        if not refers_to_the_script(payload):
            return payload
    except Exception:  # noqa: BLE001  as above
        pass
    from evalpool.worker._by_value import dumps

    return dumps(value, back=back)


def load(payload: bytes | memoryview, buffers: list[memoryview]) -> Any:
    """Return the value that was given to `dump`."""
    return pickle.loads(payload, buffers=buffers)


def unpicklable(error: BaseException) -> str:
    """Return the message for a job whose configuration raised this error when it was pickled."""
    return f"The configuration could not be pickled: {described(error)}"
