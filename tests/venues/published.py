"""Examples that Binance published or that were checked against it, numbers verbatim.

Each entry: inputs, expected, absolute tolerance, source. They are the entries of the same id of
`../shared/vectors/worked_examples.json`; a test compares the two where that file is present.
"""

FAQ = (
    "archived copy 23179848571 (a 2020 copy of Binance Futures FAQ pages: Liquidation, Mark Price, "
    "Funding, Counterparty Liquidation); same text family: "
    "https://www.binance.com/en/support/faq/b3c689c1f50a44cabb3a84e663b81d93"
)
FREQTRADE = (
    "freqtrade/freqtrade@c9ae5e1 tests/exchange/test_binance.py::test_liquidation_price_binance "
    "(comment 'From calc example'; reproduces Binance FAQ b3c689c1f50a44cabb3a84e663b81d93)"
)
FREQTRADE_TOY = (
    "freqtrade/freqtrade@c9ae5e1 tests/exchange/test_exchange.py::test_get_liquidation_price"
)

PUBLISHED = {
    "binance.mark.price1.2020": (
        {
            "index_price": 10000,
            "funding_rate": 0.0003,
            "time_until_funding": 4,
            "funding_interval": 8,
        },
        {"basis": 0.00015, "price_1": 10001.5},
        1e-06,
        FAQ,
    ),
    "binance.cum.table.btcusdt.2021-03": (
        {
            "tier_floor": [
                *(0, 50000.0, 250000.0, 1000000.0, 10000000.0),
                *(20000000.0, 50000000.0, 100000000.0, 200000000.0, 300000000.0),
            ],
            "mmr": [0.004, 0.005, 0.01, 0.025, 0.05, 0.1, 0.125, 0.15, 0.25, 0.5],
        },
        {
            "cum": [
                *(0, 50, 1300, 16300, 266300),
                *(1266300, 2516300, 5016300, 25016300, 100016300),
            ]
        },
        0.01,
        "https://www.binance.com/tr/support/announcement/86cf9aa472574b8cb2e05bb751c2a9a6 (tiers) "
        "and gist highfestiva/b71e76f51eed84d56c1be8ebbcc286b5 (amounts)",
    ),
    "binance.cum.table.btcusdt.2024-10": (
        {
            "tier_floor": [
                *(0, 50000.0, 600000.0, 3000000.0, 12000000.0, 70000000.0, 100000000.0),
                *(230000000.0, 480000000.0, 600000000.0, 800000000.0, 1200000000.0),
            ],
            "mmr": [0.004, 0.005, 0.0065, 0.01, 0.02, 0.025, 0.05, 0.1, 0.125, 0.15, 0.25, 0.5],
            "max_leverage": [125, 100, 75, 50, 25, 20, 10, 5, 4, 3, 2, 1],
        },
        {
            "cum": [
                *(0, 50, 950, 11450, 131450, 481450, 2981450),
                *(14481450, 26481450, 41481450, 121481450, 421481450),
            ]
        },
        0.01,
        "freqtrade/freqtrade@c9ae5e1 freqtrade/exchange/binance_leverage_tiers.json "
        "(BTC/USDT:USDT, snapshot Oct 2024)",
    ),
    "binance.liq.cross.btc_short.2020": (
        {
            "wallet_balance": 10.72,
            "tmm_other": 1.3,
            "upnl_other": 0.47,
            "cum": 0,
            "side": -1,
            "qty": 0.005,
            "entry_price": 9451.53,
            "mmr": 0.004,
        },
        {"liquidation_price": 11383.99},
        0.02,
        FAQ,
    ),
    "binance.liq.isolated.eth_long": (
        {
            "wallet_balance": 1535443.01,
            "tmm_other": 0,
            "upnl_other": 0,
            "cum": 135365.0,
            "side": 1,
            "qty": 3683.979,
            "entry_price": 1456.84,
            "mmr": 0.1,
        },
        {"liquidation_price": 1114.78},
        0.01,
        FREQTRADE,
    ),
    "binance.liq.cross.eth_long.two_positions": (
        {
            "wallet_balance": 1535443.01,
            "qty": 3683.979,
            "entry_price": 1456.84,
            "mmr": 0.1,
            "cum": 135365,
            "side": 1,
            "other_qty": 109.488,
            "other_entry": 32481.98,
            "other_mark": 31967.27,
            "other_mmr": 0.025,
            "other_cum": 16300,
            "other_side": 1,
        },
        {"tmm_other": 71200.81, "upnl_other": -56354.57, "liquidation_price": 1153.26},
        0.02,
        FREQTRADE,
    ),
    "binance.liq.cross.btc_long.two_positions": (
        {
            "wallet_balance": 1535443.01,
            "qty": 109.488,
            "entry_price": 32481.98,
            "mmr": 0.025,
            "cum": 16300,
            "side": 1,
            "other_qty": 3683.979,
            "other_entry": 1456.84,
            "other_mark": 1335.18,
            "other_mmr": 0.1,
            "other_cum": 135365,
            "other_side": 1,
        },
        {"tmm_other": 356512.51, "upnl_other": -448192.89, "liquidation_price": 26316.89},
        0.02,
        FREQTRADE,
    ),
    "binance.liq.isolated.short5x.toy": (
        {
            "wallet_balance": 2.0,
            "tmm_other": 0,
            "upnl_other": 0,
            "cum": 0.01,
            "side": -1,
            "qty": 1.0,
            "entry_price": 10.0,
            "mmr": 0.01,
        },
        {"liquidation_price": 11.89108910891089},
        1e-09,
        FREQTRADE_TOY,
    ),
    "binance.liq.isolated.long5x.toy": (
        {
            "wallet_balance": 2.0,
            "tmm_other": 0,
            "upnl_other": 0,
            "cum": 0.01,
            "side": 1,
            "qty": 1.0,
            "entry_price": 10.0,
            "mmr": 0.01,
        },
        {"liquidation_price": 8.070707070707071},
        1e-09,
        FREQTRADE_TOY,
    ),
    "binance.adl.score.winner": (
        {"unrealized_profit": 500, "wallet_balance": 1000, "maintenance_margin": 75},
        {"pnl_percent": 0.5, "margin_ratio": 0.05, "leverage_pnl": 0.025},
        1e-12,
        FAQ,
    ),
    "binance.fund.inventory_cap": (
        {
            "fund_balance": 1000000,
            "fund_net_notional": 900000,
            "incoming_notional": 150000,
            "cap_multiple": 1.0,
        },
        {"fund_accepts": False, "route": "counterparty_liquidation"},
        0.0,
        FAQ,
    ),
    "binance.coinm.cum.level5": (
        {"floor_n": 50, "mmr_n": 0.05, "mmr_prev": 0.025, "cum_prev": 0.56},
        {"cum_n": 1.81},
        1e-09,
        "https://www.binance.com/es/support/faq/ceccfcfb4e3a45e3b48b0b1bb1a8ae46",
    ),
}

# The engine takes funding rates from the tape and computes none.
NOT_ENGINE_RULES = {"binance.funding.deadband.upper", "binance.funding.outside"}
