"""A real headless Chromium, driven by its chromedriver over the WebDriver protocol (W3C); standard library only."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["Browser", "ensure_chromium"]

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1200",
]
BOUND = 20.0
"""Seconds that a condition on the page is waited for."""

_WAIT = """
const [condition, milliseconds, done] = arguments;
const end = performance.now() + milliseconds;
const holds = new Function(condition);
const look = () => {
  let value;
  try { value = holds(); } catch (error) { value = false; }
  if (value) done(true);
  else if (performance.now() > end) done(false);
  else setTimeout(look, 50);
};
look();
"""


def ensure_chromium() -> tuple[str, str]:
    """The programs chromium and chromedriver, in CI from Debian's packages where they are missing.

    Raises:
        FileNotFoundError: they are not there and cannot be installed.
    """
    there = shutil.which("chromium") and shutil.which("chromedriver")
    if not there and os.environ.get("CI") and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install = ["install", "-y", "-q", "--no-install-recommends", "chromium", "chromium-driver"]
        for command in (["update", "-q"], install):
            subprocess.run(["apt-get", *command], env=environment, check=True, capture_output=True, timeout=600)
    found = shutil.which("chromium"), shutil.which("chromedriver")
    if found[0] is None or found[1] is None:
        raise FileNotFoundError("chromium and chromedriver; on Debian: apt-get install chromium chromium-driver")
    return found[0], found[1]


class Browser:
    """One window. Use `Browser.started`."""

    def __init__(self, port: int, chromium: str, profile: str) -> None:
        self._base = f"http://127.0.0.1:{port}"
        options = {"binary": chromium, "args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
            "timeouts": {"script": 60_000},
        }
        made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{made['sessionId']}"

    @classmethod
    @contextlib.contextmanager
    def started(cls) -> Iterator[Browser]:
        """A browser with a new profile; all of it is gone afterwards."""
        chromium, driver = ensure_chromium()
        with tempfile.TemporaryDirectory(prefix="chromium", ignore_cleanup_errors=True) as profile:
            process = subprocess.Popen(
                [driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=profile
            )
            try:
                assert process.stdout is not None
                port = next(
                    int(found[1])
                    for line in process.stdout
                    if (found := re.search(r"started successfully on port (\d+)", line))
                )
                browser = cls(port, chromium, profile)
                try:
                    yield browser
                finally:
                    browser._call("DELETE", browser._session)
            finally:
                process.terminate()
                process.wait(10)
                if process.stdout is not None:
                    process.stdout.close()

    def open(self, url: str) -> None:
        self._call("POST", f"{self._session}/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """The value that a script returns."""
        return self._call("POST", f"{self._session}/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, condition: str) -> None:
        """Until the script ``return ...`` holds; bounded."""
        arguments = {"script": _WAIT, "args": [condition, BOUND * 1000]}
        assert self._call("POST", f"{self._session}/execute/async", arguments), f"never became true: {condition}"

    def text(self, selector: str) -> str:
        found: str = self.run("return document.querySelector(arguments[0]).innerText", selector)
        return found

    def click(self, selector: str) -> None:
        found = self._call("POST", f"{self._session}/element", {"using": "css selector", "value": selector})
        (element,) = found.values()
        self._call("POST", f"{self._session}/element/{element}/click", {})

    def type(self, selector: str, text: str) -> None:
        found = self._call("POST", f"{self._session}/element", {"using": "css selector", "value": selector})
        (element,) = found.values()
        self._call("POST", f"{self._session}/element/{element}/value", {"text": text})

    def resize(self, width: int, height: int) -> None:
        self._call("POST", f"{self._session}/window/rect", {"width": width, "height": height})

    def dark(self, on: bool) -> None:
        """The colour scheme that the user prefers."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if on else "light"}]
        command = {"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}}
        self._call("POST", f"{self._session}/goog/cdp/execute", command)

    def log(self) -> list[str]:
        """What the console said since the last call: errors, and what a policy refused."""
        found = self._call("POST", f"{self._session}/se/log", {"type": "browser"})
        return [f"{entry['level']}: {entry['message']}" for entry in found]

    def screenshot(self, path: Path) -> bytes:
        picture = base64.b64decode(self._call("GET", f"{self._session}/screenshot"))
        path.write_bytes(picture)
        return picture

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode("utf-8", "replace")) from None
