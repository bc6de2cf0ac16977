"""The page in a real browser: what it shows, what it does not run, how it looks."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.browser import Browser
from cli.test_serve import filled
from evalpool.cli import Server
from evalpool.storage import Event, MemoryStorage, SQLiteStorage

pytestmark = pytest.mark.slow

DRAWN = "return model.summary && !model.more && drawn > 0"


def painted(browser: Browser, canvas: str) -> float:
    """The share of a canvas that is not empty."""
    script = """
    const canvas = document.getElementById(arguments[0]);
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let n = 0;
    for (let i = 3; i < data.length; i += 4) if (data[i]) n += 1;
    return n / (data.length / 4);
    """
    share: float = browser.run(script, canvas)
    return share


def test_a_search_is_shown_while_it_goes_on(browser: Browser, tmp_path: Path) -> None:
    with SQLiteStorage(tmp_path / "runs.db") as storage, Server(storage, name="runs.db") as server:
        search = storage.create_new_search()
        storage.store_search_value(search, "max_evals", 4)
        browser.open(server.url)
        storage.append([Event("created", search, 0, {"args": {"lr": 0.1}})])
        storage.append([Event("started", search, 0, {"start": 0.0, "attempt": 1, "worker": "process-7"})])
        browser.wait(DRAWN + " && document.title.startsWith('0/4 running')")
        browser.wait("return document.querySelector('.row') !== null")
        assert browser.text(".row").split("\n")[:3] == ["0.0", "running", "process-7"]
        result = {
            "status": "DONE",
            "objective": 0.875,
            "worker": "process-7",
            "timestamp_start": 0.0,
            "timestamp_end": 2.0,
        }
        storage.append([Event("finished", search, 0, result)])
        browser.wait("return document.title.startsWith('1/4')")
        browser.wait("return document.querySelector('.row .succeeded') !== null")
        assert "0.875" in browser.text("#facts")
        assert "lr=0.1" in browser.text("#facts")
        assert painted(browser, "objective") > 0.002
        assert painted(browser, "timeline") > 0.05
        other = storage.create_new_search()
        storage.append([Event("created", other, 0, {"args": {}})])
        browser.wait("return document.querySelectorAll('#search option').length === 2")
        assert browser.log() == []


def test_failures_are_found_filtered_and_read_and_nothing_in_them_runs(browser: Browser, tmp_path: Path) -> None:
    with Server(filled(40), name="<img src=x onerror=\"document.title='pwned'\">") as server:
        browser.open(server.url)
        browser.wait(DRAWN)
        assert browser.text("#name").startswith("<img src=x")
        assert browser.text("#failures") == "4 F_ValueError"
        browser.click("#failures button")
        assert browser.text("#count") == "4 of 40 jobs"
        browser.click(".row")
        browser.wait("return document.querySelector('pre.error') !== null")
        assert browser.text("#detail-title") == "Job 0.33"
        assert browser.text("pre.error").endswith("onerror=\"document.title='pwned'\">")
        assert browser.run("return document.querySelectorAll('img').length") == 0
        assert "pwned" not in browser.run("return document.title")
        light = browser.screenshot(tmp_path / "light.png")
        browser.click("#close")
        browser.run("document.getElementById('filter').value = ''")
        browser.click("#columns button:nth-child(3)")  # by objective
        assert browser.text(".row").split("\n")[2] == "39"
        browser.type("#filter", "sgd")
        assert browser.text("#count") == "20 of 40 jobs"
        browser.dark(True)
        browser.wait("return colours().card === '#1d2126'")
        assert browser.screenshot(tmp_path / "dark.png") != light
        assert browser.log() == []


def test_of_many_jobs_only_the_rows_that_can_be_seen_exist(browser: Browser) -> None:
    with Server(filled(9000)) as server:
        browser.open(server.url)
        browser.wait(DRAWN + " && model.jobs.size === 9000")
        browser.wait("return document.getElementById('count').innerText === '9 000 jobs'")
        assert browser.run("return document.querySelectorAll('.row').length") < 60
        browser.run("const scroll = document.getElementById('scroll'); scroll.scrollTop = scroll.scrollHeight")
        browser.wait("return [...document.querySelectorAll('.row')].some((row) => row.dataset.number === '0')")
        assert browser.run("return document.querySelectorAll('.row').length") < 60
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
        browser.resize(420, 900)
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth")


def test_a_server_that_ends_is_told(browser: Browser) -> None:
    storage = MemoryStorage()
    storage.create_new_job(storage.create_new_search())
    with Server(storage) as server:
        browser.open(server.url)
        browser.wait(DRAWN)
    browser.wait("return document.getElementById('link').innerText.startsWith('The server does not answer')")
