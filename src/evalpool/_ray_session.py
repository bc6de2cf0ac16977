"""Starts Ray in this process if it does not run, and stops it when its last user here is closed."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from evalpool._guard import guarded_act
from evalpool._interrupts import handler_of, replace_handler
from evalpool._launchers import as_no_rank
from evalpool._patched import refuse_if_patched
from evalpool.errors import BackendError, BadArgument, MissingExtra

__all__ = ["RayHold", "import_ray"]

CONNECT_WITHIN = 5.0
"""Seconds that a cluster's head may take to accept a connection."""


def import_ray(who: str) -> Any:
    """Return the module `ray`, or raise `MissingExtra`, which names the extra."""
    try:
        import ray
    except ImportError as error:
        raise MissingExtra.of(f"{who} needs Ray, which cannot be imported ({error})", "ray") from error
    return ray


class RayHold:
    """One user of this process's connection to Ray; `leave` ends the use.

    Args:
        address: of a cluster; ``"auto"`` for one that runs on this host; None for the one that this process uses, else
            the one in RAY_ADDRESS, else a new one on this host.
        num_cpus, num_gpus: of a new one; None for all that there are.
        ray_kwargs: for `ray.init`.

    Raises:
        BadArgument: Ray runs in this process already, with other settings.
        BackendError: there is no cluster at `address`, or it refuses us.
        MissingExtra: Ray is not installed.
    """

    _lock = threading.Lock()
    _users = 0
    _ours = False
    """Whether one of us started Ray or connected to it."""
    _local = False
    _handlers: tuple[Any, Any] = (None, None)
    """The program's handler of SIGTERM before Ray was started, and after."""
    _starter: _LastingThread | None = None

    def __init__(
        self,
        who: str,
        address: str | None = None,
        num_cpus: float | None = None,
        num_gpus: float | None = None,
        ray_kwargs: dict[str, Any] | None = None,
    ) -> None:
        refuse_if_patched(who)
        self.ray = ray = import_ray(who)
        kwargs = dict(ray_kwargs or {})
        given = {"num_cpus": num_cpus, "num_gpus": num_gpus}
        wanted = {name: value for name, value in given.items() if value is not None}
        initialized = False
        with RayHold._lock:
            if ray.is_initialized():
                _check_same(ray, address, wanted, kwargs)
            else:
                # Without an address, Ray would also use any cluster that another user runs on this host.
                address = address or os.environ.get("RAY_ADDRESS") or "local"
                if RayHold._starter is not None:  # the thread for a Ray that the user has shut down meanwhile
                    RayHold._starter.end()
                before = handler_of(signal.SIGTERM)
                RayHold._starter = _in_a_thread_that_lasts(lambda: _init(ray, address, {**wanted, **kwargs}))
                RayHold._handlers = before, handler_of(signal.SIGTERM)
                RayHold._ours, RayHold._users = True, 0
                RayHold._local = address == "local"
                initialized = True
            RayHold._users += 1
            self.initialized = initialized
            """Whether this user connected the process to Ray, with its `ray_kwargs`."""
            self.is_local = RayHold._ours and RayHold._local
            """Whether one of us started a cluster on this host alone."""
        self._left = False

    def leave(self) -> None:
        """Stop Ray if one of us started it and this was the last user. A second call does nothing."""
        with RayHold._lock:
            if self._left:
                return
            self._left = True
            RayHold._users -= 1
            if RayHold._users == 0 and RayHold._ours:
                RayHold._ours = False
                self.ray.shutdown()
                _give_back_sigterm(*RayHold._handlers)
            if RayHold._users == 0 and RayHold._starter is not None:
                RayHold._starter.end()
                RayHold._starter = None


def _give_back_sigterm(before: Any, rays: Any) -> None:
    """Restore the program's handler of SIGTERM if it is still the one that `ray.init` has set in the main thread.

    Ray's raises SystemExit, also after its shutdown. Processes that the program forks later would inherit it: one that
    `multiprocessing.Pool` ends while it is about to wait for a task would not end, and the pool would wait for ever.
    """
    changed = rays is not before and before is not None and handler_of(signal.SIGTERM) is rays
    if changed and threading.current_thread() is threading.main_thread():  # no other thread may set a handler
        replace_handler(signal.SIGTERM, before)


