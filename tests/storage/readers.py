"""Everything that looks at a store, in this process: commands, the page's feed, the API.

Each answers, or refuses in words.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from evalpool import Evaluator, best
from evalpool.callbacks import CSVLoggerCallback, LoggerCallback, SearchEarlyStopping, TqdmCallback
from evalpool.cli._blocks import block, console
from evalpool.cli._campaign import Watcher
from evalpool.cli._display import Lines
from evalpool.cli._feed import Feed
from evalpool.cli._main import main
from evalpool.cli._stores import open_to_read
from evalpool.errors import EvalpoolError

UNSHOWN = re.compile(r"[^\n\t\x20-\x7e\xa0-\ufffd\U00010000-\U0010ffff]|[\ud800-\udfff\u202a-\u202e]")
MOST_OUTPUT = 60_000


def check_text(text: str, most: int = MOST_OUTPUT) -> None:
    """A terminal shows it, does nothing, and somebody can read it."""
    found = UNSHOWN.search(text)
    assert found is None, f"raw {found[0]!r} in {text[max(0, found.start() - 200) : found.end()]!r}"
    assert len(text) <= most, f"{len(text)} characters: {text[:300]!r}"


@contextlib.contextmanager
def _as_terminal() -> Iterator[Callable[[], str]]:
    """What is written on both streams and logged; with an encoding, so that what cannot be encoded raises here, too."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, "utf-8", write_through=True)
    handler = logging.StreamHandler(file)
    logging.getLogger("evalpool").addHandler(handler)
    try:
        with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
            yield lambda: raw.getvalue().decode("utf-8")
    finally:
        logging.getLogger("evalpool").removeHandler(handler)
        file.detach()  # else the bytes are gone with it


def command(*arguments: str, most: int = MOST_OUTPUT) -> int:
    """Run a command; anything but our own errors comes out of here."""
    with _as_terminal() as written:
        code = main(arguments)
    check_text(written(), most)
    assert code in range(5), code
    return code


def call(function: Callable[[], Any]) -> Any:
    """Call a function of the API; its errors are ours, and their text can be shown."""
    with _as_terminal() as written:
        try:
            return function()
        except EvalpoolError as error:
            check_text(str(error))
        finally:
            check_text(written())
    return None


def run(job: Any) -> float:
    """The run-function."""
    return 1.0


def commands(store: str, folder: Path) -> None:
    """Every command that reads."""
    command("status", store)
    for job in ("0", "1", "2", "4", "6"):
        command("show", store, job, most=200_000)
    command("status", store, "--json", most=10**9)
    command("show", store, "0", "--json", most=10**9)
    for kind in ("csv", "parquet", "jsonl"):
        command("export", store, "-o", str(folder / f"out.{kind}"))


def plot(store: str, folder: Path) -> None:
    """The plots: of the command, and those that only programs draw."""
    command("plot", store, "-o", str(folder / "out.png"))

    def draw() -> None:
        from matplotlib.figure import Figure

        from evalpool import analysis

        with open_to_read(store) as storage:
            records = storage.results()
        for name in (
            "plot_objective_over_evaluations",
            "plot_parallel_coordinates",
            "plot_pareto_front",
            "plot_performance_over_time",
            "plot_hypervolume_over_time",
        ):
            function = getattr(analysis, name)
            figure = Figure()
            call(lambda function=function, figure=figure: function(records, figure.add_subplot()))
            figure.savefig(folder / "out.png")

    call(draw)


def views(store: str) -> None:
    """The live view, and what the page is told."""

    def look() -> None:
        with open_to_read(store) as storage:
            watcher = Watcher(storage)
            watcher.look()
            with _as_terminal() as written:
                summaries = [one.summary() for one in watcher.campaigns.values()]
                console(sys.stdout).print(block(summaries))
                Lines(sys.stdout).show(summaries, last=True)
            check_text(written())
            feed = Feed(storage)
            feed.close()
            for search in watcher.campaigns:
                rows = json.dumps(feed.rows(search, 0), allow_nan=False)
                assert len(rows) < MOST_OUTPUT, len(rows)
                for number in (0, 1, 2, 4, 6):
                    with contextlib.suppress(EvalpoolError):
                        json.dumps(feed.detail(search, number), allow_nan=False)

    call(look)


def api(store: str) -> None:
    """What programs call."""

    def read() -> None:
        with open_to_read(store) as storage:
            for search in storage.load_all_search_ids():
                for ask in (
                    storage.load_search,
                    storage.load_all_job_ids,
                    storage.load_out_from_all_jobs,
                    storage.to_dataframe,
                ):
                    call(lambda ask=ask, search=search: ask(search))
                call(lambda search=search: storage.load_metadata_from_all_jobs(search, "note"))
                records = call(lambda search=search: storage.results(search)) or []
                call(lambda records=records: repr(best(records)))
                call(lambda records=records: best(records, minimize=True))
            call(lambda: storage.load_search("1\x1b"))

    call(read)


def going_on(store: str, folder: Path) -> None:
    """What resumes, with every callback, and what retries."""
    (folder / "program.py").write_text("def run(job):\n    return 1.0\n")
    (folder / "configs.jsonl").write_text('{"x": 1}\n')
    program, configs = f"{folder / 'program.py'}:run", str(folder / "configs.jsonl")
    command("retry", store, "--failed")
    command("retry", store, "--failed", "--function", program, "--force")
    command("run", program, "--configs", configs, "--storage", store, "--resume")

    def resume() -> None:
        with open_to_read(store) as storage:
            callbacks = [LoggerCallback(), SearchEarlyStopping(), CSVLoggerCallback(folder / "log.csv"), TqdmCallback()]
            options = {"storage": storage, "search_id": "latest", "callbacks": callbacks}
            with Evaluator.create(run, "serial", options) as evaluator:
                evaluator.resume()
                evaluator.submit([{"x": 1}])
                for job in evaluator.gather("ALL"):
                    repr(job)
                evaluator.best()
                evaluator.gather_other_jobs_done()

    call(resume)
