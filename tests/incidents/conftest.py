"""Incidents are acted out on either implementation."""

import pytest
from notation_more import Stage


@pytest.fixture(params=["rulebook", "core"])
def stage(request: pytest.FixtureRequest) -> Stage:
    """An exchange driven by sentences: once the rulebook, once the core."""
    return Stage(request.param)
