"""Storages by name and by URL."""

import importlib
import os
import socket
import threading
from pathlib import Path

import pytest

from evalpool.cli._stores import open_to_read, open_to_write
from evalpool.errors import BadArgument, StorageUnavailable, UnknownMethod
from evalpool.storage import JournalStorage, MemoryStorage, NullStorage, SQLiteStorage, Storage, storage_from_url
from evalpool.storage._registry import STORAGES
from storage.redis_server import RedisServer


def test_storages_are_made_by_name(tmp_path: Path) -> None:
    assert isinstance(Storage.create("memory"), MemoryStorage)
    assert isinstance(Storage.create("null", {}), NullStorage)
    with Storage.create("sqlite", {"path": tmp_path / "a.db"}) as storage:
        assert isinstance(storage, SQLiteStorage)
    with Storage.create("journal", {"directory": tmp_path / "runs"}) as storage:
        assert isinstance(storage, JournalStorage)
    with Storage.create("shared_memory") as storage:
        assert storage.create_new_search() == "0"


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownMethod, match=r"'mongo'.*journal, memory, mpi, null, ray, redis"):
        Storage.create("mongo")


def test_paths_in_urls_are_relative_behind_three_slashes_and_absolute_behind_four(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with storage_from_url("sqlite:///my%20results.db"):
        assert (tmp_path / "my results.db").is_file()
    with storage_from_url(f"sqlite:///{tmp_path}/absolute.db"):
        assert (tmp_path / "absolute.db").is_file()
    with storage_from_url("journal:///runs"):
        assert (tmp_path / "runs").is_dir()
    assert isinstance(storage_from_url("memory://"), MemoryStorage)
    assert isinstance(storage_from_url("null://"), NullStorage)


@pytest.mark.parametrize("name", ["caf\udce9.db", "caf\udce9"])
def test_a_store_whose_name_is_not_utf_8_is_named_by_its_path_and_by_its_url(tmp_path: Path, name: str) -> None:
    path = str(tmp_path / name)
    if name == "caf\udce9":
        os.mkdir(path)
    with open_to_write(path) as storage:
        storage.create_new_search()
    assert os.path.exists(path)
    kind = "sqlite" if name.endswith(".db") else "journal"
    for store in (path, f"{kind}:///{tmp_path}/{name}", f"{kind}:///{tmp_path}/caf%E9{name[4:]}"):
        with open_to_read(store) as storage:
            assert storage.load_all_search_ids() == ["0"]


def test_a_redis_url_is_read_by_the_client(redis_server: RedisServer) -> None:
    with storage_from_url(f"redis+{redis_server.url}") as storage:
        assert storage.create_new_search() == "0"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("results.db", "not the URL of a storage"),
        ("", "not the URL of a storage"),
        (None, "not the URL of a storage"),
        ("sqlite:results.db", "not the URL of a storage"),
        ("redis://[::1/0", "not the URL of a storage"),
        ("sqlite://results.db", "three slashes"),
        ("sqlite:///", "names no path"),
        ("journal://host/dir", "three slashes"),
        ("sqlite:///a.db?timeout=3", "no options"),
        ("memory://somewhere", "nothing behind"),
        ("mongo://host", "There is no storage 'mongo'"),
    ],
)
def test_a_url_that_cannot_be_read_is_refused_with_the_right_form(url: str, message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        storage_from_url(url)


def test_a_url_with_tls_begins_with_a_handshake_and_one_without_does_not(redis_server: RedisServer) -> None:
    for scheme, first_byte in (("rediss", b"\x16"), ("redis", b"*")):
        with socket.create_server(("127.0.0.1", 0)) as server:
            received: list[bytes] = []

            def answer(server: socket.socket = server, received: list[bytes] = received) -> None:
                peer, _ = server.accept()
                with peer:
                    received.append(peer.recv(1))

            thread = threading.Thread(target=answer)
            thread.start()
            with pytest.raises(StorageUnavailable):
                storage_from_url(f"{scheme}://127.0.0.1:{server.getsockname()[1]}/0")
            thread.join()
            assert received == [first_byte]


def test_a_redis_server_is_reached_over_tcp() -> None:
    with RedisServer.on_loopback() as port:
        with Storage.create("redis", {"host": "127.0.0.1", "port": port, "db": 1}) as storage:
            assert storage.create_new_search() == "0"
        with storage_from_url(f"redis://127.0.0.1:{port}/1") as storage:
            assert storage.load_all_search_ids() == ["0"]


class ThirdParty(MemoryStorage):
    pass


def test_other_packages_add_storages_by_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "their_storage-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-storage\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[evalpool.storages]\nthird = {__name__}:ThirdParty\nbroken = {__name__}:Path\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    assert isinstance(Storage.create("third"), ThirdParty)
    assert isinstance(storage_from_url("third://"), ThirdParty)
    assert "third" in STORAGES
    with pytest.raises(BadArgument, match="no subclass of Storage"):
        Storage.create("broken")