class _LastingThread:
    """A thread that makes one call and then lives until `end`. The constructor raises the call's errors."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._made: Future[None] = Future()
        self._over = threading.Event()
        self._thread = guarded_act("evalpool-ray", "The thread that started Ray", partial(self._run, call))
        self._thread.start()
        try:
            self._made.result()
        except BaseException:
            self.end()
            raise

    def _run(self, call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001  raised in the thread that waits
            self._made.set_exception(error)
        else:
            self._made.set_result(None)
        self._over.wait()

    def end(self) -> None:
        self._over.set()
        self._thread.join()


def _in_a_thread_that_lasts(call: Callable[[], None]) -> _LastingThread | None:
    """Make a call that starts Ray.

    Linux kills Ray's daemons at the end of the *thread* that started them (PR_SET_PDEATHSIG), and a driver without its
    daemons ends itself a minute later. The main thread lasts as long as the program.
    """
    if threading.current_thread() is threading.main_thread():
        call()
        return None
    return _LastingThread(call)


def _init(ray: Any, address: str, kwargs: dict[str, Any]) -> None:
    _check_reachable(address)
    try:
        with as_no_rank():  # its daemons and workers inherit this environment
            ray.init(address=address, **kwargs)
    except (ValueError, TypeError) as error:
        raise BadArgument(f"Ray refuses address={address!r}, {kwargs}: {error}") from error
    except Exception as error:
        with contextlib.suppress(Exception):
            ray.shutdown()
        if _refused_for_its_token(error):
            raise BackendError(
                f"The Ray cluster at {address!r} asks for a token, and this process has none or a wrong one: "
                f"RAY_AUTH_MODE is {os.environ.get('RAY_AUTH_MODE', 'not set')} here. `ray start` asks for a token "
                "if the user who calls it has one (~/.ray/auth_token). Set RAY_AUTH_MODE=token, or disabled, both for "
                "`ray start` on each node and for this program, and use the same token everywhere."
            ) from error
        raise BackendError(f"{_nowhere(address)} ({type(error).__name__}: {error})") from error


def _refused_for_its_token(error: BaseException | None) -> bool:
    """Whether an error was caused by a wrong token. Ray raises some errors again, with the first traceback as text."""
    while error is not None:
        if "AuthenticationError" in f"{type(error).__name__} {error}":
            return True
        error = error.__cause__ or error.__context__
    return False


def _nowhere(address: str) -> str:
    if address == "local":
        return "Ray could not be started on this machine."
    return (
        f"No Ray cluster can be used at {address!r}. Start one with `ray start --head`, give the address that it "
        "prints, or leave out address to have one started on this machine."
    )


def _check_reachable(address: str) -> None:
    """Raise at once if nothing listens at an address; Ray would try for minutes."""
    place = address.removeprefix("ray://")
    host, colon, port = place.rpartition(":")
    if not colon or not port.isdigit():  # "auto", "local"
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_WITHIN).close()
    except OSError as error:
        raise BackendError(f"{_nowhere(address)} ({error})") from error


def _check_same(ray: Any, address: str | None, wanted: dict[str, Any], kwargs: dict[str, Any]) -> None:
    """Ray runs in this process already: raise if the arguments ask for something else."""
    if address not in (None, "auto"):
        now = ray.get_runtime_context().gcs_address
        if str(address).removeprefix("ray://") != now:
            raise BadArgument(
                f"address is {address!r}, but this process uses the Ray cluster at {now!r} already. Leave out address "
                "to use that one, or call ray.shutdown() first."
            )
    resources = ray.cluster_resources()
    for name, value in wanted.items():
        there = resources.get(name.removeprefix("num_").upper().removesuffix("S"), 0.0)
        if there != value:
            raise BadArgument(
                f"{name} is {value}, but Ray runs in this process already with {there:g}. Leave out {name}, or call "
                "ray.shutdown() first."
            )
    other = sorted(set(kwargs) - {"runtime_env", "ignore_reinit_error"})
    if other:
        raise BadArgument(
            f"ray_kwargs has {', '.join(other)}, but Ray runs in this process already, and only runtime_env can still "
            "be chosen. Call ray.shutdown() first, or leave out the others."
        )
