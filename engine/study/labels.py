"""How measures and values are called and written, and how every page of a study begins and ends."""

from collections.abc import Sequence
from typing import Any

from engine.report.document import text
from engine.study.comparison import MEASURES


def unit_of(column: str, money_decimals: int) -> int:
    """What a column is divided by to be read: money in whole units, all else as it is."""
    return 10**money_decimals if column.endswith("_quote") else 1


def words_of(column: str) -> str:
    """The name of a column in words."""
    known = {name: label for label, name in MEASURES}
    plain = column.removesuffix("_quote").removesuffix("_count").replace("_", " ")
    return known.get(column, plain.capitalize()).removesuffix(" ppm")


def number(value: float | None, signed: bool = False) -> str:
    """A number to be read: no decimals above a hundred, a true minus sign."""
    if value is None:
        return ""
    places = 0 if abs(value) >= 100 or value == int(value) else 2
    return f"{value:{'+' if signed and value else ''},.{places}f}".replace("-", "\u2212")


def title_of(column: str, asset: str) -> str:
    """The heading of a measure: its name and its unit."""
    tail = f", {asset}" if column.endswith("_quote") else ", ppm" if column.endswith("_ppm") else ""
    return words_of(column) + tail


def head(title: str, kicker: str, verdict: str) -> list[str]:
    """How every page of a study begins."""
    return [
        f"<header><h1>{text(title)}</h1>",
        f'<p class="kicker">{text(kicker)}</p>',
        f'<p class="verdict">{text(verdict)}</p></header><main>',
        '<noscript><p class="note">The pictures need JavaScript; every number in them is in the '
        "tables.</p></noscript>",
    ]


def foot(lines: Sequence[tuple[str, str]]) -> str:
    """How every page of a study ends: what identifies it, by hashes."""
    rows = "".join(
        f"<tr><td>{text(name)}</td><td class=hash>{text(value)}</td></tr>\n"
        for name, value in lines
    )
    return f"</main><footer><table><tbody>{rows}</tbody></table></footer>"


def numeric(values: Sequence[Any]) -> list[float] | None:
    """The values as numbers, where all of them read as numbers."""
    try:
        return [float(value) for value in values]
    except (TypeError, ValueError):
        return None


def shown(value: Any) -> str:
    """A value of a field to be read."""
    return f"{value:,}" if type(value) is int else str(value)
