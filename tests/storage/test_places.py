"""Files and directories of a storage that go away, are others, or may not be written."""

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evalpool import Evaluator
from evalpool.errors import StorageUnavailable
from evalpool.storage import Event, JournalStorage, SQLiteStorage

KINDS = {"sqlite": SQLiteStorage, "journal": JournalStorage}


def _delete(path: Path) -> None:
    shutil.rmtree(path.parent)


def _rename(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


def _replace(path: Path) -> None:
    """By another storage of the same kind, as a second start of a job script does."""
    _delete(path)
    path.parent.mkdir()
    kind = SQLiteStorage if path.suffix else JournalStorage
    with kind(path) as other:
        other.create_new_job(other.create_new_search())


def _empty(path: Path) -> None:
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            os.truncate(file, 0)


def _delete_the_log(path: Path) -> None:
    [log] = path.glob("writers/*") if path.is_dir() else [path.with_name(f"{path.name}-wal")]
    log.unlink()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mischief", [_delete, _rename, _replace, _empty, _delete_the_log])
def test_a_store_that_goes_away_while_it_is_used_is_noticed_at_the_next_write_and_at_close(
    kind: str, mischief: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "place" / ("results.db" if kind == "sqlite" else "runs")
    path.parent.mkdir()
    said = "was deleted or renamed|was replaced by another|was emptied"
    storage = KINDS[kind](path)
    with Evaluator.create(lambda job: job["x"], "thread", {"storage": storage}) as evaluator:
        evaluator.submit([{"x": 1}])
        assert len(evaluator.gather()) == 1
        mischief(path)
        with pytest.raises(StorageUnavailable, match=said):
            evaluator.submit([{"x": 2}])
    with pytest.raises(StorageUnavailable, match=said):
        storage.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_that_goes_away_after_all_was_written_is_said_at_close(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "place" / ("results.db" if kind == "sqlite" else "runs")
    path.parent.mkdir()
    storage = KINDS[kind](path)
    storage.create_new_search()
    _delete(path)
    with pytest.raises(StorageUnavailable, match="was deleted or renamed"):
        storage.close()
    storage.close()


@pytest.mark.parametrize("kind", KINDS)
def test_records_are_written_once_the_store_is_put_back(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "place" / ("results.db" if kind == "sqlite" else "runs")
    path.parent.mkdir()
    with KINDS[kind](path) as storage:
        job_id = storage.create_new_job(storage.create_new_search())
        _rename(path)
        storage.append_soon([Event("finished", "0", 0, {"objective": 7})])
        with pytest.raises(StorageUnavailable):
            storage.flush()
        path.parent.with_name("elsewhere").rename(path.parent)
        storage.flush()
        assert storage.load_job(job_id)["out"] == {"objective": 7}


# -- places that may not be written --------------------------------------------------------------------------

LOOKS = """
import sys, urllib.request
from evalpool.cli import LiveView, Server, main
from evalpool.errors import StorageUnavailable
from evalpool.storage import storage_from_url

url = sys.argv[1]
with storage_from_url(url) as storage:
    print("objectives", [record.objective for record in storage.results()], flush=True)
    for write in (storage.create_new_search, lambda: storage.store_job_out("0.0", 1)):
        try:
            write()
        except StorageUnavailable as error:
            print("refused", error)
table, plot = sys.argv[2:]
for command in (["status"], ["export", "-o", table], ["plot", "-o", plot]):
    print("exit", main([command[0], url, *command[1:]]), flush=True)
with LiveView(url, file=sys.stdout):  # as `evalpool watch`, which would wait for the end of this search
    pass
with Server(url) as server, urllib.request.urlopen(server.url + "rows?after=0", timeout=30) as answer:
    print("page", answer.status, flush=True)
"""

CAP_DAC_OVERRIDE, PR_CAPBSET_DROP = 1, 24


def _obey_permissions() -> None:
    """Root, too, may from here on do only what the bits of files and directories say."""
    if os.geteuid() == 0 and ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0):
        os._exit(77)


def _files_in(directory: Path) -> list[Path]:
    return [name for name in directory.rglob("*") if not name.is_symlink()]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory to be made unwritable."""
    directory = Path(tempfile.mkdtemp())
    yield directory
    for name in [directory, *_files_in(directory)]:
        name.chmod(0o755)
    shutil.rmtree(directory)


def _search(kind: str, path: Path, killed: bool) -> None:
    program = (
        "import os, sys; from evalpool.storage import *; "
        f"s = {KINDS[kind].__name__}(sys.argv[1]); s.create_new_job(s.create_new_search()); "
        "s.append([Event('finished', '0', 0, {'objective': 3.5})]); "
        f"os._exit(0) if {killed} else s.close()"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True, timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "killed", "lost"),
    [
        ("sqlite", False, []),
        ("sqlite", True, []),
        ("sqlite", True, ["results.db-shm"]),
        ("journal", False, ["claims"]),
    ],
)
def test_a_store_that_may_not_be_written_can_be_looked_at(
    kind: str, killed: bool, lost: list[str], place: Path, tmp_path: Path
) -> None:
    path = place / ("results.db" if kind == "sqlite" else "runs")
    _search(kind, path, killed)
    for name in lost:
        there = place / name if kind == "sqlite" else path / name
        there.rmdir() if there.is_dir() else there.unlink()
    for name in [place, *_files_in(place)]:
        name.chmod(0o555 if name.is_dir() else 0o444)
    before = sorted(place.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", LOOKS, f"{kind}:///{path}", str(tmp_path / "table.csv"), str(tmp_path / "p.png")],
        preexec_fn=_obey_permissions,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode == 77:
        pytest.skip("this root cannot give up its power over files")
    assert done.stderr == "", done.stdout
    lines = done.stdout.splitlines()
    assert lines[0] == "objectives [3.5]"
    assert sum("refused" in line and str(place) in line for line in lines) == 2
    assert lines.count("exit 0") == 3
    assert any(line.startswith("search 0") and "best 3.5" in line for line in lines)
    assert "page 200" in lines
    assert (tmp_path / "p.png").stat().st_size
    assert "3.5" in (tmp_path / "table.csv").read_text()
    assert sorted(place.rglob("*")) == before


@pytest.mark.slow
def test_a_reader_of_a_file_that_it_may_not_write_sees_what_somebody_writes_later(place: Path) -> None:
    path = place / "results.db"
    _search("sqlite", path, killed=False)
    program = (
        "import sys; from evalpool.storage import *; s = SQLiteStorage(sys.argv[1])\n"
        "for line in sys.stdin: print(len(s.load_all_search_ids()), flush=True)"
    )
    place.chmod(0o555)
    path.chmod(0o444)
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=_obey_permissions,
    ) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        counts = []
        for _ in range(2):
            print(file=reader.stdin, flush=True)
            counts.append(reader.stdout.readline().strip())
            place.chmod(0o755)
            path.chmod(0o644)
            with SQLiteStorage(path) as writer:
                writer.create_new_search()
        reader.stdin.close()
        assert (counts, reader.wait(60)) == (["1", "2"], 0)


@pytest.mark.parametrize("exists", [True, False])
def test_a_database_behind_a_link_is_written_and_read(exists: bool, tmp_path: Path) -> None:
    disk, link = tmp_path / "disk.db", tmp_path / "link.db"
    if exists:
        SQLiteStorage(disk).close()
    link.symlink_to(disk)
    with SQLiteStorage(link) as storage:
        with Evaluator.create(lambda job: 1.0, "serial", {"storage": storage}) as evaluator:
            for _ in range(2):
                evaluator.submit([{"x": 1}])
                evaluator.gather()
        assert [record.objective for record in storage.results()] == [1.0, 1.0]
    with SQLiteStorage(disk) as storage:
        assert len(storage.results()) == 2
