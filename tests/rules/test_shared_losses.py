"""Policies that share a bankrupt position, or what it lacks, out over the others.

Alice holds ten lots at 100 with a wallet of 100. Bob is short six from 100 with 100, Carol eight
from 110 with 1,000. At mark 94 Alice is bankrupt at 90, where closing costs a short nothing; at
mark 88 she lacks 20 and closing at 90 costs a short 2 a lot. Every number here is ours.
"""

import pytest
from notation import Venue
from small_venues import ALICE_BOB_CAROL as START


def by_policy(name: str, *options: str) -> str:
    """Deleveraging by a policy, the fund for what it leaves."""
    lines = ["losses.waterfall = adl fund_unlimited", f"losses.adl_policy = {name}"]
    lines += [f"losses.sharing.{option}" for option in options]
    return "\n".join(f"given {line}" for line in lines)


def paid_by(name: str, *options: str) -> str:
    """What a bankrupt lacks is paid by the others; the fund takes the position at mark."""
    lines = ["losses.waterfall = loss_sharing fund_unlimited", f"losses.sharing_policy = {name}"]
    lines += [f"losses.sharing.{option}" for option in options]
    return "\n".join(f"given {line}" for line in lines)


@pytest.mark.parametrize(
    ("policy", "options", "bob", "carol"),
    [
        ("queue_lots", ("score = size",), 2, 8),  # the larger first
        ("queue_lots", ("score = profit_times_leverage",), 6, 4),  # 36 * 564 / 136 = 149 before 85
        ("queue_partial", ("score = profit",), 2, 8),  # 128 before 36
        ("queue_full", ("score = endowment",), 2, 8),  # nothing stands against the other four
        ("profit_queue", (), 2, 8),  # all of both, less the excess by the lower profit
        ("wealth_pro_rata", (), 2, 8),  # 10 * 36 / 164 = 2.2 and 7.8
        ("capped_pro_rata", ("haircut_max_ppm = 500000",), 2, 8),  # closing at 90 costs nothing
        ("weighted_pro_rata", ("weight = equity",), 2, 8),  # 1.1 and 8.9, of whom there are eight
        ("weighted_pro_rata", ("weight = notional",), 4, 6),  # 564 and 752 at mark
        ("risk_pro_rata", ("exponent = 1",), 6, 4),  # 36 * 4.15 = 149 and 128 * 0.67 = 85: 6.4, 3.6
        ("contract_pro_rata", (), 4, 6),  # 10 * 6 / 14 = 4.3 and 5.7
        ("min_max_haircut", (), 2, 8),  # by equity, 136 and 1,128: 1.1 and 8.9
        ("min_max_leverage", (), 6, 4),  # four lots are kept, by equity: 0.4 and 3.6
        ("severity", ("theta_ppm = 500000",), 1, 4),  # five lots: 1.1 and 3.9
        ("side_scaling", (), 4, 6),  # 6 - 1 and 8 - 2: one too many, from the lower profit
        ("size_levy", (), 0, 0),  # closes nobody
        ("wealth_to_lots", (), 0, 0),  # no money is at risk at 90
    ],
)
def test_lots_are_shared_out(exchange: Venue, policy, options, bob: int, carol: int):
    """R138. At 94, ten lots; the fund takes what the policy leaves."""
    exchange.play(by_policy(policy, *options)).play(START).play(f"""
        mark 94
        expect bob {f"short {6 - bob}" if bob < 6 else "flat"}
        expect carol {f"short {8 - carol}" if carol < 8 else "flat"}
        expect alice flat
        expect fund {f"long {10 - bob - carol}" if bob + carol < 10 else "flat"}
    """)


def test_the_price_is_the_one_of_deleveraging(exchange: Venue):
    """R138, R119. In account order, at the bankruptcy price."""
    exchange.play(by_policy("contract_pro_rata")).play(START).play("""
        mark 94
        expect event FILL.ADL bob lots 4 price 90
        expect event FILL.ADL carol lots 6 price 90
        expect event LIQUIDATION_ENDED.DELEVERAGED alice amount 0
        expect alice wallet 0
    """)


def test_money_at_risk_becomes_lots(exchange: Venue):
    """R138. At 88 ten lots lose 20 at 90: by profit, 72 and 176, that is 5.81 and 14.19, or at 2 a
    lot two and seven; the last lot is Bob's, who lacks the larger part of one."""
    exchange.play(by_policy("wealth_to_lots")).play(START).play("""
        mark 88
        expect event FILL.ADL bob lots 3 price 90
        expect event FILL.ADL carol lots 7 price 90
    """)


