"""RedisStorage against a real server: what is its own beside the contract."""

import logging
import pickle
import random
import threading

import pytest

from evalpool.errors import BadArgument, CorruptRecord, NewerSchema, StorageUnavailable
from evalpool.storage import Event, RedisStorage
from evalpool.storage import _redis as module
from storage.redis_server import RedisServer


def _created(search_id: str, number: int) -> Event:
    return Event("created", search_id, number, {"args": {"x": number}})


def test_no_server_is_a_clear_error_at_once() -> None:
    with pytest.raises(StorageUnavailable, match=r"localhost:1, database 0> does not answer"):
        RedisStorage(port=1)


def test_results_are_there_after_the_server_was_killed_and_started_again(redis_server: RedisServer) -> None:
    with RedisStorage.from_url(redis_server.url) as storage:
        search_id = storage.create_new_search()
        number = storage.reserve(search_id, 1)
        storage.append([_created(search_id, number)])
        redis_server.kill()
        redis_server.start()
        assert [record.number for record in storage.records(search_id)] == [0]
        assert storage.reserve(search_id, 1) == 1
        storage.append([_created(search_id, 1)])
        assert len(storage.load_all_job_ids(search_id)) == 2


@pytest.mark.slow
def test_what_was_acknowledged_survives_kills_and_nothing_is_done_twice(redis_server: RedisServer) -> None:
    rng = random.Random(0)
    with RedisStorage.from_url(redis_server.url) as storage:
        search_id = storage.create_new_search()
        stop = threading.Event()
        acknowledged: list[int] = []

        def work() -> None:
            while not stop.is_set():
                number = storage.reserve(search_id, 1)
                storage.append([_created(search_id, number), Event("recorded", search_id, number, MEASURED)])
                acknowledged.append(number)

        worker = threading.Thread(target=work)
        worker.start()
        for _ in range(4):
            enough = len(acknowledged) + rng.randrange(1, 40)
            while worker.is_alive() and len(acknowledged) < enough:
                threading.Event().wait(0.001)
            redis_server.kill()
            redis_server.start()
        stop.set()
        worker.join()

        # Each number once, none left out, each measurement once: no request was done twice.
        assert acknowledged == list(range(len(acknowledged)))
        records = storage.records(search_id)
        assert [record.number for record in records] == acknowledged
        assert {len(record.recorded) for record in records} == {1}


MEASURED = {"budget": 1, "objective": 0.5}


def test_a_request_that_was_done_before_its_answer_was_lost_is_not_done_again(redis_server: RedisServer) -> None:
    with RedisStorage.from_url(redis_server.url) as storage:
        search_id = storage.create_new_search()

        def twice(script: object, **arguments: object) -> object:
            first = original(**arguments)
            assert callable(script)
            second = original(**arguments)
            assert first in (1, second)
            return second

        for name in ("_reserve_script", "_append_script"):
            original = getattr(storage, name)
            script = original
            setattr(storage, name, lambda script=script, **arguments: twice(script, **arguments))
            if name == "_append_script":
                storage.append([_created(search_id, 0)])
                assert [event.kind for event in storage.read(None)[0]] == ["search", "created"]
            else:
                assert storage.reserve(search_id, 3) == 0
                assert storage.reserve(search_id, 1) == 3
            setattr(storage, name, original)


