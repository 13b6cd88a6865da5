"""What a profile says of a venue: its axes in short, its fields, and the evidence for each.

An evidence entry speaks for a field and everything below it; where several do, the longest path
decides. A profile says here, too, which rules of its venue no choice expresses.
"""

from collections.abc import Iterator
from typing import Any

from msgspec import NODEFAULT, Struct, structs

from engine.profile import Evidence, Frozen, Market, Step, VenueProfile

STATUSES = ("published", "third_party", "assumed")
NOT_MODELLED = "not modelled: "
_HOUR, _MINUTE, _SECOND, _MILLI = 3_600_000_000_000, 60_000_000_000, 1_000_000_000, 1_000_000


class Field(Frozen, kw_only=True):
    """One field of a profile, with the status of its evidence or "" where it has none."""

    path: str
    value: Any
    default: bool  # as the schema has it when a profile says nothing
    status: str
    named: bool  # an evidence entry names this very field, not only what stands above it


def percent(ppm: int) -> str:
    """A ratio in ppm as per cent, exact.

    >>> percent(300_000), percent(4_000), percent(-250)
    ('30 %', '0.4 %', '-0.025 %')
    """
    whole, part = divmod(abs(ppm), 10_000)
    text = f"{whole}.{part:04d}".rstrip("0").rstrip(".")
    return f"{'-' if ppm < 0 else ''}{text} %"


def times(ppm: int) -> str:
    """A multiple in ppm, exact.

    >>> times(1_000_000), times(1_500_000)
    ('1 x', '1.5 x')
    """
    whole, part = divmod(ppm, 1_000_000)
    return f"{whole}.{part:06d}".rstrip("0").rstrip(".") + " x"


def duration(time_ns: int) -> str:
    """A time in its largest units, exact to the millisecond.

    >>> duration(28_800_000_000_000), duration(79_260_000_000_000), duration(50_000_000)
    ('8 h', '22 h 1 min', '50 ms')
    """
    parts = []
    for unit, name in ((_HOUR, "h"), (_MINUTE, "min"), (_SECOND, "s"), (_MILLI, "ms")):
        count, time_ns = divmod(time_ns, unit)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts) or "0 s"


def _trigger(profile: VenueProfile) -> str:
    trigger = profile.trigger
    words = [trigger.comparison]
    if trigger.second_price != "none":
        words.append(f"{trigger.second_price} too")
    if trigger.warn_ppm:
        words.append(f"warn {percent(trigger.warn_ppm)}")
    if trigger.restrict != "none":
        words.append(f"restrict {trigger.restrict}")
    if trigger.backstop_ppm:
        words.append(f"backstop {percent(trigger.backstop_ppm)}")
    if trigger.cure_ns:
        words.append(f"cure {duration(trigger.cure_ns)}")
    buffer = f" {percent(trigger.exit_buffer_ppm)}" if trigger.exit == "buffer" else ""
    return ", ".join([*words, f"exit {trigger.exit}{buffer}"])


def _size(step: Step) -> str:
    words = [step.size]
    if step.size == "fraction":
        words.append(percent(step.fraction_ppm))
    if step.size == "lower_tier":
        words.append(f"by {step.tiers_down}" if step.tiers_down else "to the first")
    if step.size == "chunk":
        words.append(f"{step.chunk_lots} lots")
    if step.from_tier > 1:
        words.append(f"from tier {step.from_tier}")
    words += [
        f"{name} {value}"
        for name, value in (("above", step.above), ("floor", step.floor), ("cap", step.cap))
        if value != "0"
    ]
    if step.once_in_ns:
        words.append(f"once in {duration(step.once_in_ns)}")
    if step.window_ns:
        words.append(f"{step.window_lots:,} lots in {duration(step.window_ns)}")
    if step.pause_ns:
        words.append(f"pause {duration(step.pause_ns)}")
    return " ".join(words)


def _counted(words: list[str]) -> str:
    """Words in order, with equal neighbours counted instead of repeated."""
    runs: list[tuple[str, int]] = []
    for word in words:
        if runs and runs[-1][0] == word:
            runs[-1] = (word, runs[-1][1] + 1)
        else:
            runs.append((word, 1))
    return " > ".join(word if count == 1 else f"{count} x {word}" for word, count in runs)


def _reduction(profile: VenueProfile) -> str:
    rules = profile.liquidation
    words = [f"cancel {rules.cancel}"]
    if rules.net_hedged:
        words.append("net_hedged")
    words.append(f"select {rules.select}")
    if rules.lowest_tier_closes_all:
        words.append("lowest_tier_closes_all")
    return ", ".join([*words, _counted([_size(step) for step in rules.steps]) or "no step"])


