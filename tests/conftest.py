"""What every test can use: an exchange of either implementation, and the recorded market data."""

from pathlib import Path

import pytest
from notation import Venue

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `realdata` on machines without the recordings."""
    if SHARED_DATA.is_dir():
        return
    for item in items:
        if item.get_closest_marker("realdata"):
            item.add_marker(pytest.mark.skip(reason="no recorded data in ../shared/data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of recorded market data; use it in tests marked `realdata`."""
    return SHARED_DATA


@pytest.fixture(params=["rulebook", "core"])
def exchange(request: pytest.FixtureRequest) -> Venue:
    """An exchange driven by sentences (see `notation`): once the rulebook, once the core."""
    return Venue(request.param)
