"""Published worked examples against the engine, and the table of how many agree.

The numbers are in `worked_examples.toml`. Run this file to print the table, by topic and venue:

    python tests/venues/conformance.py [rulebook] [core]
"""

import sys
import tomllib
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.calculate import example, is_formula

FILE = Path(__file__).with_name("worked_examples.toml")
SLACK = 1e-12  # binary fractions on both sides of a tolerance

# Where an example contradicts the text of its venue, another example, or the profile we ship.
CONTRADICTIONS = {
    "bybit.liq.isolated.long": "the fee of closing is paid from the margin at the bankruptcy "
    "price; as part of the requirement at mark, as elsewhere, it would be 36380.35",
    "bybit.liq.simple.long10x": "older formula: maintenance of the entry value, no fee; the "
    "isolated example of the same venue takes the value at mark",
    "bybit.liq.simple.short5x": "older formula, see the long one",
    "bybit.fund.drawdown.ex1": "the text starts below -30 %; we start at it",
    "okx.partial.to_tier1": "an older page goes down to tier 1; the profile goes two tiers down",
    "deribit.liquidation.pacing.2016": "10 contracts 25 times a second; a later page has 200 "
    "and 20, which the profile takes",
    "kraken.liq.inverse.long": "a note of the page takes margin on the value at entry, which "
    "gives 7477; 7481 only follows from the value at mark",
    "hyperliquid.adl.index": "for shorts the published ratio falls as they gain; we turn it round",
    "drift.liquidate.ramp": "the loss counts with the buffer on top there, which the example of "
    "a single liquidation does not show",
    "bitmex.risk_limit.2021": "a step of 150; the step was 100 before August 2021",
}


def restored(value):
    """The text "null" means that nothing is given."""
    if isinstance(value, list):
        return [restored(item) for item in value]
    return None if value == "null" else value


def worked_examples() -> dict[str, dict]:
    """Every example by its name."""
    found = tomllib.loads(FILE.read_text("utf-8"))
    for each in found.values():
        for part in ("inputs", "expected"):
            each[part] = {name: restored(value) for name, value in each[part].items()}
    return found


def agrees(found, expected, tolerance: float) -> bool:
    """Whether an answer is the published one: numbers within tolerance, all else exactly."""
    if isinstance(expected, list):
        same = isinstance(found, list) and len(found) == len(expected)
        return same and all(agrees(a, b, tolerance) for a, b in zip(found, expected, strict=True))
    if isinstance(expected, dict):
        return all(agrees(found.get(name), value, tolerance) for name, value in expected.items())
    if isinstance(expected, bool | str) or expected is None:
        return found == expected
    number = isinstance(found, int | float) and not isinstance(found, bool)
    return number and abs(found - expected) <= tolerance + SLACK


def differences(case: dict, implementation: str) -> dict:
    """What the engine answers where it is not what was published."""
    answer = example(case["venue"], case["topic"], case["inputs"], implementation)
    return {
        name: (answer.get(name), value)
        for name, value in case["expected"].items()
        if not agrees(answer.get(name), value, case["tolerance"])
    }


def table(implementations: list[str]) -> list[str]:
    """Lines by topic and venue: how many, how many of them by formula, how many agree."""
    counts: dict[tuple[str, str], Counter] = {}
    for case in worked_examples().values():
        row = counts.setdefault((case["topic"], case["venue"]), Counter())
        row["examples"] += 1
        row["formula"] += is_formula(case["topic"], case["inputs"])
        for implementation in implementations:
            try:
                row[implementation] += not differences(case, implementation)
            except Exception:  # whatever goes wrong, the example does not agree
                row[implementation] += 0
    names = ["examples", "formula", *implementations]
    lines = [f"{'topic':<24}{'venue':<18}" + "".join(f"{name:>10}" for name in names)]
    total: Counter = Counter()
    for (topic, venue), row in sorted(counts.items()):
        total += row
        lines.append(f"{topic:<24}{venue:<18}" + "".join(f"{row[name]:>10}" for name in names))
    lines.append(f"{'all':<42}" + "".join(f"{total[name]:>10}" for name in names))
    return lines


if __name__ == "__main__":
    print("\n".join(table(sys.argv[1:] or ["rulebook", "core"])))