def test_only_winners_may_be_asked(exchange: Venue):
    """R138. Bob, short from 90, has lost at 94."""
    start = START.replace("bob -6 @ 100", "bob -6 @ 90")
    given = by_policy("weighted_pro_rata", "weight = notional")
    exchange.play(given).play("given losses.adl_candidates = winners").play(start).play("""
        mark 94
        expect bob short 6
        expect carol flat
        expect fund long 2
    """)


@pytest.mark.parametrize(
    ("policy", "options", "bob", "carol", "excess"),
    [
        ("wealth_pro_rata", (), "5.81", "14.19", 0),  # 20 * 72 / 248 and 20 * 176 / 248
        ("gains_haircut", (), "5.81", "14.20", "0.01"),  # each rounded against the winner
        ("profit_clawback", (), "5.81", "14.19", 0),
        ("profit_scaling", (), "5.81", "14.20", "0.01"),
        ("queue_partial", ("score = profit",), 0, 20, 0),
        ("queue_full", ("score = profit_times_leverage",), 72, 0, 52),  # Bob, all of his profit
        ("queue_lots", ("score = size",), 4, 16, 0),  # eight lots lose 16 at 90, then two of six
        ("contract_pro_rata", (), "8.57", "11.43", 0),  # six and eight lots of fourteen
        ("size_levy", (), "8.58", "11.44", "0.02"),  # 1.43 a lot
        ("side_scaling", (), "8.58", "11.43", "0.01"),
        ("withdrawal_levy", (), "2.56", "17.45", "0.01"),  # 20 of 1,348 of equity
        ("min_max_haircut", (), "2.55", "17.45", 0),  # 172 and 1,176 of equity
    ],
)
def test_money_is_shared_out(exchange: Venue, policy, options, bob, carol, excess):
    """R139. At 88 Alice lacks 20; what is given beyond it is the fund's."""
    exchange.play(paid_by(policy, *options)).play(START).play("mark 88")
    shared = {"bob": bob, "carol": carol}
    for name, amount in shared.items():
        wanted = f"event LOSS_SHARED {name} amount {amount}" if amount else ""
        exchange.play(f"expect {wanted or f'no event LOSS_SHARED {name}'}")
    exchange.play(f"expect event SURPLUS alice amount {excess}" if excess else "")
    exchange.play("""
        expect alice flat
        expect alice wallet 0
        expect bob short 6
        expect carol short 8
        expect fund long 10
    """)


def test_what_nobody_gives_moves_the_price(exchange: Venue):
    """R139, R70. No more than 5 % of a profit: 3.60 and 8.80. 7.60 are missing, so the fund takes
    ten lots not at 88 but at 88.76, which is 89 in whole prices."""
    given = paid_by("capped_pro_rata", "haircut_max_ppm = 50000")
    exchange.play(given).play(START).play("""
        mark 88
        expect event LOSS_SHARED bob amount 3.60
        expect event LOSS_SHARED carol amount 8.80
        expect event LOSS_COVERED alice amount 12.40
        expect event FILL.RESIDUAL alice lots -10 price 89
        expect alice wallet 2.40
    """)


def test_the_fund_pays_before_the_others(exchange: Venue):
    """R139, R99. With 15 in the fund only 5 are shared: 1.45 and 3.55."""
    given = paid_by("wealth_pro_rata").replace("= loss_sharing", "= fund_payment loss_sharing")
    exchange.play(given).play(START).play("""
        deposit fund 15
        mark 88
        expect event SHORTFALL alice amount 15
        expect event LOSS_SHARED bob amount 1.45
        expect event LOSS_SHARED carol amount 3.55
        expect event LOSS_COVERED alice amount 5
    """)


def test_a_solvent_domain_asks_nobody(exchange: Venue):
    """R139. At 94 Alice has 40 left."""
    exchange.play(paid_by("wealth_pro_rata")).play(START).play("""
        mark 94
        expect no event LOSS_SHARED
        expect fund long 10
    """)


def test_the_lottery_starts_elsewhere_at_another_command(exchange: Venue):
    """R138. Either of two equals may be first; with one try, one of them is closed."""
    found = set()
    for later in range(20):
        venue = Venue(exchange.implementation)
        venue.play(by_policy("lottery", "tries_max = 1")).play(
            START.replace("bob -6 @ 100", "bob -8 @ 110").replace(
                "deposit bob 100", "deposit bob 1000"
            )
        ).play("mark 100\n" * later + "mark 94")
        fills = venue.events[(venue.events["reason"] == 4) & (venue.events["account_id"] != 16)]
        found |= set(fills["account_id"].tolist())
        assert len(fills) == 1 and abs(int(fills["lots"][0])) == 8
    assert found == {17, 18}
