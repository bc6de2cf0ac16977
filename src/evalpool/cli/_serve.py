"""``evalpool serve``: one page on loopback that shows a storage's searches while they run.

Three rules decide who may read it: it listens on 127.0.0.1, which keeps out other machines; each request needs the
secret in the address, which keeps out other users of this machine and other pages in the browser; the Host header must
be a loopback name, which keeps out a page that rebinds its own name to 127.0.0.1. No request changes anything. The
content of a storage is shown as text only, under a policy that runs no script but the page's own.
"""

from __future__ import annotations

import contextlib
import enum
import hmac
import json
import secrets
import socket
import socketserver
import threading
from contextlib import ExitStack
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from evalpool._guard import Guard, guarded_thread
from evalpool._log import get_logger
from evalpool.cli._feed import Feed
from evalpool.cli._stores import Awaited, followed
from evalpool.errors import BackendError, BadArgument, StorageError

if TYPE_CHECKING:
    from typing_extensions import Self

    from evalpool.storage import Storage

__all__ = ["Server"]

logger = get_logger("evalpool.serve")

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
SCRIPTS = ("model.js", "draw.js", "objective.js", "timeline.js", "table.js", "detail.js", "main.js")
IDLE = 60
"""Seconds after which a connection without requests is closed."""
MOST_UNPROVEN = 32
"""The most connections at a time that have not shown the secret. Each takes a thread and a descriptor: when there are
more, the oldest is closed, so that many silent connections keep nobody out. A browser opens six at the most."""


