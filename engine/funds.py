"""Which insurance fund answers for which market, and what a run puts into them (R130)."""

from collections.abc import Iterable
from decimal import Decimal

from engine import constants as c
from engine.profile import Market, ProfileError, VenueProfile
from engine.units import UnitError, parse_decimal


def fund_id(profile: VenueProfile, market: Market) -> int:
    """R130. The account of the insurance fund that answers for a market: the venue's, or minus the
    id of the first market that has the same fund; that of an asset is the venue's."""
    scope, group = profile.losses.fund_scope, market.fund_group
    shared = scope == "venue" or (scope == "group" and group is None)
    if shared or market.contract == "collateral":
        return int(c.SystemAccount.INSURANCE_FUND)
    if scope == "market":
        return -profile.market_id(market.symbol)
    return -next(n for n, each in enumerate(profile.markets, 1) if each.fund_group == group)


def fund_ids(profile: VenueProfile) -> list[int]:
    """Accounts of every insurance fund of a venue, its own first."""
    own = int(c.SystemAccount.INSURANCE_FUND)
    return list(dict.fromkeys([own, *(fund_id(profile, market) for market in profile.markets)]))


def fund_deposits(
    profile: VenueProfile, symbols: Iterable[str], fund: str, funds: dict[str, str]
) -> list[tuple[int, int]]:
    """What a run begins with in its funds: (account, money) for `fund`, the one fund that answers
    for the markets of a run, and for `funds` by market. Raises ProfileError naming the field."""
    found: dict[int, int] = {}

    def put(place: str, account_id: int, text: str) -> None:
        if account_id in found:
            raise ProfileError(f"{place}: expected each fund once")
        try:
            found[account_id] = parse_decimal(text, profile.settlement.decimals)
        except UnitError as error:
            raise ProfileError(f"{place}: {error}") from None
        if not 0 <= found[account_id] <= c.MONEY_MAX:
            raise ProfileError(f"{place}: expected 0 or more, got {text}")

    answer = {
        symbol: fund_id(profile, profile.markets[profile.market_id(symbol) - 1])
        for symbol in dict.fromkeys([*symbols, *funds])
        if profile.markets[profile.market_id(symbol) - 1].contract == "future"
    }
    if Decimal(fund):
        ids = set(answer.values())
        if len(ids) > 1:
            raise ProfileError(f"fund: {len(ids)} funds answer for these markets: expected funds")
        put("fund", ids.pop(), fund)
    for symbol, text in funds.items():
        if symbol not in answer:
            raise ProfileError(f"funds.{symbol}: expected a futures market")
        put(f"funds.{symbol}", answer[symbol], text)
    return [(account_id, quote) for account_id, quote in found.items() if quote]
