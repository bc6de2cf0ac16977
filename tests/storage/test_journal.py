"""JournalStorage: what is its own beside the contract."""

import contextlib
import logging
import os
import pickle
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evalpool.errors import BadArgument, CorruptRecord, NewerSchema, StorageUnavailable, UnknownSearch
from evalpool.outcomes import JobStatus
from evalpool.storage import Event, JournalStorage, new_owner
from storage.workloads import workloads


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def storage(path: Path) -> Iterator[JournalStorage]:
    with JournalStorage(path) as storage:
        yield storage


@pytest.fixture
def written(path: Path) -> Path:
    """The only file of a journal of one search and five finished jobs, whose writer is gone."""
    with JournalStorage(path) as storage:
        with workloads(1, "write_jobs", storage, 5) as [process]:
            process.rest()
    [file] = (path / "writers").iterdir()
    return file


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def _outs(storage: JournalStorage) -> list[object]:
    return storage.load_out_from_all_jobs("0")


def test_results_are_there_when_the_directory_is_opened_again(path: Path) -> None:
    with JournalStorage(path) as storage:
        job_id = storage.create_new_job(storage.create_new_search())
        storage.store_job_out(job_id, 0.0)
    with JournalStorage(str(path)) as storage:
        assert storage.load_job(job_id)["out"] == 0.0
        assert storage.create_new_job("0") == "0.1"
        assert storage.create_new_search() == "1"


def test_programs_that_make_one_journal_at_the_same_moment_all_use_it(path: Path) -> None:
    class Late(JournalStorage):
        """Another program makes the journal just after this one has seen that there is none."""

        def _mark(self) -> None:
            self.other = JournalStorage(path)
            super()._mark()

    with Late(path) as late, late.other as other:
        assert [other.create_new_search(), late.create_new_search()] == ["0", "1"]
        assert late.load_all_search_ids() == other.load_all_search_ids() == ["0", "1"]
    assert not [name for name in os.listdir(path) if name.startswith(".")]


def test_each_writer_has_its_own_file_made_with_its_first_record(storage: JournalStorage, path: Path) -> None:
    with JournalStorage(path) as reader, JournalStorage(path) as writer:
        search_id = storage.create_new_search()
        assert reader.load_all_search_ids() == [search_id]
        writer.store_search_value(search_id, "k", 1)
        assert len(list((path / "writers").iterdir())) == 2
        assert reader.load_search_value(search_id, "k") == 1


def test_a_client_that_has_read_a_value_replaces_it_whatever_its_clock_says(
    storage: JournalStorage, path: Path
) -> None:
    search_id = storage.create_new_search()
    storage._clock += 3_600_000_000  # an hour ahead
    storage.store_search_value(search_id, "k", "early")
    with JournalStorage(path) as behind:
        assert behind.load_search_value(search_id, "k") == "early"
        behind.store_search_value(search_id, "k", "late")
    assert storage.load_search_value(search_id, "k") == "late"


# -- damage --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_journal_cut_at_any_byte_of_its_last_three_records_is_read_up_to_there(
    written: Path, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = written.read_bytes()
    ends = [position + 1 for position, byte in enumerate(data) if byte == ord("\n")]
    for cut in range(ends[-4], len(data)):
        written.write_bytes(data[:cut])
        caplog.clear()
        whole = sum(end <= cut for end in ends) - 1  # without that of the search
        with JournalStorage(path) as storage:
            assert _outs(storage) == [float(n) for n in range(whole)]
            assert _outs(storage) == [float(n) for n in range(whole)]
        incomplete = cut not in ends
        assert len(_warnings(caplog)) == incomplete
        assert not incomplete or "its last" in _warnings(caplog)[0]


