"""What a page says about its run beside the numbers: heading, facts, hashes, assumptions.

Texts only, made from the report and the scenario; the page escapes and lays them out.
"""

from datetime import UTC, datetime

from engine.messages import CurveLiquidity, MeasuredFact, NoLiquidity, Report, TapeLiquidity
from engine.population.columns import FitRow
from engine.profile import VenueProfile
from engine.report.words import count_text
from engine.scenario import LoadedScenario

Lines = list[tuple[str, str]]


def _when(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _percent(ppm: int) -> str:
    """
    >>> _percent(1_000_000), _percent(12_500)
    ('100 %', '1.25 %')
    """
    return f"{ppm // 10_000}.{ppm % 10_000:04d}".rstrip("0").rstrip(".") + " %"


def kicker(report: Report, profile: VenueProfile) -> str:
    """The line below the title: when, which venue, how many accounts, which seed."""
    return (
        f"{_when(report.start_ns)} to {_when(report.end_ns)} UTC · venue profile {profile.name} "
        f"as of {profile.as_of} · {count_text(report.accounts_count)} accounts · seed {report.seed}"
    )


def _fit(row: FitRow) -> tuple[str, str]:
    def number(value: int) -> str:
        return _percent(value) if row.unit == "ppm" else f"{count_text(value)} {row.unit}"

    name = f"Population, {row.name}" + (f", {row.market}" if row.market else "")
    asked = "" if row.asked is None or row.asked == row.drawn else f" (asked {number(row.asked)})"
    return name, number(row.drawn) + asked


def _asked_and_got(fact: MeasuredFact) -> str:
    within = f" within {fact.tolerance}" if fact.tolerance != "0" else ""
    return f"asked {fact.expected}{within}, got {fact.got}" + ("" if fact.ok else ": OUTSIDE")


def facts(report: Report, loaded: LoadedScenario) -> Lines:
    """What the run was made of: published facts, feedback, depth, population, patches."""
    scenario = loaded.scenario
    lines = [("Description", " ".join(scenario.description.split()))]
    lines += [(fact.what, f"{fact.value} ({fact.source})") for fact in scenario.facts if fact.value]
    lines += [(fact.what, _asked_and_got(fact)) for fact in report.measured]
    if scenario.prices.source:
        lines.append(("Prices", scenario.prices.source))
    share = _percent(scenario.feedback_ppm)
    lines.append(
        (
            "Feedback",
            f"{share} of the mark is derived from index and book, the rest is the tape's own"
            if scenario.feedback_ppm
            else "off: the mark is the tape's own, a pure replay",
        )
    )
    lines += [
        (
            f"Price overshoot, {each.market}",
            f"lowest mark {each.lowest}, {each.lowest_replayed} in a pure replay; highest "
            f"{each.highest}, {each.highest_replayed} there",
        )
        for each in report.overshoot
    ]
    for symbol, liquidity in scenario.liquidity.items():
        lines.append((f"Market maker, {symbol}", _quoting(liquidity)))
    lines += [_fit(row) for row in loaded.population[1]]
    lines += [
        (f"Patch, {each.path}", f"{each.before or 'nothing'} became {each.after} ({each.origin})")
        for each in report.patches
    ]
    lines.append(("Commands", count_text(report.commands_count)))
    refused = ", ".join(f"{name} {count}" for name, count in report.refused_reasons.items())
    lines.append(("Refused commands", refused or "none"))
    return [line for line in lines if line[1]]


def _quoting(liquidity: CurveLiquidity | TapeLiquidity | NoLiquidity) -> str:
    """How the market maker quotes, in words."""
    if isinstance(liquidity, NoLiquidity):
        return "none"
    if isinstance(liquidity, TapeLiquidity):
        kept = {"transient": "", "persistent": ", less what the run took from it"}
        return "recorded depth" + kept[liquidity.memory]
    quotes = liquidity.quotes()
    text = (
        f"{count_text(sum(quote.lots for quote in quotes))} lots a side within "
        f"{_percent(quotes[-1].offset_ppm)} of the index, coming back by half every "
        f"{liquidity.refill_half_life_ns / 1e9:g} s"
    )
    if liquidity.calm_ppm:
        text += f"; less in the ratio in which moves are above {_percent(liquidity.calm_ppm)}"
    if liquidity.permanent_ppm:
        text += f"; {_percent(liquidity.permanent_ppm)} of what trades move stays"
    return text


def hashes(report: Report) -> Lines:
    """The foot of the page: what identifies the run, to the bit."""
    return [
        ("Engine", report.engine_version),
        ("Seed", str(report.seed)),
        ("Scenario", report.scenario_hash),
        ("Venue profile", f"{report.profile_name} {report.profile_hash}"),
        ("Tape", report.tape_hash),
        ("Events", report.event_digest),
        ("State at the end", report.state_digest),
    ]


def assumptions(loaded: LoadedScenario) -> Lines:
    """Fields of the scenario that rest on an assumption, and on which."""
    return [
        (each.field, each.source) for each in loaded.scenario.evidence if each.status == "assumed"
    ]
