"""Crashtape: a deterministic simulator of a futures exchange in a crash.

The public names. What needs the compiled core or the report is imported when it is first used,
so that `import engine` costs nothing.
"""

from importlib import import_module
from typing import Any

from engine.constants import (
    CommandKind,
    EventKind,
    Flag,
    OrderType,
    PositionSide,
    Reject,
    SelfTrade,
    Side,
    SystemAccount,
    TimeInForce,
    TriggerPrice,
)
from engine.constants import ENGINE_VERSION as __version__

_PLACES = {
    "Exchange": "exchange",
    "command": "exchange",
    "ReferenceExchange": "reference.exchange",
    "load_venue": "venue",
    "VenueProfile": "venue",
    "Capacities": "venue",
    "DepthCurve": "venue",
    "DepthLevel": "venue",
    "COMMAND": "rows",
    "EVENT": "rows",
    "load_scenario": "scenario",
    "Report": "messages",
    "replay": "replay",
}

__all__ = [
    *_PLACES,
    *("CommandKind", "EventKind", "Flag", "OrderType", "PositionSide", "Reject", "SelfTrade"),
    *("Side", "SystemAccount", "TimeInForce", "TriggerPrice", "__version__"),
]


def __getattr__(name: str) -> Any:
    """Import a public name at its first use (PEP 562)."""
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    value = getattr(import_module(f"engine.{place}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, those not yet imported too."""
    return sorted({*globals(), *__all__})
