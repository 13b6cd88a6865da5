"""Writes `2025-10-10-hyperliquid-twin.toml`: facts and fitted numbers here, repetition there.

Published are totals, the ten largest coins, and times; the other 152 coins follow a law that meets
the published totals. Run it without arguments; a test compares the file with what it writes.
Figures: HyperMultiAssetedADL and ADLVisualizer by ConejoCapital (powered by HyperReplay - (c)
ConejoCapital); only aggregate facts are used.
"""

from math import exp
from pathlib import Path

SOURCE = "github.com/ConejoCapital/HyperMultiAssetedADL (79bad0f), powered by HyperReplay"
TOTAL_USD, COINS, EVENTS = 2_103_111_431, 162, 34_983
# Coin, deleveraged USD, deleveragings: published.
LARGEST = (
    ("BTC", 620_890_948, 2_443), ("ETH", 458_008_925, 1_498), ("SOL", 276_200_961, 3_031),
    ("HYPE", 189_932_888, 6_229), ("XPL", 65_849_039, 2_984), ("PUMP", 57_293_422, 1_868),
    ("ENA", 42_494_476, 360), ("AVAX", 36_642_783, 407), ("FARTCOIN", 31_991_224, 1_999),
    ("XRP", 31_422_285, 607),
)  # fmt: skip

# Fitted: see the description in the file.
ACCOUNTS, FURTHER, MULTI_PPM = 20_100, 2, 500_000
OPEN_INTEREST_PPM = 1_020_000  # shorts of the crowd against what is closed
TAIL_PPM, LONG_SHARE_PPM = 620_000, 40_000
SLICES = 15  # of the second vault
FIRST_SHARE_PPM = 590_000  # of every coin in the first vault
# A price is a command of its own, so the coin that breaks a vault moves last, and moves most.
BREAKING = "BTC"
MARKS = {"21:14:57Z": 10_000, "21:15:03.127372Z": 9_850, "21:15:09Z": 9_851,
         "21:16:50Z": 9_500, "21:16:56Z": 9_501, "21:26:57Z": 9_501}  # fmt: skip
MARKS_BREAKING = {"21:14:57Z": 10_000, "21:15:03.127372Z": 9_850, "21:15:09Z": 9_851,
                  "21:16:04.831874Z": 9_150, "21:17:06.037894Z": 8_400,
                  "21:26:57Z": 8_400}  # fmt: skip
# By vault: entries of the other coins and of the breaking one, the marks both are closed at, and
# the wallet in 0.01 % of the entry value.
VAULTS = {
    "vault-1": ("100", "100", 0.9851, 0.915, 278),
    "vault-2": ("96", "91.5", 0.9501, 0.84, 202),
}


def coins() -> list[tuple[str, int, int]]:
    """Symbol, USD and deleveragings of every coin; the totals are met. The breaking one is last."""
    left = COINS - len(LARGEST)
    rest, events = (whole - sum(row[at] for row in LARGEST)
                    for at, whole in ((1, TOTAL_USD), (2, EVENTS)))  # fmt: skip
    usd = [max(exp(-rank / 10.7), 8e-5) for rank in range(left)]
    count = [max(exp(-rank / 40), 0.04) for rank in range(left)]
    found = list(LARGEST[1:])
    for rank in range(left):
        share = round(rest * usd[rank] / sum(usd))
        often = max(1, round(events * count[rank] / sum(count)))
        found.append((f"C{rank + 11:03d}", share, often))
    return [*found, LARGEST[0]]


def text() -> str:
    """The whole file."""
    rows = coins()
    symbols = [symbol for symbol, _, _ in rows]
    uniform = ACCOUNTS * MULTI_PPM // 1_000_000 * FURTHER // COINS
    parts = [HEAD.replace("SYMBOLS", ", ".join(f'"{s}"' for s in symbols))]
    parts.append('[patch]\n"losses.adl_price" = "mark"\nmarkets = [')
    parts += [f'  {{ symbol = "{symbol}", {MARKET} }},' for symbol in symbols]
    parts.append("]\n\n" + PRICES + "points = [")
    for symbol in symbols:
        marks = MARKS_BREAKING if symbol == BREAKING else MARKS
        parts += [
            f'  {{ time = "2025-10-10T{time}", market = "{symbol}", price = "{mark // 100}.'
            f'{mark % 100:02d}" }},'
            for time, mark in marks.items()
        ]
    parts.append("]\n\n" + POPULATION + "markets = [")
    vaults: dict[str, list[str]] = {name: [] for name in VAULTS}
    worth = dict.fromkeys(VAULTS, 0.0)
    for symbol, usd, often in rows:
        breaks = symbol == BREAKING
        closed = [marks[3 if breaks else 2] for marks in VAULTS.values()]  # of a lot, 0.01 coin
        one = max(1, round(usd * FIRST_SHARE_PPM / 1_000_000 / closed[0]))
        two = max(1, round((usd - one * closed[0]) / closed[1] / SLICES))
        crowd = (one + SLICES * two) * OPEN_INTEREST_PPM // 1_000_000 + 2
        weight = max(1, often - uniform)
        parts.append(
            f'  {{ market = "{symbol}", weight = {weight}, open_interest_lots = {crowd}, '
            f"size_tail_ppm = {TAIL_PPM}, lots_max = {crowd} }},"
        )
        for (name, (other, breaking, *_)), lots in zip(VAULTS.items(), (one, two), strict=True):
            entry = breaking if breaks else other
            worth[name] += lots * float(entry) / 100
            vaults[name].append(
                f'  {{ market = "{symbol}", side = "long", lots = {lots}, entry = "{entry}" }},'
            )
    parts.append("]\n")
    for name, copies in (("vault-1", 1), ("vault-2", SLICES)):
        wallet = round(worth[name] * VAULTS[name][4] / 10_000)
        parts.append(f'[[accounts]]\nname = "{name}"\ncopies = {copies}\nwallet = "{wallet}"')
        parts += ["positions = [", *vaults[name], "]\n"]
    return "\n".join([*parts, TAIL])


