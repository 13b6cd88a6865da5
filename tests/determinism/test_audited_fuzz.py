"""The auditor rebuilds random runs from their events alone and finds nothing."""

import numpy as np
import pytest

from engine.audit import Audit
from engine.exchange import Exchange
from engine.fuzz import batches, draw_setup
from engine.rows import COMMAND
from engine.venue import market_numbers


@pytest.mark.parametrize("first", range(0, 96, 8))
def test_random_runs_pass_the_audit(first: int):
    """Every invariant, on runs in batches of 200."""
    for seed in range(first, first + 8):
        setup = draw_setup(seed)
        exchange = setup.core(check_index=False)
        markets = [market_numbers(setup.profile, market) for market in setup.profile.markets]
        audit = Audit(markets, fund_is_limited=setup.profile.losses.limits_fund)
        for part in batches(setup.commands(600), 200):
            audit.update(exchange.submit(np.array(part, dtype=COMMAND)))
        result = audit.finish(Exchange.rows(exchange))
        broken = [f"{check.id}: {check.difference}" for check in result.checks if not check.ok]
        assert not broken, f"seed {seed}: {broken}"
