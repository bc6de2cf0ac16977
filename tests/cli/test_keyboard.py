"""The page without a mouse, and for those who hear it: axe-core finds nothing critical."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.browser import Browser
from cli.test_page import DRAWN
from cli.test_serve import filled
from evalpool.cli import Server
from evalpool.storage import Event, MemoryStorage
from services import package

pytestmark = pytest.mark.slow

KEY = "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: arguments[0], bubbles: true}))"


def test_a_row_is_reached_and_opened_by_keys_and_kept_while_the_page_goes_on(browser: Browser) -> None:
    with Server(filled(40)) as server:
        browser.open(server.url)
        browser.wait(DRAWN + " && document.querySelector('.row') !== null")
        browser.run("document.getElementById('scroll').focus()")
        for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowUp"):
            browser.run(KEY, key)
        assert browser.run("return document.activeElement.dataset.number") == "38"
        browser.run("drawRows()")
        assert browser.run("return document.activeElement.dataset.number") == "38"
        browser.run(KEY, "Enter")
        browser.wait("return document.getElementById('detail-title').innerText === 'Job 0.38'")


def test_what_was_stopped_early_is_marked_and_not_the_best(browser: Browser) -> None:
    storage = MemoryStorage()
    search = storage.create_new_search()
    for number, (objective, early) in enumerate([(0.5, False), (0.9, True)]):
        result = {
            "status": "DONE", "objective": objective, "stopped_early": early, "worker": "w", "timestamp_start": 0.0,
            "timestamp_end": 1.0,
        }  # fmt: skip
        storage.append([Event("created", search, number, {"args": {}}), Event("finished", search, number, result)])
    with Server(storage) as server:
        browser.open(server.url)
        browser.wait(DRAWN + " && document.querySelectorAll('.row').length === 2")
        assert browser.text(".row").split("\n")[:2] == ["0.1", "stopped early"]
        assert "0.5" in browser.text("#facts .wide dd")
        assert "1 of them stopped early" in browser.text("#objective-legend")


def axe_core() -> str:
    """The script, from the package that brings it."""
    home = package("axe_core_python").__path__[0]
    return (Path(home) / "axe.min.js").read_text("utf-8")


def test_axe_finds_nothing_critical(browser: Browser) -> None:
    script = axe_core()
    with Server(filled(40)) as server:
        browser.open(server.url)
        browser.wait(DRAWN + " && document.querySelector('.row') !== null")
        browser.run(script + "\nwindow.axe = axe; axe.run().then((found) => { window.found = found; });")
        browser.wait("return window.found !== undefined")
        found = browser.run("return found.violations.map((one) => [one.impact, one.id, one.nodes[0].html])")
        assert [one for one in found if one[0] == "critical"] == [], found