def test_a_server_that_stays_away_ends_in_a_clear_error_and_outcomes_are_kept(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    with RedisStorage.from_url(redis_server.url, timeout=0.1) as storage:
        search_id = storage.create_new_search()
        redis_server.kill()
        with pytest.raises(StorageUnavailable, match="does not answer"):
            storage.append([_created(search_id, 0)])
        storage.append_soon([_created(search_id, 1)])
        with pytest.raises(StorageUnavailable, match="does not answer"):
            storage.flush()
        redis_server.start()
        redis_server.wait_ready()
        storage.flush()
        assert storage.load_all_job_ids(search_id) == ["0.1"]
    assert sum(record.levelno == logging.ERROR for record in caplog.records) == 1


def test_a_password_is_needed_and_never_shown() -> None:
    with RedisServer.running(password="secret") as server:
        with RedisStorage.from_url(server.url) as storage:
            assert storage.create_new_search() == "0"
            assert "secret" not in repr(storage)
            with pickle.loads(pickle.dumps(storage)) as copy:
                assert copy.create_new_search() == "1"
        for url in (f"unix://:wrong@{server.path}", f"unix://{server.path}"):
            with pytest.raises(StorageUnavailable, match="check user and password"):
                RedisStorage.from_url(url)


def test_a_server_of_a_later_schema_is_refused(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.set(module.SCHEMA, 99)
        with pytest.raises(NewerSchema, match=r"schema 99.*Upgrade"):
            RedisStorage.from_url(redis_server.url)
        client.set(module.SCHEMA, "theirs")
        with pytest.raises(CorruptRecord, match="no schema of evalpool"):
            RedisStorage.from_url(redis_server.url)


@pytest.mark.parametrize(
    "fields",
    [
        {"other": "x"},
        {"events": "{"},
        {"events": b"\xff"},
        {"events": '[["created","0",7]]'},
        {"events": '[["created","0",7,{"submit":[1]}]]'},
        {"events": '{"created":1}'},
    ],
)
def test_a_malformed_entry_is_skipped_with_its_position_or_raised(
    redis_server: RedisServer, fields: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    with RedisStorage.from_url(redis_server.url) as storage:
        search_id = storage.create_new_search()
        with redis_server.client() as client:
            entry = client.xadd(module.LOG, fields).decode()
        storage.append([_created(search_id, 0)])
        assert storage.load_all_job_ids(search_id) == ["0.0"]
        [warning] = [record.getMessage() for record in caplog.records]
        assert f"entry {entry} of" in warning
    with RedisStorage.from_url(redis_server.url, on_malformed="raise") as storage:
        with pytest.raises(CorruptRecord, match=f"entry {entry} of"):
            storage.load_all_job_ids(search_id)


def test_a_malformed_event_hides_no_other_of_its_entry(redis_server: RedisServer) -> None:
    with RedisStorage.from_url(redis_server.url) as storage, redis_server.client() as client:
        storage.create_new_search()
        events = '[["created","0",0,{}],["created","0",1,{"submit":[1]}],7,["later","0",1,{}],["created","0",2,{}]]'
        client.xadd(module.LOG, {"events": events})
        assert storage.load_all_job_ids("0") == ["0.0", "0.2"]


def test_a_full_server_is_a_clear_error(redis_server: RedisServer) -> None:
    with RedisStorage.from_url(redis_server.url) as storage:
        search_id = storage.create_new_search()
        with redis_server.client() as client:
            client.config_set("maxmemory", 1)
            with pytest.raises(StorageUnavailable, match=r"refuses a request: .*maxmemory"):
                storage.append([_created(search_id, 0)])
            client.config_set("maxmemory", 0)
        storage.append([_created(search_id, 0)])


def test_a_server_that_takes_no_writes_can_be_looked_at(redis_server: RedisServer) -> None:
    with RedisStorage.from_url(redis_server.url) as storage, redis_server.client() as client:
        search_id = storage.create_new_search()
        job_id = storage.create_new_job(search_id)
        storage.store_job_out(job_id, 3.5)
        client.config_set("min-replicas-to-write", 1)  # as on a replica, every write is refused
        try:
            with RedisStorage.from_url(redis_server.url) as reader:
                assert reader.load_out_from_all_jobs(search_id) == [3.5]
                assert reader.load_job(job_id)["out"] == 3.5  # a second read goes on behind the first
            with pytest.raises(StorageUnavailable, match=r"refuses a request: .*NOREPLICAS"):
                storage.store_job_out(job_id, 4.0)
        finally:
            client.config_set("min-replicas-to-write", 0)


def test_large_batches_and_long_logs_are_read_whole(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENTRY", 7)
    monkeypatch.setattr(module, "PAGE", 3)
    with RedisStorage.from_url(redis_server.url) as storage:
        search_id = storage.create_new_search()
        storage.append([_created(search_id, number) for number in range(storage.reserve(search_id, 50), 50)])
        assert [record.number for record in storage.records(search_id)] == list(range(50))


def test_a_closed_storage_says_so_and_leaves_no_trace_of_its_writer(redis_server: RedisServer) -> None:
    storage = RedisStorage.from_url(redis_server.url)
    storage.create_new_search()
    storage.close()
    with pytest.raises(StorageUnavailable, match="is closed"):
        storage.create_new_search()
    with redis_server.client() as client:
        assert client.hlen(module.WRITERS) == 0


@pytest.mark.parametrize("url", ["http://localhost", "localhost:6379", ""])
def test_a_url_that_is_not_of_redis_is_refused(url: str) -> None:
    with pytest.raises(BadArgument, match="not the URL of a Redis server"):
        RedisStorage.from_url(url)