def test_a_journal_with_an_incomplete_end_can_be_continued(written: Path, path: Path) -> None:
    written.write_bytes(written.read_bytes()[:-7])
    with JournalStorage(path) as storage:
        number = storage.reserve("0", 1)
        storage.append([Event("created", "0", number, {}), Event("out", "0", number, {"out": "new"})])
        assert (number, _outs(storage)) == (5, [0.0, 1.0, 2.0, 3.0, "new"])
    with JournalStorage(path) as storage:
        assert _outs(storage) == [0.0, 1.0, 2.0, 3.0, "new"]


def test_whoever_asks_for_it_gets_an_incomplete_end_as_an_error(written: Path, path: Path) -> None:
    written.write_bytes(written.read_bytes()[:-7])
    with JournalStorage(path, on_malformed="raise") as storage:
        with pytest.raises(CorruptRecord, match=rf"{re.escape(written.name)}, byte \d+ .*on_malformed=\"skip\""):
            _outs(storage)


def test_the_unfinished_end_of_a_living_writer_is_waited_for(
    storage: JournalStorage, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage.create_new_search()
    storage.create_new_job("0")
    [file] = (path / "writers").iterdir()
    data = file.read_bytes()
    file.write_bytes(data[:-10])
    with JournalStorage(path) as reader:
        assert reader.load_all_job_ids("0") == []
        assert reader.load_all_job_ids("0") == []
        file.write_bytes(data)
        assert reader.load_all_job_ids("0") == ["0.0"]
    assert _warnings(caplog) == []


@pytest.mark.parametrize("record", [1, 2, 4])
def test_a_damaged_record_is_skipped_with_its_position_or_raised(
    written: Path, path: Path, record: int, caplog: pytest.LogCaptureFixture
) -> None:
    lines = written.read_bytes().splitlines(keepends=True)
    lines[record] = lines[record][:40] + b"?" + lines[record][41:]
    written.write_bytes(b"".join(lines))
    with JournalStorage(path) as storage:
        assert len(_outs(storage)) == 4
        assert len(_outs(storage)) == 4
    [warning] = _warnings(caplog)
    assert f"{written}, byte {sum(map(len, lines[:record]))} " in warning
    with JournalStorage(path, on_malformed="raise") as storage:
        with pytest.raises(CorruptRecord, match="length or checksum"):
            _outs(storage)


@pytest.mark.parametrize("position", [0, 40, -1])
def test_a_damaged_record_takes_no_neighbours_along(
    storage: JournalStorage, path: Path, position: int, caplog: pytest.LogCaptureFixture
) -> None:
    search_id = storage.create_new_search()
    storage.append([Event("created", search_id, number, {"args": {}}) for number in range(4)])
    [file] = (path / "writers").iterdir()
    lines = [bytearray(line) for line in file.read_bytes().splitlines(keepends=True)]
    [damaged] = [line for line in lines if b'"created","0",1,' in line]
    damaged[position] ^= 0x40
    file.write_bytes(b"".join(lines))
    with JournalStorage(path) as reader:
        whole = ["0.0", "0.1", "0.2", "0.3"]
        if position != -1:  # a damaged line break costs no record
            whole.remove("0.1")
        assert reader.load_all_job_ids(search_id) == whole
    assert len(_warnings(caplog)) == (position != -1)


def test_a_malformed_event_hides_no_other_of_its_record(
    storage: JournalStorage, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage.create_new_search()
    events = b'[1,[["created","0",0,{}],["created","0",1,{"submit":[1]}],7,["later","0",1,{}],["created","0",2,{}]]]'
    (path / "writers" / "other.log").write_bytes(_record(events))
    assert storage.load_all_job_ids("0") == ["0.0", "0.2"]
    assert [re.findall(r"event (\d)", warning) for warning in _warnings(caplog)] == [["1"], ["2"], ["3"]]


def test_a_journal_whose_writer_had_a_clock_that_was_ahead_is_read_and_continued(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with JournalStorage(path) as ahead:
        ahead._clock = (time.time_ns() + 3 * 365 * 86_400 * 10**9) // 1000  # three years
        search_id = ahead.create_new_search()
        ahead.store_search_value(search_id, "k", "ahead")
        ahead.append([Event("created", search_id, ahead.reserve(search_id, 1), {"args": {}})])
    with JournalStorage(path) as right:
        assert right.load_all_job_ids(search_id) == ["0.0"]
        right.append([Event("finished", search_id, 0, {"objective": 1.0})])
        right.store_search_value(search_id, "k", "right")
    with JournalStorage(path) as reader:
        [record] = reader.results(search_id)
        assert (record.objective, reader.load_search_value(search_id, "k")) == (1.0, "right")
    assert _warnings(caplog) == []


def _record(text: bytes) -> bytes:
    from zlib import crc32

    return b"%08x %d %s\n" % (crc32(text), len(text), text)


@pytest.mark.parametrize(
    "text",
    [
        b"7",
        b"[1]",
        b'["1",[]]',
        b'[99999999999999999999,[["created","0",0,{}]]]',
        b'[1,{"created":0}]',
        b'[1,[["created","0",0]]]',
        b'[1,[["created","../../etc",0,{"submit":[1]}]]]',
        b'[1,[["created",7,0,{}]]]',
        b'[1,[[["created"],"0",0,{}]]]',
        b"\xff\xfe",
        b"[" * 3000,
    ],
)
def test_a_malformed_record_of_someone_else_is_skipped(
    storage: JournalStorage, path: Path, text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    storage.create_new_job(storage.create_new_search())
    (path / "writers" / "other.log").write_bytes(_record(text))
    assert storage.load_all_job_ids("0") == ["0.0"]
    [warning] = _warnings(caplog)
    assert "other.log, byte 0 is not a record of evalpool" in warning


def test_a_search_id_that_someone_else_wrote_cannot_leave_the_directory(storage: JournalStorage, path: Path) -> None:
    text = b'[1,[["search","../../evil",null,{"start":1.0,"schema":1}]]]'
    (path / "writers" / "other.log").write_bytes(_record(text))
    with pytest.raises(UnknownSearch, match="are numbers"):
        storage.create_new_job("../../evil")
    with pytest.raises(UnknownSearch, match="are numbers"):
        storage.append([Event("search", "../../evil", None, {"start": 1.0, "schema": 1})])
    assert not (path.parent / "evil").exists()


def test_a_link_that_is_no_count_is_named(storage: JournalStorage, path: Path) -> None:
    search_id = storage.create_new_search()
    os.symlink("/etc/passwd", path / "numbers" / "0" / "0")
    with pytest.raises(CorruptRecord, match="numbers/0/0 points to"):
        storage.reserve(search_id, 1)


@pytest.mark.slow
def test_a_reader_that_saw_a_write_before_it_was_taken_back_misses_nothing_after_it(
    storage: JournalStorage, path: Path
) -> None:
    search_id = storage.create_new_search()
    with JournalStorage(path) as reader:
        reader.load_all_search_ids()
        # What the reader saw for a moment, as while a disk runs full in the middle of a write.
        [file] = (path / "writers").iterdir()
        end = file.stat().st_size
        with open(file, "ab") as other:
            other.write(_record(b'[1,[["value","0",null,{"seen":"for a moment"}]]]') * 5)
        assert reader.load_search_value(search_id, "seen") == "for a moment"
        assert storage._file._file is not None
        os.close(storage._file._file)
        storage._file._file = os.open(file, os.O_RDONLY)  # the next write fails
        with pytest.raises(StorageUnavailable, match="cannot write"):
            storage.store_search_value(search_id, "k", 0)
        os.truncate(file, end)
        for n in range(3):
            storage.store_search_value(search_id, "k", n)
            assert reader.load_search_value(search_id, "k") == n
        assert len(list((path / "writers").iterdir())) == 2


# -- directories that are not ours ---------------------------------------------------------------------------


def test_a_directory_with_other_things_is_refused_and_left_alone(path: Path) -> None:
    path.mkdir()
    (path / "thesis.tex").write_text("...")
    with pytest.raises(CorruptRecord, match=r"no journal of evalpool; it holds thesis\.tex"):
        JournalStorage(path)
    assert [file.name for file in path.iterdir()] == ["thesis.tex"]


def test_an_empty_directory_becomes_a_journal(path: Path) -> None:
    path.mkdir()
    with JournalStorage(path) as storage:
        assert storage.create_new_search() == "0"


def test_a_marker_that_is_not_ours_is_refused(path: Path) -> None:
    JournalStorage(path).close()
    for text in ("{}", "[]", "", '{"format":"evalpool journal","schema":"1"}'):
        (path / "evalpool-journal.json").write_text(text)
        with pytest.raises(CorruptRecord, match="not a valid evalpool journal"):
            JournalStorage(path)


def test_a_later_schema_is_refused_with_advice(path: Path) -> None:
    JournalStorage(path).close()
    (path / "evalpool-journal.json").write_text('{"format":"evalpool journal","schema":99}')
    with pytest.raises(NewerSchema, match=r"schema 99.*Upgrade"):
        JournalStorage(path)


def test_a_missing_parent_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match=r"there is no directory .*/nowhere; make it first"):
        JournalStorage(tmp_path / "nowhere" / "runs")


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadArgument, match="is a file"):
        JournalStorage(tmp_path / "file")


def test_a_directory_that_goes_away_is_an_error_in_words(path: Path) -> None:
    storage = JournalStorage(path)
    search_id = storage.create_new_search()
    shutil.rmtree(path)
    for use in (lambda: storage.reserve(search_id, 1), storage.close):
        with pytest.raises(StorageUnavailable, match="was deleted or renamed"):
            use()
    with pytest.raises(StorageUnavailable, match="the directory is gone"):
        storage.load_all_job_ids(search_id)


def test_a_closed_storage_says_so(path: Path) -> None:
    storage = JournalStorage(path)
    storage.close()
    with pytest.raises(StorageUnavailable, match="is closed"):
        storage.create_new_search()


def test_a_copy_keeps_the_options_and_writes_its_own_file(path: Path) -> None:
    with JournalStorage(path, on_malformed="raise") as storage:
        with pickle.loads(pickle.dumps(storage)) as copy:
            assert (copy._reporter.what, repr(copy)) == ("raise", repr(storage))
            assert copy._file.path != storage._file.path


# -- claims ----------------------------------------------------------------------------------------------------


def test_a_job_whose_claimant_died_before_it_said_so_is_claimed_by_the_next(storage: JournalStorage) -> None:
    search_id = storage.create_new_search()
    number = storage.reserve(search_id, 1)
    storage.append([Event("created", search_id, number, {"owner": "gone"})])
    dead, living, heir = new_owner(), new_owner(), new_owner()
    for owner, ttl in ((dead, 0), (living, 3600), (heir, 3600)):
        storage.lease(search_id, owner, ttl=ttl)
    assert storage._claim(search_id, number, 2, dead) == 2
    [record] = storage.claim_lost(search_id, heir)
    assert (record.attempts, record.owner) == (2, heir)


def test_a_job_that_a_living_claimant_is_about_to_queue_is_its_own(storage: JournalStorage) -> None:
    search_id = storage.create_new_search()
    number = storage.reserve(search_id, 1)
    storage.append([Event("created", search_id, number, {"owner": "gone"})])
    living, heir = new_owner(), new_owner()
    for owner in (living, heir):
        storage.lease(search_id, owner, ttl=3600)
    storage.load_all_job_ids(search_id)
    assert storage._claim(search_id, number, 2, living) == 2
    assert storage.claim_lost(search_id, heir) == []


def test_a_result_that_was_written_before_a_claim_but_read_after_it_counts(storage: JournalStorage, path: Path) -> None:
    search_id = storage.create_new_search()
    number = storage.reserve(search_id, 1)
    storage.append([Event("created", search_id, number, {"owner": "slow"})])
    with JournalStorage(path) as slow:
        slow.append([Event("finished", search_id, number, {"status": "DONE", "objective": 0.5, "attempts": 1})])
        [file] = (path / "writers").glob(os.path.basename(slow._file.path))
        hidden = file.rename(path / "not yet visible")  # as on another host, for a while
        heir = new_owner()
        storage.lease(search_id, heir, ttl=3600)
        assert [record.number for record in storage.claim_lost(search_id, heir)] == [number]
        hidden.rename(file)
        record = storage.load_record(f"{search_id}.{number}")
    assert (record.status, record.objective, record.owner) == (JobStatus.DONE, 0.5, "slow")


# -- numbers -----------------------------------------------------------------------------------------------------


def test_a_new_client_finds_the_end_of_the_chain_without_walking_it(path: Path) -> None:
    with JournalStorage(path) as storage:
        search_id = storage.create_new_search()
        for n in (1, 5, 2):
            storage.reserve(search_id, n)
    with JournalStorage(path) as late, JournalStorage(path) as other:
        assert late.reserve(search_id, 1) == 8
        assert other.reserve(search_id, 0) == 9
        assert late.reserve(search_id, 4) == 9
        assert other.reserve(search_id, 0) == 13


def test_a_request_that_a_file_server_did_twice_takes_its_numbers_once(storage: JournalStorage) -> None:
    search_id = storage.create_new_search()
    storage.reserve(search_id, 2)
    chain = storage._chains[search_id]
    text = f"3:{chain._token}.{next(chain._tries) + 1}"
    os.symlink(text, chain._path(2))  # done, but the answer was lost, and now it "exists"
    assert storage.reserve(search_id, 3) == 2
    assert storage.reserve(search_id, 1) == 5


@pytest.mark.slow
def test_of_four_clients_that_claim_at_any_moment_each_lost_job_goes_to_one(tmp_path: Path) -> None:
    """Between any two steps of one claim the other three claim as well."""
    directory = tmp_path / "runs"
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(JournalStorage(directory)) for _ in range(4)]
        search = clients[0].create_new_search()
        for step in ("look", "first claim", "second claim", "before the record"):
            gone = new_owner() + "9"  # of a process that started at another time
            first = clients[0].reserve(search, 2)
            clients[0].append([Event("created", search, first + n, {"owner": gone}) for n in range(2)])
            given: dict[str, list[str]] = {}

            def claim(client: JournalStorage, given: dict[str, list[str]] = given) -> None:
                owner = new_owner()
                client.lease(search, owner, 30)
                given[owner] = [record.job_id for record in client.claim_lost(search, owner)]

            def others(claim: Callable[[JournalStorage], None] = claim) -> None:
                for client in clients[1:]:
                    claim(client)

            slow = clients[0]
            really_claim, really_append, calls = slow._claim, slow.append, 0

            def at_claim(*arguments: Any, step: str = step, really: Any = really_claim, others: Any = others) -> Any:
                nonlocal calls
                calls += 1
                if (step, calls) in (("look", 1), ("second claim", 2)):
                    others()
                answer = really(*arguments)
                if (step, calls) == ("first claim", 1):
                    others()
                return answer

            def at_append(events: Any, step: str = step, really: Any = really_append, others: Any = others) -> None:
                if step == "before the record" and events[0].kind == "queued":
                    others()
                really(events)

            slow._claim, slow.append = at_claim, at_append  # type: ignore[method-assign]
            try:
                claim(slow)
            finally:
                del slow._claim, slow.append
            assert sorted(job for jobs in given.values() for job in jobs) == [f"{search}.{first + n}" for n in range(2)]
            for owner in given:
                slow.lease(search, owner, 0)
            for record in slow.records(search):
                slow.store_job_status(record.job_id, "CANCELLED")
