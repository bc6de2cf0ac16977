"""Finds the session of the current caller: a thread of the wrapper's process, of a child, or of a separate program.

A wrapper is pickled with every task of a pool and copied by every fork, but its callers are not. So a caller's session
with the coordinator is not kept in the wrapper. It is kept per thread, for as long as the thread lives; or, for
wrappers that each stand for one worker, per wrapper.
"""

from __future__ import annotations

import atexit
import multiprocessing.util
import os
import threading
import uuid
import weakref
from typing import Any

from evalpool.errors import SimulationError
from evalpool.simulation._files import how_it_ended
from evalpool.simulation._host import Contact, Host, session_if_heard
from evalpool.simulation._launch import join_launched
from evalpool.simulation._run import RunSettings
from evalpool.simulation._session import CallerSession, ThreadSession

__all__ = ["Run"]


class _Token:
    """An object that lives as long as its thread."""


class _Holder:
    """Keeps a session for as long as its caller lives, then closes it."""

    def __init__(self, session: CallerSession) -> None:
        self.session = session
        weakref.finalize(self, session.close).atexit = False


_Holders = weakref.WeakKeyDictionary[_Token, _Holder]

_thread = threading.local()
_lock = threading.Lock()
_forked = _Token()  # `multiprocessing` refers to it weakly
_joined: dict[str, Any] = {}  # run -> its holders by thread, or its one holder; if the coordinator is not here
_hosts: weakref.WeakValueDictionary[str, Host] = weakref.WeakValueDictionary()
_sessions: weakref.WeakSet[Any] = weakref.WeakSet()


class Run:
    """A run, for its wrappers. It can be pickled: the copy connects to the coordinator.

    Args:
        settings: of the run.
        directory: of the run.
        host: the coordinator, if it is in this process; None for programs that are launched separately.
        worker: the index of the worker that calls this wrapper; None for any.
        one_worker: whether all calls of this wrapper count as one worker, whichever thread makes them.
    """

    def __init__(
        self, settings: RunSettings, directory: str, *, host: Host | None, worker: int | None, one_worker: bool
    ) -> None:
        self.settings = settings
        self.directory = os.path.abspath(directory)
        self._id = uuid.uuid4().hex
        self._worker = worker
        self._one_worker = one_worker
        self._launched = host is None
        self._host = host
        self._host_id = "" if host is None else host.id
        self._last: tuple[int, CallerSession] | None = None  # the last caller's thread and session, as a cache
        if host is not None:
            _hosts[host.id] = host

    @property
    def host(self) -> Host | None:
        """The coordinator, if it is in this process."""
        return self._here()

    def session(self) -> CallerSession | None:
        """Return the session of this caller; None if the run has ended.

        Raises:
            SimulationError: all workers have callers, or there is no coordinator.
        """
        last = self._last
        if last is not None and last[0] == threading.get_ident() and not last[1].closed and last[1].pid == os.getpid():
            return last[1]
        session = self._find()
        self._last = None if session is None else (threading.get_ident(), session)
        return session

    def _find(self) -> CallerSession | None:
        if self._one_worker:
            with _lock:
                holder = self._kept()
                if holder is None or holder.session.closed or holder.session.pid != os.getpid():
                    holder = self._new()
                    self._keep(holder)
        else:
            try:
                token: _Token = _thread.token
            except AttributeError:
                token = _thread.token = _Token()
            holders = self._kept()
            if holders is None:
                with _lock:
                    holders = self._kept()
                    if holders is None:
                        holders = _Holders()
                        self._keep(holders)
            holder = holders.get(token)
            if holder is None or holder.session.closed or holder.session.pid != os.getpid():
                holder = self._new()
                if holder is not None:
                    holders[token] = holder
        return None if holder is None else holder.session

    def leave(self) -> None:
        """End this caller's session; the next call begins another."""
        kept = self._kept()
        if kept is None:
            return
        if self._one_worker:
            self._keep(None)
            kept.session.close()
        else:
            token = getattr(_thread, "token", None)
            holder = kept.pop(token, None) if token is not None else None
            if holder is not None:
                holder.session.close()

    def close(self) -> None:
        """End the run if its coordinator is in this process; else only end this caller's session."""
        self.leave()
        host = self._here()
        if host is not None:
            host.close()

    def _kept(self) -> Any:
        host = self._here()
        return (_joined if host is None else host.kept).get(self._id)

    def _keep(self, kept: Any) -> None:
        host = self._here()
        (_joined if host is None else host.kept)[self._id] = kept

    def _here(self) -> Host | None:
        host = self._host
        return host if host is not None and host.pid == os.getpid() else None

    def _new(self) -> _Holder | None:
        session: CallerSession | None
        host = self._here()
        if host is not None:
            session = ThreadSession(host.coordinator, self._worker)
        elif self._launched:
            session = join_launched(self.directory, self.settings, self._worker)
        else:
            session = self._join_host()
        if session is None:
            return None
        _sessions.add(session)
        return _Holder(session)

    def _join_host(self) -> CallerSession | None:
        if how_it_ended(self.directory) is not None:
            return None
        contact = Contact.read(self.directory)
        if contact is not None:
            session = session_if_heard(self.directory, contact, self.settings, self._worker)
            if session is not None:
                return session
        if how_it_ended(self.directory) is not None:
            return None
        raise SimulationError(
            f"The coordinator of the run in {self.directory} does not answer: the process that made the wrapper has "
            "ended, or has dropped the wrapper."
        )

    def __getstate__(self) -> dict[str, Any]:
        host = self._here()
        if host is not None:
            host.serve()
        return {**self.__dict__, "_host": None, "_last": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        host = _hosts.get(self._host_id)
        if host is not None and host.pid == os.getpid():
            self._host = host  # a copy in the process of the original


def _leave_all() -> None:
    """Close all sessions at a normal end of the process, so that its callers do not count as dead."""
    for session in list(_sessions):
        if session.pid == os.getpid():
            session.close()


def _leave_at_the_end(_: object) -> None:
    """Register `_leave_all` in a child of multiprocessing, which does not run atexit functions, but finalizers."""
    multiprocessing.util.Finalize(None, _leave_all, exitpriority=0)


atexit.register(_leave_all)
multiprocessing.util.register_after_fork(_forked, _leave_at_the_end)
if multiprocessing.process.parent_process() is not None:
    _leave_at_the_end(None)
