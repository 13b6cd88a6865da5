"""Crashtape: a deterministic simulator of a futures exchange in a crash.

The public names. Each is imported when it is first used, so that `import engine` costs nothing;
`replay` is the module with the function of that name.
"""

from importlib import import_module
from typing import Any

_PLACES = {
    "Exchange": "exchange",
    "EngineFault": "exchange",
    "DurableExchange": "durable",
    "JournalError": "journal",
    "JournalFault": "journal",
    "command": "exchange",
    "ReferenceExchange": "reference.exchange",
    "load_venue": "venue",
    "VenueProfile": "venue",
    "ProfileError": "venue",
    "Capacities": "venue",
    "DepthCurve": "venue",
    "DepthLevel": "venue",
    "COMMAND": "rows",
    "EVENT": "rows",
    "load_scenario": "scenario",
    "ScenarioError": "strict",
    "Report": "messages",
}
_CONSTANTS = (
    *("CancelReason", "Cause", "CommandKind", "EventKind", "Flag", "LiquidationEnd", "OrderType"),
    *("PositionSide", "Reject", "SelfTrade", "Side", "SystemAccount", "TimeInForce"),
    *("TriggerPrice", "ENGINE_VERSION"),
)
_PLACES |= dict.fromkeys(_CONSTANTS, "constants")

__all__ = [*_PLACES, "replay"]


def __getattr__(name: str) -> Any:
    """Import a public name at its first use (PEP 562)."""
    if name == "replay":
        return import_module("engine.replay")
    if name not in _PLACES:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    value = getattr(import_module(f"engine.{_PLACES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, those not yet imported too."""
    return sorted({*globals(), *__all__})