HEAD = '''# 10 October 2025: a twin of the deleveraging, calibrated to published totals.
# Written by make_twin.py.
name = "2025-10-10-hyperliquid-twin"
title = "10 October 2025: 2.1 billion deleveraged in 162 coins"
description = """
Two vaults lose on every coin and 19,337 accounts are deleveraged against them. Fitted: what is
closed in each coin (the vaults' positions), the prices and times of the two bursts and with them
what the vaults lose, how many accounts there are, in how many coins each is, their leverage and
entries, the tail of their sizes and how much of the short side is closed; the second vault is cut
into 15 slices, since it was filled and closed again many times. Given by the profile: liquidations
before ADL, ADL in the position's own coin. Out of it came by themselves: which accounts are hit and
how often, how unequal it is, how many closes are partial. Changed: ADL is at the mark, not at the
previous one, because prices move one command at a time here and the previous mark of the coin that
broke a vault would heal it. Not reproduced: the 28,654 liquidations into the market, the 100
instants with ADL (here two), prices of single coins (they start at 100; all but BTC fall alike).
"""
seed = 20251010
venue = "hyperliquid"
markets = [SYMBOLS]
feedback_ppm = 0
digest = "DIGEST"
'''
MARKET = (
    'payoff = "linear", price_decimals = 2, tick = "0.01", lot = "0.01", price_max = "400", '
    "order_lots_max = 1_000_000_000, open_interest_lots_max = 1_600_000_000, "
    "leverage_default = 40, maker_fee_ppm = 150, taker_fee_ppm = 450, liquidation_fee_ppm = 0, "
    'tiers = [{ notional_to = "10000000000", leverage_max = 40, maintenance_ppm = 12_500 }]'
)
PRICES = f"""[prices]
source = "times: {SOURCE}; prices: ours"
interpolation = "steps"
step_seconds = 86_400
"""
POPULATION = f"""[population]
kind = "drawn"
accounts = {ACCOUNTS}
long_share_ppm = {LONG_SHARE_PPM}
isolated_ppm = 0
multi_market_ppm = {MULTI_PPM}
further_markets = {FURTHER}
leverage_median = 1
leverage_sd_ppm = 700_000
leverage_max = 2
leverage_size_elasticity_ppm = 0
entry_sd_ppm = 100_000
entry_shift_ppm = 250_000
wallet_factor_ppm = 2_300_000
wallet_factor_sd_ppm = 1_000_000
"""
FACTS = (
    ("deleveraged, USD", "notional_adl", "2103111431", "1000"),
    ("deleveragings", "adl_fills_count", "34983", "1750"),
    ("accounts deleveraged", "adl_accounts_count", "19337", "970"),
    ("coins", "adl_markets", "162", "0"),
    ("Gini of what accounts gave", "adl_gini", "0.9818", "0.005"),
    ("of the positions were winners, %", "adl_winners_percent", "99.4", "0.5"),
    ("partial closes, %", "adl_partial_percent", "7.35", "1"),
    ("first liquidation to first ADL, s", "adl_delay_seconds", "61.7045", "0.0001"),
    ("liquidation fills after an ADL of the same instant", "adl_disorder", "0", "0"),
    ("ADL across assets", "adl_across_markets", "0", "0"),
    ("loss left by the vaults, USD", "bad_debt", "23191104", "1000000"),
    ("liquidations of the first second", "liquidations:retail", "104", "0"),
)
TAIL = (
    '''[[accounts]]
name = "retail"
copies = 104
wallet = "22"
positions = [{ market = "BTC", side = "long", lots = 1_000, entry = "100", leverage = 40 }]

[[accounts]]
name = "retail-later"
copies = 100
wallet = "75"
positions = [{ market = "BTC", side = "long", lots = 1_000, entry = "98.5", leverage = 40 }]
'''
    + "".join(
        f'\n[[facts]]\nwhat = "{what}"\nsource = "{SOURCE}"\nmeasure = "{measure}"\n'
        f'expected = "{expected}"\ntolerance = "{tolerance}"\n'
        for what, measure, expected, tolerance in FACTS
    )
    + "".join(
        f'\n[[evidence]]\nfield = "{field}"\nsource = "{source}"\nstatus = "{status}"\n'
        for field, source, status in (
            ("accounts vault-1, vault-2", f"{SOURCE}: totals of ten coins; the others by a law "
             "with the published sum; the split in two and in slices is fitted", "third_party"),
            ("accounts retail", f"{SOURCE}: 104 in the first second; their size is ours",
             "third_party"),
            ("accounts retail-later", "100 that fall with the first vault are ours", "assumed"),
            ("population", "fitted to the published counts; no list of accounts is used",
             "assumed"),
            ("prices.points", "one fall for all coins but BTC; times of the bursts are published",
             "assumed"),
            ("patch.markets", "one set of units and tiers for all coins", "assumed"),
        )
    )
)  # fmt: skip
FILE = Path(__file__).with_name("2025-10-10-hyperliquid-twin.toml")

if __name__ == "__main__":
    digest = ""
    if FILE.exists():
        digest = FILE.read_text().split('digest = "')[1].split('"')[0]
    FILE.write_text(text().replace("DIGEST", digest))
