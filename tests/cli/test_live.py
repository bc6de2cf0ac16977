"""The live view: in a terminal, a pipe, and beside a search of one's own."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import threading
import types
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Command
from evalpool import Evaluator, RandomSearch, optimize
from evalpool.cli import LiveView, Server, watch
from evalpool.errors import BackendError, BadArgument, StorageUnavailable
from evalpool.storage import Event, MemoryStorage, NullStorage, SQLiteStorage


def test_a_view_beside_a_search_ends_with_what_was_reached() -> None:
    file, reached = io.StringIO(), threading.Event()

    def run(job):  # type: ignore[no-untyped-def]
        if job["x"] > 8:
            raise ValueError
        return job["x"]

    storage = MemoryStorage()
    with Evaluator.create(run, "thread", {"storage": storage}) as evaluator:
        with LiveView(storage, interval=0.01, file=file):
            optimize(evaluator, RandomSearch({"x": (0, 9)}, seed=0), max_evals=20)
            reached.set()
    last = file.getvalue().splitlines()[-1]
    assert re.match(r"search 0, \w+, 20 of 20 evaluated, \d+ failed, best 8, ", last)
    assert "\x1b" not in file.getvalue()


def test_a_view_without_a_storage_of_ones_own_works_too() -> None:
    pytest.importorskip("rich")
    file = io.StringIO()
    with Evaluator.create(lambda job: job["x"], "serial") as evaluator:
        with LiveView(evaluator.storage, plain=False, file=file):
            evaluator.submit([{"x": 1}, {"x": 2}])
            evaluator.gather()
    assert "2 succeeded" in file.getvalue()


@pytest.mark.parametrize("interval", [0, -1, float("nan"), "a", None])
def test_a_wrong_interval_is_refused(interval: Any) -> None:
    with pytest.raises(BadArgument, match=f"interval is {interval!r}"):
        LiveView(MemoryStorage(), interval=interval)


def test_what_can_never_show_a_search_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    closed = SQLiteStorage(tmp_path / "closed.db")
    closed.close()
    with pytest.raises(StorageUnavailable, match="is closed"):
        watch(closed, file=io.StringIO())
    for view in (watch, LiveView, Server):
        with pytest.raises(BadArgument, match="keeps nothing"):
            view(NullStorage())
        with pytest.raises(BadArgument, match="storage is 5 of type int"):
            view(5)  # type: ignore[arg-type]
    with pytest.raises(BackendError, match="port '80' of"):
        Server(MemoryStorage(), port="80")  # type: ignore[arg-type]


def in_a_terminal(evalpool: Command, *arguments: str, **environment: str) -> str:
    """What a terminal of 100 columns gets."""
    import fcntl
    import struct
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    environment = {**evalpool.environment, "TERM": "xterm", **environment}
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=evalpool.directory, env=environment, stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    parts = []
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # Linux's way to say that the other end is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(master)
    assert process.wait(30) == 0, b"".join(parts)
    return b"".join(parts).decode()


@pytest.mark.slow
def test_a_terminal_shows_a_block_that_is_redrawn(evalpool: Command) -> None:
    pytest.importorskip("rich")
    run = ["-m", "evalpool", "run", "program:run", "--configs", "grid.jsonl", "--storage", "sqlite:///runs.db"]
    shown = in_a_terminal(evalpool, *run)
    assert "╭─" in shown
    assert "8/8" in shown
    assert "F_ValueError" in shown
    assert "\x1b[1m" in shown  # what is bold
    without = in_a_terminal(evalpool, "-m", "evalpool", "watch", "runs.db", NO_COLOR="1")
    assert "╭─" in without
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", without)


@pytest.mark.slow
def test_a_dumb_terminal_and_one_without_rich_get_lines(evalpool: Command) -> None:
    evalpool("run", "program:run", "--configs", "grid.jsonl", "--storage", "sqlite:///runs.db", "--progress", "off")
    dumb = in_a_terminal(evalpool, "-m", "evalpool", "watch", "runs.db", TERM="dumb")
    assert dumb.startswith("search 0, ended, 8 of 8 evaluated, 1 failed, best 10, ")
    assert "\x1b" not in dumb
    code = "import sys; sys.modules['rich'] = None; from evalpool.cli import main; sys.exit(main(['watch', 'runs.db']))"
    assert in_a_terminal(evalpool, "-c", code) == dumb


def test_watch_ends_when_nobody_works_on_the_search_any_more(tmp_path: object) -> None:
    file = io.StringIO()
    with SQLiteStorage(f"{tmp_path}/runs.db") as storage:
        with Evaluator.create(lambda job: job["x"], "serial", {"storage": storage}) as evaluator:
            evaluator.submit([{"x": 1}])
            evaluator.gather()
        watch(storage, file=file)
    assert file.getvalue().startswith("search 0, ended, 1 evaluated, best 1, ")


def test_a_view_takes_the_url_of_a_store_that_is_not_there_yet(tmp_path: Path) -> None:
    url, file = f"sqlite:///{tmp_path}/runs.db", io.StringIO()
    with LiveView(url, file=file):
        with Evaluator.create(lambda job: job["x"], "serial", {"storage": url}) as evaluator:
            evaluator.submit([{"x": 1}, {"x": 2}])
            evaluator.gather()
    watched = io.StringIO()
    watch(f"{tmp_path}/runs.db", file=watched)
    for text in (file.getvalue(), watched.getvalue()):
        assert text.splitlines()[-1].startswith("search 0, ended, 2 evaluated, best 2, ")
    for text, reason in (("memory://", "ends with the program"), ("nothing://there", "There is no storage 'nothing'")):
        with pytest.raises(BadArgument, match=reason):
            LiveView(text)


def test_a_notebook_gets_one_output_that_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """IPython's part is played by a stand-in of its three functions; ours is real."""
    pytest.importorskip("rich")
    shown: list[str] = []

    class ZMQInteractiveShell:
        """What a notebook's shell is called."""

    class Handle:
        def update(self, html: str) -> None:
            shown.append(html)

    def display(html: str, display_id: bool) -> Handle:
        assert display_id
        assert not shown
        shown.append(html)
        return Handle()

    module, part = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    vars(module).update(get_ipython=ZMQInteractiveShell, display=part)
    vars(part).update(HTML=str, display=display)
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", part)
    storage = MemoryStorage()
    with Evaluator.create(lambda job: job["x"], "serial", {"storage": storage}) as evaluator:
        with LiveView(storage, interval=0.001):
            evaluator.submit([{"x": "<b>"}, {"x": 2}])
            evaluator.gather()
    assert "1 succeeded" in shown[-1]
    assert "<b>" not in shown[-1]
    assert "F_invalid_output" in shown[-1]


def test_a_storage_that_cannot_be_read_ends_the_view_and_not_the_search(caplog: pytest.LogCaptureFixture) -> None:
    file, storage = io.StringIO(), MemoryStorage()
    with Evaluator.create(lambda job: job["x"], "thread", {"storage": storage}) as evaluator:
        storage.append([Event("search", "9", None, {"start": 0.0, "schema": 999})])
        with LiveView(storage, interval=0.001, file=file):
            jobs = evaluator.submit([{"x": 1}])
            evaluator.gather()
    assert jobs[0].objective == 1
    assert "The live view ends: search 9 was written by a later evalpool" in caplog.text
