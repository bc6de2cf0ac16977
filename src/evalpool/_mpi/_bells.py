"""Wakes a rank of the same host that waits for a message, since MPI has no event on which a process can sleep.

A rank that is about to sleep sets its flag in a page of memory that the ranks of its host share, and looks for messages
once more. A rank that has sent it a message then sees the flag and wakes it by a datagram. Without the flag no datagram
is sent. Nothing depends on it: a rank that sleeps looks again after some milliseconds anyway. Anybody on the host may
send such a datagram, and can only make the rank look.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
import select
import socket
import sys
from collections.abc import Iterable
from typing import Any

__all__ = ["Bell", "Bells"]


class Bells:
    """The flags and sockets of one communicator's ranks on this host. All ranks construct it together.

    Args:
        comm: of mpi4py; used by collective calls here only.
    """

    def __init__(self, comm: Any) -> None:
        rank = int(comm.rank)
        self._socket, name = _open()
        found: list[tuple[str, str]] = comm.allgather((_place() if name else "", name))
        place = found[rank][0]
        self.here = here = [each for each, (other, _) in enumerate(found) if place and other == place]
        """The ranks of this host whose processes this one sees, with the same ids; empty where that is not known."""
        # The first rank of each host makes the page; the others open it by that process's descriptor, so that no file
        # is left behind.
        page = _make_page(len(found)) if len(here) > 1 and rank == here[0] else -1
        pages: list[tuple[int, int]] = comm.allgather((os.getpid(), page))
        self._flags: Any = None
        if len(here) > 1:
            self._flags = _map(*pages[here[0]], len(found))
        can: list[bool] = comm.allgather(self._flags is not None)  # the page may be closed after this
        if page >= 0:
            os.close(page)
        self._rank = rank
        self._names = {each: found[each][1] for each in here if can[rank] and can[each]}

    def wake(self, rank: int) -> None:
        """Wake a rank, if it is on this host and sleeps. Any thread."""
        if rank in self._names and self._flags[rank]:
            self._flags[rank] = 0  # one datagram is enough
            self._send(rank)

    def wake_this(self) -> None:
        """Wake a thread of this process that waits. Any thread."""
        self._send(self._rank)

    def _send(self, rank: int) -> None:
        with contextlib.suppress(OSError):  # it has ended, or has unread datagrams, which wake it as well
            self._socket.sendto(b"!", self._names[rank])

    def reach(self, ranks: Iterable[int]) -> bool:
        """Whether all these ranks can wake this one."""
        return all(rank in self._names for rank in ranks)

    def sleeps(self, value: bool) -> None:
        """Set or clear the flag of this rank."""
        self._flags[self._rank] = value

    def drain(self) -> None:
        """Read what has woken this rank."""
        with contextlib.suppress(OSError):
            while True:
                self._socket.recv(1)

    def fileno(self) -> int:
        """The descriptor that is readable when another rank wakes this one."""
        return int(self._socket.fileno())

    def close(self) -> None:
        """Close the socket. Called when this process ends."""
        if self._socket is not None:
            self._socket.close()


class Bell:
    """Sleeping in one wait; one thread at a time."""

    def __init__(self, bells: Bells) -> None:
        self._bells = bells
        self._poll = select.poll()
        self._poll.register(bells, select.POLLIN)
        self.waits = False

    def listen(self) -> None:
        """Begin to sleep: others send a datagram from now on. Look for messages after this, then call `sleep`."""
        self.waits = True
        self._bells.sleeps(True)

    def sleep(self, milliseconds: int) -> None:
        """Sleep until another rank or `ring` wakes this thread, or the time is over."""
        if self._poll.poll(milliseconds):
            self._bells.drain()

    def stop(self) -> None:
        """End what `listen` began."""
        self.waits = False
        self._bells.sleeps(False)

    def ring(self) -> None:
        """Wake the thread that sleeps, if one does. Any thread."""
        if self.waits:
            self._bells.wake_this()


def _open() -> tuple[Any, str]:
    """Return a socket for datagrams and its name; None and an empty name where there is no such name (not Linux)."""
    if sys.platform != "linux":
        return None, ""
    name = f"\0evalpool-{secrets.token_hex(16)}"
    sock = None
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.bind(name)
    except OSError:  # no descriptor is left
        if sock is not None:
            sock.close()
        return None, ""
    return sock, name


def _place() -> str:
    """Return a text that is the same in two processes only if they see each other's descriptors and local sockets."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read().strip()
        return " ".join([boot, *(os.readlink(f"/proc/self/ns/{each}") for each in ("pid", "net"))])
    except OSError:
        return ""


def _make_page(count: int) -> int:
    """Return the descriptor of memory with a byte for each rank; -1 if the system refuses."""
    fd = -1
    try:
        fd = os.memfd_create("evalpool-bells")
        os.ftruncate(fd, count)
    except OSError:
        if fd >= 0:
            os.close(fd)
        return -1
    return fd


def _map(pid: int, fd: int, count: int) -> Any:
    """Return the memory of this descriptor of another process; None if it cannot be had."""
    if fd < 0:
        return None
    try:
        ours = os.open(f"/proc/{pid}/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return mmap.mmap(ours, count)
    except OSError:
        return None
    finally:
        os.close(ours)
