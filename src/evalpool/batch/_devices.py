"""Limits the GPUs that a job sees; this must be set before the libraries that use them are loaded."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterable, Iterator

from evalpool._checks import is_whole
from evalpool.errors import BadArgument

__all__ = ["visible_devices"]

VARIABLES = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")
"""The variables of NVIDIA, AMD and Intel. Each library reads its own and ignores the others."""

_in_use = threading.Lock()


@contextlib.contextmanager
def visible_devices(dequed: Iterable[int | str]) -> Iterator[str]:
    """Let the libraries and commands that the block uses see only these devices.

    For the ids that `queued` lends to a job::

        def run(job, dequed):
            with visible_devices(dequed):
                import torch  # sees them as cuda:0, cuda:1, ...
                return train(job)

    Sets ``CUDA_VISIBLE_DEVICES``, ``ROCR_VISIBLE_DEVICES`` and ``ZE_AFFINITY_MASK``, and restores them at the end. The
    environment belongs to the whole process. So this is for workers that are separate processes (``process``, ``ray``,
    ``mpi``), or for commands that a job starts, which inherit the environment. If two threads use it at the same time,
    the second gets an error: pass ``env=`` to the commands there.

    Args:
        dequed: ids, as indexes or as names of the driver (``"GPU-8f6d..."``, ``"MIG-..."``); empty for no device.

    Yields:
        The value of the variables: the ids, joined by commas.

    Raises:
        BadArgument: a value is not a device id.
        RuntimeError: another thread of this process uses it; or a library has looked for devices already and would
            ignore the choice.
    """
    text = ",".join(_checked(dequed))
    if not _in_use.acquire(blocking=False):
        raise RuntimeError(
            "visible_devices is in use by another thread of this process, and the environment is common to both. Use a "
            "backend whose workers are processes (process, ray, mpi), or give commands their own env=."
        )
    before = {name: os.environ.get(name) for name in VARIABLES}
    try:
        _check_not_too_late(text, before)
        os.environ.update(dict.fromkeys(VARIABLES, text))
        yield text
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _in_use.release()


def _checked(dequed: Iterable[int | str]) -> list[str]:
    if isinstance(dequed, (str, bytes)) or not isinstance(dequed, Iterable):
        raise BadArgument(f"dequed is {dequed!r}; give a list of device ids: visible_devices([0, 1]).")
    ids = []
    for one in dequed:
        if not (isinstance(one, str) or (is_whole(one) and one >= 0)):
            raise BadArgument(f"dequed has {one!r}; a device id is a number of 0 or more, or a text.")
        if isinstance(one, str) and (not one.strip() or "," in one or "\0" in one):
            raise BadArgument(f"dequed has {one!r}; give one id per entry, without commas.")
        ids.append(str(one).strip())
    return ids


def _check_not_too_late(text: str, before: dict[str, str | None]) -> None:
    """Raise if a library has looked for devices already, since it keeps what it found."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if cuda is not None and cuda.is_initialized() and before["CUDA_VISIBLE_DEVICES"] != text:
        raise RuntimeError(
            f"PyTorch has looked for devices in this process already (CUDA_VISIBLE_DEVICES was "
            f"{before['CUDA_VISIBLE_DEVICES']!r}) and would ignore {text!r}. Give each worker the same devices for all "
            "its jobs, or run the training in a separate process."
        )
