"""A storage in a Redis server (6 or newer, or Valkey). It uses core commands only.

The keys are all in one hash slot, so that a Redis cluster can serve them, too:

=========================== ======================================================================
``{evalpool}:log``          a stream; an entry holds the events of one `append`, but at most 500
``{evalpool}:counters``     a hash: the next job number of each search; under ``""`` that of searches
``{evalpool}:writers``      a hash: the last request of each writer, and its answer
``{evalpool}:schema``       the schema version
=========================== ======================================================================

When a connection is lost after a request, the writer does not know whether the server executed the request. So each
request is one script, with the writer's name and an increasing number. If the writer sends the same request again, the
server answers from ``writers`` and does not execute it twice.

How long acknowledged events are kept depends on the server. Without ``appendonly yes``, they are lost when it ends.
With it and the default ``appendfsync everysec``, a server that is killed may lose the last two seconds, since it delays
writes while it flushes. With ``appendfsync always`` it loses nothing.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any, NamedTuple

from evalpool._checks import is_real
from evalpool._clock import monotonic
from evalpool._text import shown
from evalpool.errors import BadArgument, CorruptRecord, MissingExtra, NewerSchema, StorageUnavailable, UnknownSearch
from evalpool.storage._base import Cursor, Sharing
from evalpool.storage._codec import Malformed, OnMalformed, Reporter, loads, to_wire
from evalpool.storage._counters import check_next, refuse
from evalpool.storage._durable import DurableStorage
from evalpool.storage._events import SCHEMA_VERSION, Event
from evalpool.storage._fork import abandon
from evalpool.storage._lost import CursorLost
from evalpool.storage._written import SMALL, Encoder

__all__ = ["RedisStorage"]

LOG, COUNTERS, WRITERS, SCHEMA = (f"{{evalpool}}:{name}" for name in ("log", "counters", "writers", "schema"))

ENTRY = 500
"""The most events in one entry. One entry for each event would cost ten times as much to write and to read."""

PAGE = 1_000
"""The most entries in one reply."""

LAST_SEQUENCE = 2**64 - 1
"""The largest value of each of the two parts of an entry's id."""

REPLY_TIMEOUT = 10.0
"""Seconds to wait for one reply or connection, after which the connection counts as lost."""

FIRST_RETRY, LAST_RETRY = 0.05, 1.0
"""Seconds between attempts to reach the server: each wait is twice the one before, from the first to the last."""

# ARGV: writer, request, number of batches, the batches, new searches.
_APPEND = """
if tonumber(redis.call('HGET', KEYS[3], ARGV[1]) or '0') >= tonumber(ARGV[2]) then
    return 0
end
local last = 3 + tonumber(ARGV[3])
for i = 4, last do
    redis.call('XADD', KEYS[1], '*', 'events', ARGV[i])
end
for i = last + 1, #ARGV do
    redis.call('HSETNX', KEYS[2], ARGV[i], '0')
end
redis.call('HSET', KEYS[3], ARGV[1], ARGV[2])
return 1
"""

# ARGV: the id of an entry that was read, the next id, a count. Returns the entries from the next id on; false if the
# entry that was read does not exist anymore.
_READ_AFTER = """
if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then
    return false
end
return redis.call('XRANGE', KEYS[1], ARGV[2], '+', 'COUNT', ARGV[3])
"""

# ARGV: writer, request, search, n, cap or "". Returns whether numbers were taken (0 or 1) and the first number; false
# if there is no such search.
_RESERVE = """
local answered = redis.call('HGET', KEYS[2], ARGV[1])
if answered then
    local request, first = string.match(answered, '^(%d+) (%d+)$')
    if request == ARGV[2] then
        return {1, tonumber(first)}
    end
end
local first = redis.call('HGET', KEYS[1], ARGV[3])
if not first then
    if ARGV[3] ~= '' then
        return false
    end
    first = '0'
end
first = tonumber(first)
local n = tonumber(ARGV[4])
if ARGV[5] ~= '' and first + n > tonumber(ARGV[5]) then
    return {0, first}
end
redis.call('HSET', KEYS[1], ARGV[3], string.format('%d', first + n))
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2] .. ' ' .. string.format('%d', first))
return {1, first}
"""


class Batch(NamedTuple):
    entries: list[str]
    searches: list[str]


