"""Size of a run's page and how long it takes to open in headless Chromium, on a large run.

Run as `python benchmarks/pages.py [FOLDER] [--rounds N]`. Without a folder the run is made first:
12-13 March 2020 with 125,000 accounts of high leverage, of which more than 100,000 are liquidated;
it stays in the temporary folder that is named, to be measured again. Refuses to measure a page that
says anything on its console.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from browser import CHROMIUM, Browser  # noqa: E402, the tests' own browser

SCENARIO = "scenarios/2020-03-12-black-thursday.toml"
CHANGES = (
    *("population.accounts=125000", "population.leverage_median=20"),
    *("population.long_share_ppm=900000", 'fund="1000000000"'),
)
NAMES = ("first paint", "first picture", "every picture", "first account", "processor time")
MOMENTS = """JSON.stringify(["first-contentful-paint", "picture", "drawn", "account"].map(
  name => performance.getEntriesByName(name)[0].startTime))"""


def large_run() -> Path:
    """Make the large run in a temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="crashtape-page-")) / "run"
    changes = [part for change in CHANGES for part in ("--set", change)]
    command = [sys.executable, "-m", "engine", "run", SCENARIO, *changes, "--out", str(folder)]
    subprocess.run(command, check=True, cwd=ROOT)
    return folder


def opened(page: Path) -> tuple[list[float], list[float]]:
    """Milliseconds to the first paint, the first picture, all pictures, the first account; then
    those the page's thread spent on a processor, without waiting for one. Of a page opened by a
    browser that was started for it, and of the same opened again.
    """
    found = []
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    with folder as profile, Browser(Path(profile)) as browser:
        for _ in range(2):
            # A console that is listened to has stack traces made of every error, which is slow.
            for domain in ("Runtime", "Log", "Performance"):
                browser.ask(f"{domain}.disable")
            browser.ask("Performance.enable", timeDomain="threadTicks")  # from zero again
            browser.open(page)
            browser.wait("document.getElementById('xray').dataset.ready")
            found.append([*json.loads(browser.run(MOMENTS)), busy(browser)])
            for domain in ("Runtime", "Log"):  # says what was said before, too
                browser.ask(f"{domain}.enable")
            assert browser.said == [], browser.said
    return found[0], found[1]


def busy(browser: Browser) -> float:
    """Milliseconds of processor time of the page's thread so far."""
    metrics = browser.ask("Performance.getMetrics")["metrics"]
    return 1e3 * next(each["value"] for each in metrics if each["name"] == "ThreadTime")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    if CHROMIUM is None:
        sys.exit("no chromium on this machine")
    folder = asked.folder or large_run()
    page = folder / "report.html"
    liquidations = pl.scan_parquet(folder / "liquidations.parquet").select(pl.len()).collect()
    print(f"{folder}: {liquidations.item():,} liquidations")
    print(f"page: {page.stat().st_size / 1e6:.2f} MB")
    print(f"load of the machine before: {os.getloadavg()[0]:.1f}, cores: {os.cpu_count()}")
    rounds = [opened(page) for _ in range(asked.rounds)]
    print(f"{'ms: median, least of ' + str(asked.rounds):28} {'new browser':>16} {'again':>16}")
    for place, name in enumerate(NAMES):
        cells = []
        for again in (0, 1):
            times = [each[again][place] for each in rounds]
            cells.append(f"{statistics.median(times):8,.0f} {min(times):7,.0f}")
        print(f"{name:28} {' '.join(cells)}")
    print(f"load of the machine after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