def _placement(profile: VenueProfile) -> str:
    rules = profile.liquidation
    orders = []
    for step in rules.steps:
        beyond = f" {percent(step.limit_ppm)}" if step.limit_ppm else ""
        orders.append(f"{step.order} {step.limit}{beyond}")
    places = _counted(orders) or "no order"
    return f"{places}, fee to {rules.fee_to} within {rules.fee_cap}, surplus {rules.surplus}"


def _takeover(profile: VenueProfile) -> str:
    losses = profile.losses
    extra = {
        "volunteers": f" edge {percent(losses.volunteer_edge_ppm)}",
        "covered_book": f" {percent(losses.covered_band_ppm)}",
        "retry": f" {duration(losses.retry_ns)}",
        "loss_sharing": f" {losses.sharing_policy}",
    }
    return " > ".join(name + extra.get(name, "") for name in losses.waterfall)


def _fund(profile: VenueProfile) -> str:
    losses = profile.losses
    words = []
    if losses.fund_scope == "market":
        words.append("one for each market")
    elif losses.fund_scope == "group":
        groups = dict.fromkeys(m.fund_group for m in profile.markets if m.fund_group)
        words.append(f"one for {', '.join(groups)} each, one for the rest")
    if "insurance_fund" in losses.waterfall:
        words.append(f"inventory {times(losses.fund_inventory_ppm)} the fund")
    if losses.fund_cap != "0":
        window = losses.fund_cap_window_ns
        whose = " for each market" if losses.fund_cap_scope == "market" else ""
        lasting = duration(window) if window else "for ever"
        words.append(f"cap {losses.fund_cap}{whose} {lasting}")
    if losses.drawdown_ppm:
        stop = percent(losses.drawdown_stop_ppm)
        window = duration(losses.drawdown_window_ns)
        words.append(f"drawdown {percent(losses.drawdown_ppm)} in {window}, stop {stop}")
    return ", ".join(words) or "pays what it has"


def _deleveraging(profile: VenueProfile) -> str:
    losses = profile.losses
    if losses.pool_profit_ppm:
        most, stop = percent(losses.pool_profit_ppm), percent(losses.pool_profit_stop_ppm)
        return f"winners of a side above {most} of the pool, down to {stop}, at mark"
    if "adl" not in losses.waterfall:
        return "none"
    price = losses.adl_price
    if price == "mark_unless_fund_low":
        price += f" {losses.fund_low}"
    order = losses.adl_score if losses.adl_policy == "ranking" else losses.adl_policy
    return f"{losses.adl_candidates}, {order}, at {price}, cancel {losses.adl_cancel}"


def _residual(profile: VenueProfile) -> str:
    losses = profile.losses
    words = [losses.residual]
    if losses.residual == "socialise_profit":
        words.append(f"scope {losses.profit_scope}")
    if losses.profit_lock:
        words.append("profit_lock")
    if losses.gate_ns:
        words.append(f"gate {duration(losses.gate_ns)}")
    if losses.residual == "debt":
        waived = losses.waive_after_ns
        words.append(f"waived after {duration(waived)}" if waived else "never waived")
    return ", ".join(words)


def _sequencing(profile: VenueProfile) -> str:
    return f"order {profile.liquidation.order}, {profile.liquidation.phase}"


AXES = {
    "A trigger": _trigger,
    "B reduction": _reduction,
    "C placement": _placement,
    "D takeover": _takeover,
    "E fund": _fund,
    "F deleveraging": _deleveraging,
    "G residual": _residual,
    "H sequencing": _sequencing,
}


def axes(profile: VenueProfile) -> dict[str, str]:
    """The eight axes of a profile in the words of the schema."""
    return {name: describe(profile) for name, describe in AXES.items()}


def market_words(market: Market) -> str:
    """One market in short: payoff, what it is, how many tiers it has.

    >>> from engine.venue import load_venue, shipped_venues
    >>> market_words(load_venue(shipped_venues()[0]).markets[0])[-8:]
    ', 1 tier'
    """
    count = market.tier_steps.count if market.tier_steps else len(market.tiers)
    words = [market.payoff]
    if market.contract == "collateral":
        words.append(f"collateral less {percent(market.haircut_ppm)}")
    words.append(f"{count} tier" + ("s" if count != 1 else ""))
    words += [
        f"{name} {value}"
        for name, value in (
            ("slope", market.slope_per_coin),
            ("root", market.sqrt_per_coin),
        )
        if value != "0"
    ]
    if market.scaling:
        words.append(f"scaled from {market.scaling[0]} to {market.scaling[1]}")
    return f"{market.symbol}: " + ", ".join(words)