class RedisStorage(DurableStorage[Batch]):
    """Keeps events in a Redis server, which all processes that reach it can share.

    If results must survive a crash of the server, configure it with ``appendonly yes`` and ``appendfsync always``.

    Args:
        host, port, db, username, password, ssl: how to reach the server. `from_url` takes them as
            ``redis://[user:password@]host:port/db``, ``rediss://`` (TLS) or ``unix://[:password@]/path?db=0``.
        timeout: seconds to try again if the server does not answer, before `StorageUnavailable` is raised.
        on_malformed: what to do about an entry that cannot be read: ``"skip"`` it with a warning in the log,
            or ``"raise"`` `CorruptRecord`.
    """

    shared = Sharing.HOSTS

    def __init__(
        self,
        host: str = "localhost",
        port: int = 6379,
        db: int = 0,
        password: str | None = None,
        *,
        username: str | None = None,
        ssl: bool = False,
        timeout: float = 30.0,
        on_malformed: OnMalformed = "skip",
    ) -> None:
        server = {"host": host, "port": port, "db": db, "username": username, "password": password}
        self._set_up(server | ({"ssl": True} if ssl else {}), None, timeout, on_malformed)

    @classmethod
    def from_url(cls, url: str, *, timeout: float = 30.0, on_malformed: OnMalformed = "skip") -> RedisStorage:
        """Return a client of the server at `url`, which may have further options of `redis.Redis.from_url`."""
        client = cls.__new__(cls)
        client._set_up(None, url, timeout, on_malformed)
        return client

    def _set_up(
        self,
        server: dict[str, Any] | None,
        url: str | None,
        timeout: float,
        on_malformed: OnMalformed,
        wait: float = 0.0,
    ) -> None:
        super().__init__()
        if not (is_real(timeout) and timeout > 0):
            raise BadArgument(f"timeout={timeout!r}; give the seconds to wait for the server, more than 0.")
        self._server, self._url, self._timeout = server, url, timeout
        self._reporter = Reporter(on_malformed)
        self._begin()
        self._check_schema(wait)
        self._begin_writing(repr(self), remote=True)

    def _begin(self) -> None:
        """Make what only this process uses."""
        self._redis = self._client()
        self._append_script = self._redis.register_script(_APPEND)
        self._read_script = self._redis.register_script(_READ_AFTER)
        self._reserve_script = self._redis.register_script(_RESERVE)
        self._name = uuid.uuid4().hex
        self._requests = count(1)
        self._has_written = False  # whether the server may know our name
        self._reserve_lock = threading.Lock()
        self._pause = threading.Event()  # set by `close`, so that no thread waits for the server anymore

    # -- primitives ------------------------------------------------------------------------------------

    def read(self, after: Cursor | None) -> tuple[list[Event], Cursor]:
        events: list[Event] = []
        while True:
            if after is None:
                page = self._ask(partial(self._redis.xrange, LOG, "-", "+", count=PAGE))
            else:
                found = self._ask(partial(self._read_script, keys=[LOG], args=[after, _following(after), PAGE]))
                if found is None:
                    raise CursorLost(f"{self!r} no longer holds entry {after.decode()}, which was read.")
                page = [(entry, dict(zip(fields[::2], fields[1::2], strict=True))) for entry, fields in found]
            for entry, fields in page:
                events += self._events(entry, fields)
            if page:
                after = page[-1][0]
            if len(page) < PAGE:
                return events, after

    def _take(self, search_id: str, n: int, cap: int | None) -> int:
        with self._reserve_lock:
            self._has_written = True
            request = [f"{self._name}:n", next(self._requests), search_id, n, "" if cap is None else cap]
            answer = self._ask(partial(self._reserve_script, keys=[COUNTERS, WRITERS], args=request))
        if answer is None:
            self._search_known(search_id)  # raises with the ids of the searches if there is no such search
            raise UnknownSearch(f"search {search_id!r} of {self!r} has lost its counter.")
        done, first = answer
        check_next(first, n, f"{self!r}, search {search_id}")
        if not done:
            assert cap is not None
            raise refuse(search_id, first, n, cap)
        return int(first)

    # -- requests --------------------------------------------------------------------------------------

    def _pack(self, events: Sequence[Event], encoder: Encoder) -> Batch | None:
        parts = (events[start : start + ENTRY] for start in range(0, len(events), ENTRY))
        entries = [entry for part in parts for entry in self._entries(part, encoder)]
        searches = [event.search_id for event in events if event.kind == "search"]
        return Batch(entries, searches) if entries else None

    def _entries(self, part: Sequence[Event], encoder: Encoder) -> list[str]:
        """Encode these events as one entry, or as several if one would be too large."""
        entry = to_wire(part, encoder)
        if entry == "[]":
            return []
        if len(part) == 1 or len(entry) <= SMALL or len(entry) <= self._largest():
            return [entry]
        middle = len(part) // 2
        return self._entries(part[:middle], encoder) + self._entries(part[middle:], encoder)

    def _largest(self) -> int:
        from redis import exceptions

        try:
            found = self._redis.config_get("proto-max-bulk-len").get("proto-max-bulk-len")
        except exceptions.RedisError:  # not allowed; or the server does not answer, which the request will report
            found = None
        return (int(found) if found is not None else 512 * 1024 * 1024) - 10_000

    def _commit(self, batches: list[Batch]) -> None:
        """Write these batches in one request."""
        entries = [entry for batch in batches for entry in batch.entries]
        searches = [search_id for batch in batches for search_id in batch.searches]
        self._has_written = True
        request = [self._name, next(self._requests), len(entries), *entries, *searches]
        self._ask(partial(self._append_script, keys=[LOG, COUNTERS, WRITERS], args=request))

    def _ask(self, request: Callable[[], Any], *, wait: float | None = None) -> Any:
        """Send a request, again and again while the server does not answer, for `wait` seconds (None: the timeout)."""
        from redis import exceptions

        self._check_open()
        deadline = monotonic() + (self._timeout if wait is None else wait)
        wait = FIRST_RETRY
        while True:
            try:
                return request()
            except (exceptions.AuthenticationError, exceptions.AuthorizationError) as error:
                raise StorageUnavailable(f"{self!r} refuses the login ({error}): check user and password.") from error
            except (exceptions.ConnectionError, exceptions.TimeoutError) as error:
                left = deadline - monotonic()
                if left <= 0 or self._pause.wait(min(wait, left)):
                    raise StorageUnavailable(
                        f"{self!r} does not answer ({error}). Start the server, or check the address."
                    ) from error
                wait = min(2 * wait, LAST_RETRY)
            except exceptions.RedisError as error:
                raise StorageUnavailable(f"{self!r} refuses a request: {str(error).rstrip('.')}.") from error

    def _check_schema(self, wait: float) -> None:
        def look() -> Any:
            found = self._redis.get(SCHEMA)  # first, as a server that takes no writes can be looked at
            if found is None:
                self._redis.set(SCHEMA, SCHEMA_VERSION, nx=True)
                found = self._redis.get(SCHEMA)
            return found

        found = self._ask(look, wait=wait)
        if found is None or not (found.isdigit() and len(found) < 10):
            raise CorruptRecord(
                f"{self!r}: the key {SCHEMA!r} holds {shown(found)}, which is no schema of evalpool; "
                "does the database belong to another program?"
            )
        if int(found) > SCHEMA_VERSION:
            raise NewerSchema(
                f"{self!r} was written by a later evalpool: schema {int(found)}, and this one knows "
                f"{SCHEMA_VERSION}. Upgrade evalpool to use it."
            )

    def _events(self, entry: bytes, fields: dict[bytes, bytes] | None) -> list[Event]:
        text = (fields or {}).get(b"events")
        place = f"entry {entry.decode()} of {self!r}"
        try:
            if text is None:
                raise Malformed("it has no field 'events'")
            return self._unpack(loads(text), place)
        except ValueError as error:
            self._reporter.report(place, str(error))
            return []

    # -- processes -------------------------------------------------------------------------------------

    def _client(self) -> Any:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError:
            raise MissingExtra.of("RedisStorage needs the redis package", "redis") from None
        # The retries of the redis package could execute a request twice; ours cannot.
        options: dict[str, Any] = {
            "socket_timeout": REPLY_TIMEOUT,
            "socket_connect_timeout": REPLY_TIMEOUT,
            "retry": Retry(NoBackoff(), 0),
        }
        if self._url is None:
            return redis.Redis(**(self._server or {}), **options)
        try:
            return redis.Redis.from_url(self._url, **options)
        except ValueError as error:
            raise BadArgument(f"this is not the URL of a Redis server: {error}.") from None

    def _release(self, flushed: bool) -> None:
        if self._closed:
            return
        try:
            if flushed and self._has_written:  # this writer's last request will not be sent again
                self._ask(partial(self._redis.hdel, WRITERS, self._name, f"{self._name}:n"))
        finally:
            self._pause.set()
            self._redis.close()

    def _renew(self) -> None:
        abandon(self._redis)
        self._begin()

    def __reduce__(self) -> tuple[Any, ...]:
        return _open, (self._server, self._url, self._timeout, self._reporter.what)

    def __repr__(self) -> str:
        # Without the URL, which may hold the password.
        at = self._redis.connection_pool.connection_kwargs
        place = at["path"] if "path" in at else f"{at.get('host', 'localhost')}:{at.get('port', 6379)}"
        return f"<RedisStorage at {place}, database {at.get('db', 0)}>"


def _open(server: dict[str, Any] | None, url: str | None, timeout: float, on_malformed: OnMalformed) -> RedisStorage:
    client = RedisStorage.__new__(RedisStorage)
    # Wait for the server, as a worker may start while the server restarts.
    client._set_up(server, url, timeout, on_malformed, wait=timeout)
    return client


def _following(entry: bytes) -> str:
    """Return the smallest id after this one. (Redis has ranges that exclude their start only since 6.2.)"""
    time_part, sequence = map(int, entry.split(b"-"))
    if sequence < LAST_SEQUENCE:
        return f"{time_part}-{sequence + 1}"
    return f"{min(time_part + 1, LAST_SEQUENCE)}-0"  # after the largest possible id there is no entry to miss
