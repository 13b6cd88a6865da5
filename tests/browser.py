"""A headless browser over its own debugging pipe: open a page, run scripts in it, hear its console.

No driver and no package: Chromium reads and writes messages that end in a zero byte on two
descriptors it inherits. Every wait has an end.
"""

import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
                None)  # fmt: skip
SWITCHES = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-sync", "--disable-background-networking", "--disable-component-update"),
    *("--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe"),
)
SECONDS_MAX = 60


class PageError(AssertionError):
    """The page said something on its console, failed, or did not answer in time."""


class Browser:
    """One browser with one tab. Use it in a `with`; `open` forgets what the last page said."""

    def __init__(self, folder: Path, size: tuple[int, int] = (1100, 900)) -> None:
        command_read, self._write = os.pipe()
        self._read, answer_write = os.pipe()
        chosen = [f"--user-data-dir={folder}", f"--window-size={size[0]},{size[1]}"]

        def wire() -> None:
            # Both ends move out of the way first: either may be 3 or 4 already.
            high = (os.dup(command_read), os.dup(answer_write))
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self._process = subprocess.Popen(
            [str(CHROMIUM), *SWITCHES, *chosen, "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            close_fds=False, preexec_fn=wire,
        )  # fmt: skip
        os.close(command_read)
        os.close(answer_write)
        self._buffer, self._number = b"", 0
        self.said: list[str] = []
        targets = self._ask("Target.getTargets", None)["targetInfos"]
        target = next(each["targetId"] for each in targets if each["type"] == "page")
        attached = self._ask("Target.attachToTarget", None, targetId=target, flatten=True)
        self._session: str | None = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(10)
        os.close(self._write)
        os.close(self._read)

    def _receive(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise PageError("the browser does not answer")
            part = os.read(self._read, 1 << 20)
            if not part:
                raise PageError("the browser is gone")
            self._buffer += part
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def _ask(self, method: str, session: str | None, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + SECONDS_MAX
        while True:
            answer = self._receive(until)
            self._note(answer)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise PageError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def _note(self, message: dict[str, Any]) -> None:
        """Keep whatever a console would show."""
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.consoleAPICalled":
            values = [str(each.get("value", each.get("description"))) for each in params["args"]]
            self.said.append(f"{params['type']}: {' '.join(values)}")
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.said.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded":
            self.said.append(params["entry"]["text"])

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """A command of the protocol to the tab."""
        return self._ask(method, self._session, **params)

    def run(self, script: str) -> Any:
        """The value of an expression in the page; promises are waited for."""
        answer = self.ask(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise PageError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until an expression is true in the page."""
        until = time.monotonic() + SECONDS_MAX
        while not self.run(f"Boolean({condition})"):
            if time.monotonic() > until:
                raise PageError(f"never true: {condition}; the console: {self.said}")
            time.sleep(0.02)

    def open(self, page: Path) -> None:
        """Load a page and wait until everything on it is drawn."""
        self.said.clear()
        self.ask("Page.navigate", url=page.as_uri())
        self.wait("document.readyState === 'complete' && document.documentElement.dataset.drawn")

    def key(self, name: str, text: str = "") -> None:
        """Press and release a key: Tab, Enter, or a letter."""
        codes = {"Tab": 9, "Enter": 13, "Space": 32, "ArrowDown": 40}
        shared = {"key": name, "code": name, "windowsVirtualKeyCode": codes.get(name, 0)}
        down = {**shared, "text": text} if text else shared
        self.ask("Input.dispatchKeyEvent", type="keyDown", **down)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **shared)
