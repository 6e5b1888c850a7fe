"""Headless Chromium, driven over WebDriver's HTTP interface with nothing but the standard library."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
WHY_NOT = "needs Chromium and chromedriver (Debian: chromium, chromium-driver)"

_QUIET = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
_LEAST_TARGET_PX = 24
_TAB = "\ue004"


class Browser:
    """One window."""

    def __init__(self, session: str) -> None:
        self._session = session

    def open(self, file: Path) -> None:
        self._post("url", {"url": file.as_uri()})

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a script's `return`."""
        return self._post("execute/sync", {"script": script, "args": list(arguments)})

    def run_async(self, script: str) -> Any:
        """What a script hands to its last argument, a function."""
        return self._post("execute/async", {"script": script, "args": []})

    def devtools(self, command: str, **parameters: Any) -> Any:
        return self._post("goog/cdp/execute", {"cmd": command, "params": parameters})

    def look(self, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Have a screen of this size, and prefer a colour scheme."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self) -> bytes:
        """All of the page as PNG."""
        shot = self.devtools("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        return base64.b64decode(shot["data"])

    def press(self, *keys: str) -> None:
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._post("actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def tab(self) -> None:
        self.press(_TAB)

    def log(self) -> list[str]:
        """What the browser complained of."""
        return [f"{entry['level']}: {entry['message']}" for entry in self._post("se/log", {"type": "browser"})]

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return _post(f"{self._session}/{path}", body)


def axe_core() -> str | None:
    """The script of axe-core: that of a newer release where one is named, else that of the installed package."""
    named = os.environ.get("AXE_CORE_JS")
    spec = find_spec("axe_core_python")
    path = named or (Path(spec.origin).parent / "axe.min.js" if spec and spec.origin else None)
    return None if path is None else Path(path).read_text(encoding="utf-8")


def assert_fits_and_is_accessible(window: Browser, page: Path, *, width: int, dark: bool) -> None:
    """A page scrolls in one direction only, is as dark as is asked for, and breaks no rule of axe-core."""
    script = axe_core()
    if script is None:
        pytest.skip("needs axe-core (the development dependencies, or AXE_CORE_JS)")
    window.look(width=width, dark=dark)
    window.open(page)
    assert window.run("return document.documentElement.scrollWidth") <= width
    background = window.run("return getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") != dark
    window.run(f"{script}; window.axe = axe;")
    found = window.run_async(
        "const done = arguments[arguments.length - 1];"
        "axe.run().then(({violations, passes}) => done({"
        "broken: violations.map(({id, nodes}) => [id, nodes.map(node => node.html)]), kept: passes.length}))"
    )
    assert found["broken"] == []
    assert found["kept"] > 15
    # WCAG 2.2, success criterion 2.5.8, which the installed release of axe-core does not know.
    heights = window.run(
        "return [...document.querySelectorAll('summary, input, button, a:not(.skip)')]"
        ".filter(at => at.checkVisibility()).map(at => at.getBoundingClientRect().height)"
    )
    assert all(height >= _LEAST_TARGET_PX for height in heights)


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser with a profile of its own, ended with the block."""
    assert CHROMIUM is not None
    assert DRIVER is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        driver = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, text=True)
        try:
            address = f"http://127.0.0.1:{_port(driver)}/session"
            options = {"binary": CHROMIUM, "args": [*_QUIET, f"--user-data-dir={profile}"]}
            wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            created = _post(address, {"capabilities": {"alwaysMatch": wanted}})
            session = f"{address}/{created['sessionId']}"
            try:
                yield Browser(session)
            finally:
                urllib.request.urlopen(urllib.request.Request(session, method="DELETE"), timeout=30).close()  # noqa: S310 - http, to the driver that was just started
        finally:
            driver.terminate()
            driver.wait()


def _port(driver: "subprocess.Popen[str]") -> str:
    assert driver.stdout is not None
    for line in driver.stdout:
        if "successfully on port" in line:
            return line.rsplit("on port", 1)[1].strip(" .\n")
    message = "chromedriver did not start"
    raise RuntimeError(message)


def _post(address: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(  # noqa: S310 - http, to the driver that was just started
        address, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310 - the same
        return json.load(answer)["value"]