def counts(profile: VenueProfile) -> dict[str, int]:
    """How many evidence entries of each status a profile has, those on missing rules apart."""
    spoken = [each.status for each in profile.evidence if not _is_missing(each)]
    return {status: spoken.count(status) for status in STATUSES}


def _is_missing(entry: Evidence) -> bool:
    return entry.source.startswith(NOT_MODELLED)


def assumed(profile: VenueProfile) -> list[Evidence]:
    """Entries about fields that are assumed."""
    return [each for each in profile.evidence if each.status == "assumed" and not _is_missing(each)]


def not_modelled(profile: VenueProfile) -> list[Evidence]:
    """Entries about rules of the venue that no choice expresses."""
    return [each for each in profile.evidence if _is_missing(each)]


def paths(entry: Evidence, profile: VenueProfile) -> list[str]:
    """The fields an entry names, written out: several last names, `*` for every market."""
    first, *others = entry.field.split(", ")
    head = first[: first.rfind(".") + 1]
    names = [first, *(head + other for other in others)]
    if not first.startswith("markets.*"):
        return names
    symbols = [market.symbol for market in profile.markets]
    return [
        f"markets.{symbol}{name.removeprefix('markets.*')}" for name in names for symbol in symbols
    ]


def covers(path: str, field: str) -> bool:
    """Whether a path is the field or stands above it.

    >>> covers("losses", "losses.adl_score"), covers("losses.adl", "losses.adl_score")
    (True, False)
    """
    return field == path or (field.startswith(path) and field[len(path)] in ".[")


def _leaves(value: Any, path: str, default: bool) -> Iterator[tuple[str, Any, bool]]:
    """(path, value, whether it is the default) of every field below a value."""
    if isinstance(value, Struct):
        for info in structs.fields(value):
            inner = getattr(value, info.name)
            usual = info.default
            if info.default_factory is not NODEFAULT:
                usual = info.default_factory()
            yield from _leaves(inner, f"{path}.{info.name}" if path else info.name, inner == usual)
    elif isinstance(value, list) and value and isinstance(value[0], Struct):
        for index, each in enumerate(value):
            named = f"{path}.{each.symbol}" if isinstance(each, Market) else f"{path}[{index}]"
            yield from _leaves(each, named, False)
    else:
        yield path, value, default


def fields(profile: VenueProfile) -> list[Field]:
    """Every field of a profile but its evidence, with what it rests on."""
    spoken: list[tuple[str, bool, str]] = []  # path, named by its own symbol, status
    for entry in profile.evidence:
        if not _is_missing(entry):
            own = not entry.field.startswith("markets.*")
            spoken += [(path, own, entry.status) for path in paths(entry, profile)]
    found, nobody = [], ("", False, "")
    for path, value, default in _leaves(profile, "", False):
        if covers("evidence", path):
            continue
        speaking = [each for each in spoken if covers(each[0], path)]
        closest, _, status = max(speaking, key=lambda each: (len(each[0]), each[1]), default=nobody)
        named = closest == path
        found.append(Field(path=path, value=value, default=default, status=status, named=named))
    return found


def in_short(profile: VenueProfile) -> list[str]:
    """A profile on a screen: markets, axes, how many entries of each status, what is assumed."""
    markets = ", ".join(f"{market.symbol} ({market.payoff})" for market in profile.markets)
    number = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in counts(profile).items())
    rows = [("markets", markets)]
    rows += [(name[2:], text) for name, text in axes(profile).items()]
    rows += [
        ("evidence", number),
        ("assumed", "; ".join(each.field for each in assumed(profile)) or "nothing"),
        ("not modelled", f"{len(not_modelled(profile))} rules of the venue"),
        ("hash", profile.hash()),
    ]
    title = f"{profile.name}, as of {profile.as_of}, settled in {profile.settlement.asset}"
    return [title, *(f"  {name:<14}{text}" for name, text in rows)]


def in_full(profile: VenueProfile) -> list[str]:
    """Every field that is set or named, with its evidence, then every entry in words."""
    lines = [*in_short(profile), "", "Fields, and what they rest on:"]
    shown = [
        each
        for each in fields(profile)
        if each.value is not None and (each.named or not each.default)
    ]
    width = max(len(each.path) for each in shown)
    for each in shown:
        status = each.status.replace("_", " ")
        lines.append(f"  {each.path:<{width}}  {status:<11}  {each.value}")
    for title, entries in (
        ("Published:", [each for each in profile.evidence if each.status == "published"]),
        ("Third party:", [each for each in profile.evidence if each.status == "third_party"]),
        ("Assumed:", assumed(profile)),
        ("Not modelled:", not_modelled(profile)),
    ):
        if entries:
            lines += ["", title]
            lines += [
                f"  {each.field}: {each.source.removeprefix(NOT_MODELLED)}" for each in entries
            ]
    return lines
