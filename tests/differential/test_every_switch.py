"""Every value of every named behaviour is met by the comparison of the two implementations.

The seeds of `test_core_and_rulebook` draw their profiles; each value that a profile can choose
must be in force for at least ten thousand of the commands that are compared there, each of the many
policies for at least fifteen hundred: `tests/policies` compares those by themselves too.
"""

from collections import Counter
from operator import attrgetter
from typing import Literal, get_args, get_origin

import msgspec
import pytest

from differential.test_core_and_rulebook import COMMANDS, SEEDS
from engine import profile as p
from engine.drawn_profiles import draw_profile

COMMANDS_MIN, COMMANDS_MIN_OF_MANY, MANY = 10_000, 1_500, 20
PARTS: dict[str, type[msgspec.Struct]] = {
    "margin": p.Margin,
    "mark": p.Mark,
    "funding": p.Funding,
    "trigger": p.Trigger,
    "steps": p.Step,
    "liquidation": p.Liquidation,
    "losses": p.Losses,
    "losses.sharing": p.Sharing,
    "markets": p.Market,
}
NOT_IN_THE_STATE_MACHINE = {
    "funding.formula": "FUNDING brings a rate; the formula that made it is R64, outside the engine",
}


def values_of(annotation: object) -> tuple[object, ...]:
    """What a field can be, if that is one of a few names or a truth, or a list of such names."""
    if annotation is bool:
        return (False, True)
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    inner = next(iter(get_args(annotation)), None)
    if get_origin(inner) is list:  # Annotated[list[...], ...]
        return values_of(get_args(inner)[0])
    return ()


SWITCHES = {
    f"{part}.{name}": values
    for part, struct in PARTS.items()
    for name, annotation in ((f.name, f.type) for f in msgspec.structs.fields(struct))
    if (values := values_of(annotation))
}


def structs_of(profile: p.VenueProfile, part: str) -> list[msgspec.Struct]:
    """The parts of a profile of this name: one, or as many as there are steps or markets."""
    if part == "steps":
        return profile.liquidation.steps
    return profile.markets if part == "markets" else [attrgetter(part)(profile)]


def in_force(profile: p.VenueProfile) -> set[tuple[str, object]]:
    """Every (switch, value) that is chosen somewhere in a profile."""
    found = set()
    for switch in SWITCHES:
        part, _, name = switch.rpartition(".")
        for struct in structs_of(profile, part):
            chosen = getattr(struct, name)
            found |= {(switch, v) for v in (chosen if isinstance(chosen, list) else [chosen])}
    return found


@pytest.fixture(scope="module")
def commands() -> Counter[tuple[str, object]]:
    """Random commands by switch and value, over all seeds."""
    found: Counter[tuple[str, object]] = Counter()
    for seed in range(SEEDS):
        for chosen in in_force(draw_profile(seed)):
            found[chosen] += COMMANDS
    return found


@pytest.mark.parametrize("switch", SWITCHES)
def test_every_value_is_compared(commands: Counter[tuple[str, object]], switch: str):
    """R01. Of the names that no state depends on, listed with why, only the default is drawn."""
    least = COMMANDS_MIN_OF_MANY if len(SWITCHES[switch]) > MANY else COMMANDS_MIN
    counts = {value: commands[switch, value] for value in SWITCHES[switch]}
    enough = [value for value, count in counts.items() if count >= least]
    if switch in NOT_IN_THE_STATE_MACHINE:
        assert len(enough) == 1, f"{switch}: {counts}"
    else:
        assert len(enough) == len(counts), f"{switch}: {counts}"


def test_the_switches_are_those_of_the_profile():
    """R01. A list of names is found as well as a name and a truth."""
    assert {"losses.waterfall", "trigger.exit", "losses.fund_pays", "steps.order"} <= set(SWITCHES)
    assert set(NOT_IN_THE_STATE_MACHINE) <= set(SWITCHES)