class Server:
    """Serves the page of a storage; in threads of its own, from `with` to its end.

    Args:
        storage: what to show; or its URL or path, which may not exist yet.
        name: of the storage, as the page shows it; its repr if not given.
        search_id: the search that is shown first; the latest if not given.
        port: of 127.0.0.1; 0 for a free one.

    Raises:
        BackendError: the port cannot be used.
        BadArgument: a text does not name a storage that outlives its program.
    """

    def __init__(
        self,
        storage: Storage | Awaited | str,
        *,
        name: str | None = None,
        search_id: str | None = None,
        port: int = 0,
    ) -> None:
        self._opened = ExitStack()
        self._feed = Feed(followed(storage, self._opened))
        self._token = secrets.token_urlsafe(24)
        shown = storage if isinstance(storage, str) else repr(storage)
        page = _Page(_without_password(name or shown), search_id)
        try:
            self._http = _Http(port, self._token, self._feed, page)
        except (OSError, OverflowError, TypeError) as error:
            self._opened.close()
            raise BackendError(
                f"port {port!r} of 127.0.0.1 cannot be used ({error}); give another, or none."
            ) from error
        self._thread = guarded_thread("evalpool-serve", Guard("The thread that serves the page"), self._serve)

    @property
    def url(self) -> str:
        """The address of the page, with its secret."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/{self._token}/"

    def wait(self) -> None:
        """Block until the thread that serves ends, or an interrupt comes."""
        self._thread.join()

    def _serve(self) -> bool:
        self._http.serve_forever(poll_interval=0.2)
        return False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._opened:
            self._feed.close()
            self._http.shutdown()
            self._http.server_close()
            self._thread.join()


class _Page:
    """The page with its style and scripts; each rendering has a nonce of its own."""

    def __init__(self, name: str, search_id: str | None) -> None:
        folder = resources.files("evalpool.cli") / "page"
        self._page = (folder / "page.html").read_text("utf-8")
        self._style = (folder / "page.css").read_text("utf-8")
        self._script = "\n".join((folder / script).read_text("utf-8") for script in SCRIPTS)
        # In a script's text, "<" could end it; as an escape in a JSON string it cannot.
        self._start = json.dumps({"name": name, "search": search_id}).replace("<", "\\u003c")

    def render(self, nonce: str) -> bytes:
        parts = {"NONCE": nonce, "STYLE": self._style, "SCRIPT": self._script, "START": self._start}
        page = self._page
        for name, text in parts.items():
            page = page.replace(f"@@{name}@@", text)
        return page.encode("utf-8")


class _State(enum.Enum):
    """The state of a connection."""

    UNPROVEN = enum.auto()
    PROVEN = enum.auto()
    CLOSING = enum.auto()
    """It is closed because there were too many others."""


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    """With the five of the standard library a connection waits for seconds if others come at the same moment."""

    def __init__(self, port: int, token: str, feed: Feed, page: _Page) -> None:
        self.token, self.feed, self.page = token.encode("ascii"), feed, page
        self._open: dict[socket.socket, _State] = {}  # in the order in which they came
        self._changed = threading.Condition()
        super().__init__(("127.0.0.1", port), _RequestHandler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            unproven = self._in_state(_State.UNPROVEN)
            for other in unproven[: max(0, len(unproven) + 1 - MOST_UNPROVEN)]:
                self._open[other] = _State.CLOSING
                _shut_down(other)
            # Their threads close them: a new connection waits here if these do not end as fast as others come.
            self._changed.wait_for(lambda: len(self._in_state(_State.CLOSING)) < MOST_UNPROVEN, timeout=IDLE)
            self._open[request] = _State.UNPROVEN
        super().process_request(request, client_address)

    def _in_state(self, wanted: _State) -> list[socket.socket]:
        return [request for request, state in self._open.items() if state is wanted]

    def mark_proven(self, request: socket.socket) -> None:
        """Note that a connection has shown the secret: it is not closed for another one."""
        with self._changed:
            if self._open.get(request) is _State.UNPROVEN:
                self._open[request] = _State.PROVEN

    def shutdown_request(self, request: Any) -> None:
        with self._changed:
            self._open.pop(request, None)
            self._changed.notify()
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        # Browsers keep connections, each with a thread of ours that waits for the next request.
        with self._changed:
            for request in self._open:
                _shut_down(request)

    def server_bind(self) -> None:
        # Not HTTPServer's, which asks the name service for the name of this address.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.debug("A request from %s ended early.", client_address, exc_info=True)  # a tab was closed


class _RequestHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "evalpool"
    sys_version = ""
    timeout = IDLE
    server: _Http

    def do_GET(self) -> None:
        host = self.headers.get("Host", "")
        if host.rpartition(":")[0] not in LOOPBACK_NAMES and host not in LOOPBACK_NAMES:
            self._text(HTTPStatus.FORBIDDEN, "This page is only served to this machine, as localhost or 127.0.0.1.\n")
            return
        parts = urlsplit(self.path)
        token, slash, what = parts.path.removeprefix("/").partition("/")
        if not hmac.compare_digest(token.encode("utf-8", "surrogateescape"), self.server.token) or not slash:
            self._text(HTTPStatus.NOT_FOUND, "Open the whole address that evalpool serve has printed.\n")
            return
        self.server.mark_proven(self.connection)
        try:
            self._answer(what, {key: values[-1] for key, values in parse_qs(parts.query).items()})
        except (StorageError, BadArgument) as error:
            self._text(HTTPStatus.NOT_FOUND, f"{error}\n")

    do_HEAD = do_GET

    def _refuse(self) -> None:
        self.close_connection = True  # a body may follow, which we do not read
        self._text(HTTPStatus.METHOD_NOT_ALLOWED, "This page is read only.\n", {"Allow": "GET, HEAD"})

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

    def _answer(self, what: str, query: dict[str, str]) -> None:
        if what == "":
            nonce = secrets.token_urlsafe(16)
            policy = (
                f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
                "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            )
            self._send(
                HTTPStatus.OK, "text/html; charset=utf-8", self.server.page.render(nonce),
                {"Content-Security-Policy": policy},
            )  # fmt: skip
        elif what == "rows":
            found = self.server.feed.rows(query.get("search") or None, _whole(query, "after"))
            self._json(found)
        elif what == "job":
            self._json(self.server.feed.detail(query.get("search", ""), _whole(query, "number")))
        else:
            self._text(HTTPStatus.NOT_FOUND, "There is no such address; this server has the page, rows and job.\n")

    def _json(self, value: dict[str, Any]) -> None:
        self._send(HTTPStatus.OK, "application/json", json.dumps(value, allow_nan=False).encode("ascii"), {})

    def _text(self, status: HTTPStatus, text: str, headers: dict[str, str] | None = None) -> None:
        self._send(status, "text/plain; charset=utf-8", text.encode("utf-8", "replace"), headers or {})

    def _send(self, status: HTTPStatus, kind: str, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        fixed = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        for name, value in {**fixed, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        # Without the path, which holds the secret.
        logger.debug("%s from %s", self.command or "a request", self.address_string())


def _shut_down(connection: socket.socket) -> None:
    """Wake the thread that waits for this connection's next request; it closes the connection."""
    with contextlib.suppress(OSError):  # it has just ended
        connection.shutdown(socket.SHUT_RDWR)


def _whole(query: dict[str, str], name: str) -> int:
    text = query.get(name, "0")
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise BadArgument(f"{name} is {text!r}; give a whole number.")
    return int(text)


def _without_password(text: str) -> str:
    scheme, mark, rest = text.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if mark and "@" in rest else text
