"""Makes the pictures of the README: `python docs/pictures/make.py runs/demo runs/seeds`.

Opens the page of a run and that of a comparison (the commands are in the README) in headless
Chromium and takes one picture of each figure named below, as it is drawn on a light screen.
"""

import base64
import json
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))

from browser import Browser  # noqa: E402, the tests' own browser

RUN = {
    "cascade": "[data-figure=figure-closer]",
    "depth": "[data-figure=figure-depth-1]",
    "money": "[data-figure=figure-money]",
    "account": "#xray-chart",
}
COMPARISON = {
    "survival": "[data-figure=figure-survival]",
    "fan": "[data-figure=figure-fan]",
}
MARGIN = 8  # pixels round a figure


def take(browser: Browser, name: str, selector: str) -> None:
    """Write the picture of one figure of the open page."""
    x, y, width, height = json.loads(
        browser.run(
            f"(r => JSON.stringify([r.x + scrollX, r.y + scrollY, r.width, r.height]))"
            f"(document.querySelector({selector!r}).getBoundingClientRect())"
        )
    )
    clip = {"x": x - MARGIN, "y": y - MARGIN, "scale": 1}
    clip |= {"width": width + 2 * MARGIN, "height": height + 2 * MARGIN}
    shot = browser.ask("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
    path = HERE / f"{name}.png"
    path.write_bytes(base64.b64decode(shot["data"]))
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    run, comparison = (Path(each).resolve() for each in sys.argv[1:3])
    with tempfile.TemporaryDirectory() as folder, Browser(Path(folder)) as browser:
        browser.open(run / "report.html")
        browser.wait("document.getElementById('xray').dataset.ready")
        for name, selector in RUN.items():
            take(browser, name, selector)
        browser.open(comparison / "compare.html")
        for name, selector in COMPARISON.items():
            take(browser, name, selector)


if __name__ == "__main__":
    main()
