"""The published figures of the deleveraging of 10 October 2025, and what real lots change.

Constants in USD; `test_published_waves` makes them from the files again, and docs/policies.md
prints the second table.
"""

from decimal import Decimal

# policy, budget taken, taken minus needed; needed is 15,079,669.61 in all
NEEDED = Decimal("15079669.61")
SEVEN_POLICIES = {
    "prod": (Decimal("60108335.33"), Decimal("45028665.72")),
    "pr": (Decimal("15079669.61"), Decimal("0.00")),
    "pnl_pr": (Decimal("15079669.61"), Decimal("0.00")),
    "eq_pr": (Decimal("15079669.61"), Decimal("0.00")),
    "vector": (Decimal("13286647.58"), Decimal("-1793022.03")),
    "contract_pr": (Decimal("12059548.96"), Decimal("-3020120.65")),
    "fixed_point_ilp_integer": (Decimal("15171856.60"), Decimal("92186.99")),
}

# overshoot of production when the mark is read so many milliseconds after the wave
HORIZONS = {
    0: Decimal("45028665.72"),
    500: Decimal("51673606.61"),
    1000: Decimal("51012123.23"),
    2000: Decimal("47446692.11"),
    5000: Decimal("49273475.02"),
}
ONE_TIMESTAMP, SPREAD_OUT = Decimal("-3794037.36"), Decimal("48822703.08")
QUEUE_OVERSHOOT, QUEUE_RESIDUAL = Decimal("653552663.51"), Decimal("16690263.85")

LOT_DECIMALS = {"BTC": 5, "SOL": 2}

# wave, coin, coins needed; then money needed, taken by whole coins, taken by lots, and the accounts
# that whole coins and lots touch
REAL_LOTS = [
    ("2", "SOL", "0.01", "0.00", "0.30", "0.00", 1, 1),
    ("9", "SOL", "0.18", "0.19", "1.07", "0.19", 1, 9),
    ("13", "BTC", "3070.5706", "1893165.21", "1893429.95", "1893165.21", 92, 600),
    ("14", "BTC", "431.09873", "416315.08", "417185.44", "416315.08", 38, 596),
    ("14", "SOL", "9.79", "20.56", "21.00", "20.56", 6, 75),
    ("21", "BTC", "0.11733", "74.86", "638.00", "74.86", 1, 180),
]
