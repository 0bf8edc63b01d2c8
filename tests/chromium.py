"""Drives Debian's Chromium by the DevTools protocol over a pipe: no port, and no package to keep up."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from select import select
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

from patience import limit

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# The sandbox needs privileges that root and containers lack; it would guard our own page.
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--no-first-run", "--disable-extensions", "--disable-background-networking", "--disable-sync"),
    *("--remote-debugging-pipe", "--force-device-scale-factor=1"),
)
SECONDS = 60


def find() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


class Tab:
    """One page. `events` is all that it reported; `ask` sends a command and waits for the answer."""

    def __init__(self, reads: int, writes: int) -> None:
        self._reads, self._writes, self._rest, self._number = reads, writes, b"", 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writes, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result = answer["result"]
                assert isinstance(result, dict)
                return result
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        end = monotonic() + limit(SECONDS)
        while b"\0" not in self._rest:
            ready, _, _ = select([self._reads], [], [], max(end - monotonic(), 0))
            read = os.read(self._reads, 1 << 20) if ready else b""
            assert read, "Chromium does not answer"
            self._rest += read
        line, _, self._rest = self._rest.partition(b"\0")
        answer = json.loads(line)
        assert isinstance(answer, dict)
        return answer

    def show(self, page: Path, *, width: int, height: int = 900, scheme: str = "light") -> None:
        """Loads a file as a window of that size shows it."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.ask("Page.navigate", url=page.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def run(self, script: str) -> Any:
        """What an expression gives; a promise is waited for."""
        result = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def screenshot(self, *, whole: bool = False) -> bytes:
        shot = self.ask(
            "Page.captureScreenshot", format="png", captureBeyondViewport=whole, **self._clip(whole)
        )
        return base64.b64decode(shot["data"])

    def _clip(self, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {**size, "height": min(size["height"], 12_000), "scale": 1}}


@contextmanager
def tab(executable: str) -> Iterator[Tab]:
    """A page of a browser of its own."""
    ours, theirs = os.pipe(), os.pipe()
    command = f'exec "$0" "$@" 3<&{ours[0]} 4>&{theirs[1]}'
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            ["bash", "-c", command, executable, *OPTIONS, f"--user-data-dir={profile}"],
            pass_fds=(ours[0], theirs[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(ours[0])
        os.close(theirs[1])
        try:
            yield Tab(theirs[0], ours[1])
        finally:
            os.close(ours[1])
            os.close(theirs[0])
            process.terminate()
            process.wait(timeout=limit(SECONDS))
