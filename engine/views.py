"""What an account looks like to its owner at this instant: margin domains and their positions.

Both implementations fill these from their state; nothing is computed here. Money in the smallest
settlement unit, prices in price units, sizes in lots.
"""

from msgspec import Struct


class StepView(Struct, frozen=True):
    """What one order step of the profile would do to a position now; lots 0: it does not apply."""

    step: int  # its place in the profile, from 0
    lots: int
    limit_price: int


class PositionView(Struct, frozen=True):
    """One leg that holds lots."""

    market_id: int
    position_side: int
    lots: int
    entry_quote: int
    notional: int
    unrealised: int
    tier: int  # from 0
    maintenance: int
    initial: int
    bankruptcy_price: int
    adl_score: int
    steps: list[StepView]


class DomainView(Struct, frozen=True):
    """One margin domain: the wallet with all cross legs (market 0), or one isolated leg."""

    market_id: int
    position_side: int
    balance: int
    equity: int
    maintenance: int
    requirement: int  # below it the domain is in breach
    exit_requirement: int
    initial: int
    notional: int
    level: int  # bits of Level
    due_ns: int  # when a waiting domain is looked at again, else 0
    positions: list[PositionView]


DOMAIN_FIELDS = DomainView.__struct_fields__[:-1]
POSITION_FIELDS = PositionView.__struct_fields__[:-1]
