"""docs/venues.md is what the profiles say of themselves.

After a change of a profile: `PYTHONPATH=. python tests/test_venues_page.py` writes the page anew.
"""

from pathlib import Path

from engine import catalogue
from engine.profile import Evidence, VenueProfile
from engine.venue import load_venue, shipped_venues

PAGE = Path(__file__).resolve().parents[1] / "docs" / "venues.md"
INTRODUCTION = """# Venues

The profiles that ship, in the words of the schema (`engine/profile.py`): this page is written from
the profiles and a test fails when the two differ. `crashtape venues NAME` shows one field by field.

Every number has evidence. *Published*: the venue's own page or source code. *Third party*: somebody
else who quotes or restates it. *Assumed*: not read anywhere, or contradictory; contract units and
bounds of the simulator are assumed throughout. Reports of a run list what is assumed. Venues change
their parameters often: a profile holds for its date, and no longer.

What the axes hold: **A** when a domain is in breach and when it is well again, **B** what is
cancelled and how much is closed, **C** where and at what price, fee and surplus, **D** who takes
what the book did not, in order, **E** what bounds the fund, **F** who is deleveraged and at what
price, **G** who pays what is missing, **H** in which order accounts are worked off.
"""


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _entries(title: str, entries: list[Evidence]) -> list[str]:
    if not entries:
        return []
    rows = [
        f"- `{each.field}`: {each.source.removeprefix(catalogue.NOT_MODELLED)}" for each in entries
    ]
    return [f"{title}:", "", *rows, ""]


def _section(profile: VenueProfile) -> list[str]:
    number = ", ".join(
        f"{count} {status.replace('_', ' ')}" for status, count in catalogue.counts(profile).items()
    )
    return [
        f"## {profile.name}",
        "",
        f"As of {profile.as_of}, settled in {profile.settlement.asset}. Evidence: {number}.",
        "",
        *(f"- {catalogue.market_words(market)}" for market in profile.markets),
        "",
        *_entries("Assumed", catalogue.assumed(profile)),
        *_entries("Not modelled", catalogue.not_modelled(profile)),
    ]


def venues_page() -> str:
    """The whole text of docs/venues.md."""
    profiles = [load_venue(name) for name in shipped_venues()]
    lines = [INTRODUCTION, _row(["profile", *catalogue.AXES])]
    lines.append("|---" * (len(catalogue.AXES) + 1) + "|")
    lines += [_row([profile.name, *catalogue.axes(profile).values()]) for profile in profiles]
    lines.append("")
    for profile in profiles:
        lines += _section(profile)
    return "\n".join(lines).rstrip() + "\n"


def test_the_page_says_what_the_profiles_say():
    message = "docs/venues.md is out of date: run PYTHONPATH=. python tests/test_venues_page.py"
    assert PAGE.is_file() and PAGE.read_text(encoding="utf-8") == venues_page(), message


if __name__ == "__main__":
    PAGE.write_text(venues_page(), encoding="utf-8")
