"""Run the library of scenarios and print what each should show beside what it shows.

    python tests/library.py [WORD ...]     all of them, or those whose name contains a word

Populations above 2,000 are drawn smaller, and said so, but for the twin. Exit status 1 if a fact
is outside.
"""

import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from engine.replay import replay  # noqa: E402
from engine.scenario import load_scenario  # noqa: E402

ACCOUNTS_MAX = 2_000
WHOLE = {"2025-10-10-hyperliquid-twin"}  # its facts count accounts


def main() -> int:
    """Every fact of every scenario, a line each."""
    outside = 0
    for path in sorted((ROOT / "scenarios").glob("*.toml")):
        if sys.argv[1:] and not any(word in path.stem for word in sys.argv[1:]):
            continue
        started = time.monotonic()
        loaded = load_scenario(path)
        people = getattr(loaded.scenario.population, "accounts", 0)
        size = ""
        if people > ACCOUNTS_MAX and path.stem not in WHOLE:
            loaded = load_scenario(path, [f"population.accounts={ACCOUNTS_MAX}"])
            size = f", {ACCOUNTS_MAX:,} of {people:,} accounts"
        with tempfile.TemporaryDirectory() as folder:
            report = replay(loaded, Path(folder) / "run", keep_tape=False)
        print(f"{path.stem}: {report.summary.events_count:,} events in "
              f"{time.monotonic() - started:.1f} s{size}")  # fmt: skip
        for fact in report.measured:
            outside += not fact.ok
            within = f" +- {fact.tolerance}" if fact.tolerance != "0" else ""
            mark = "" if fact.ok else "  OUTSIDE"
            print(f"    {fact.what}: {fact.expected}{within}, got {fact.got}{mark}", flush=True)
    print(f"{outside} facts outside")
    return 1 if outside else 0


if __name__ == "__main__":
    sys.exit(main())
