"""Who starts and who stops Ray in this process: whoever found it stopped, when the last of us is done with it."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import Any

from evalpool.errors import BackendError, BadArgument, MissingExtra

__all__ = ["Session", "import_ray"]

CONNECT_WITHIN = 5.0
"""Seconds that a cluster's head may take to accept a connection."""


def import_ray(who: str) -> Any:
    """Ray, or an error that names the extra."""
    try:
        import ray
    except ImportError as error:
        raise MissingExtra(f'{who} needs Ray, which cannot be imported ({error}): pip install "evalpool[ray]".') from (
            error
        )
    return ray


class Session:
    """One user's hold on this process's connection to Ray; `leave` ends it.

    Args:
        address: of a cluster; ``"auto"`` for one that runs on this host; None for the one that this process uses, else
            the one that RAY_ADDRESS names, else a new one on this host.
        num_cpus, num_gpus: of a new one; None for what there is.
        ray_kwargs: for `ray.init`.

    Raises:
        BadArgument: Ray runs in this process already, with other settings.
        BackendError: there is no cluster at `address`, or it refuses us.
        MissingExtra: Ray is not installed.
    """

    _lock = threading.Lock()
    _users = 0
    _ours = False
    """Did one of us start Ray, or connect to it?"""
    _local = False

    def __init__(
        self,
        who: str,
        address: str | None = None,
        num_cpus: float | None = None,
        num_gpus: float | None = None,
        ray_kwargs: dict[str, Any] | None = None,
    ) -> None:
        self.ray = ray = import_ray(who)
        kwargs = dict(ray_kwargs or {})
        given = {"num_cpus": num_cpus, "num_gpus": num_gpus}
        wanted = {name: value for name, value in given.items() if value is not None}
        with Session._lock:
            if ray.is_initialized():
                _check_same(ray, address, wanted, kwargs)
            else:
                # By itself Ray would also take whatever cluster somebody runs on this host.
                address = address or os.environ.get("RAY_ADDRESS") or "local"
                _init(ray, address, {**wanted, **kwargs})
                Session._ours, Session._users = True, 0
                Session._local = address == "local"
            Session._users += 1
            self.started_by_us = Session._ours
            """Did one of us connect this process to Ray?"""
            self.is_local = Session._ours and Session._local
            """Did that start a cluster of this host alone?"""
        self._left = False

    def leave(self) -> None:
        """Stop Ray if one of us started it and nobody of us uses it any more. Idempotent."""
        with Session._lock:
            if self._left:
                return
            self._left = True
            Session._users -= 1
            if Session._users == 0 and Session._ours:
                Session._ours = False
                self.ray.shutdown()


def _init(ray: Any, address: str, kwargs: dict[str, Any]) -> None:
    _check_reachable(address)
    try:
        ray.init(address=address, **kwargs)
    except (ValueError, TypeError) as error:
        raise BadArgument(f"Ray refuses address={address!r}, {kwargs}: {error}") from error
    except Exception as error:
        with contextlib.suppress(Exception):
            ray.shutdown()
        raise BackendError(f"{_nowhere(address)} ({type(error).__name__}: {error})") from error


def _nowhere(address: str) -> str:
    if address == "local":
        return "Ray could not be started on this machine."
    return (
        f"No Ray cluster can be used at {address!r}. Start one with `ray start --head`, give the address that it "
        "prints, or leave out address to have one started on this machine."
    )


def _check_reachable(address: str) -> None:
    """Ray tries for minutes where nobody listens."""
    place = address.removeprefix("ray://")
    host, colon, port = place.rpartition(":")
    if not colon or not port.isdigit():  # "auto", "local"
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_WITHIN).close()
    except OSError as error:
        raise BackendError(f"{_nowhere(address)} ({error})") from error


def _check_same(ray: Any, address: str | None, wanted: dict[str, Any], kwargs: dict[str, Any]) -> None:
    """Ray runs here already: what was asked for must be what there is."""
    if address not in (None, "auto"):
        now = ray.get_runtime_context().gcs_address
        if str(address).removeprefix("ray://") != now:
            raise BadArgument(
                f"address is {address!r}, and this process uses the Ray cluster at {now!r} already; leave out address "
                "to use that one, or call ray.shutdown() first."
            )
    resources = ray.cluster_resources()
    for name, value in wanted.items():
        there = resources.get(name.removeprefix("num_").upper().removesuffix("S"), 0.0)
        if there != value:
            raise BadArgument(
                f"{name} is {value}, and Ray runs in this process already with {there:g}; leave out {name}, or call "
                "ray.shutdown() first."
            )
    other = sorted(set(kwargs) - {"runtime_env", "ignore_reinit_error"})
    if other:
        raise BadArgument(
            f"ray_kwargs has {', '.join(other)}, and Ray runs in this process already; only runtime_env can still be "
            "chosen. Call ray.shutdown() first, or leave the others out."
        )
