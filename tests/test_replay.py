"""A run from end to end: its folder, its numbers counted again, and what must not change them."""

import json
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from engine import constants as c
from engine import replay as replay_module
from engine.audit import Audit
from engine.exchange import Exchange
from engine.messages import decode_report
from engine.replay import AuditError, Progress, ReplayError, replay
from engine.rows import COMMAND, rebatch
from engine.run_folder import NAMES, RunFolderError
from engine.scenario import load_scenario
from engine.tape import TapeMarket, TapeMetadata, TapeWriter, read_tape, tape_info
from engine.verify import verify

ROOT = Path(__file__).resolve().parents[1]
BLACK_THURSDAY = ROOT / "scenarios" / "2020-03-12-black-thursday.toml"
SMALL = ("population.accounts=200", "prices.step_seconds=30", 'fund="500000"')


def load_small(*more: str):
    return load_scenario(BLACK_THURSDAY, [*SMALL, *more])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "small"
    return folder, replay(load_small(), folder)


def same(one, other) -> None:
    """Two reports of one scenario agree in everything but the time they took."""
    quiet = [msgspec.structs.replace(r, wall_ns=0, compile_ns=0) for r in (one, other)]
    assert quiet[0] == quiet[1]


def test_the_folder_holds_what_it_should(run):
    folder, report = run
    assert {path.name for path in folder.iterdir()} == NAMES
    assert decode_report((folder / "report.json").read_bytes()) == report
    assert all(report.invariants.values()) and len(report.invariants) == 16
    assert report.identity.difference_quote == 0
    identity = report.identity
    assert identity.deposits_quote - identity.withdrawals_quote == (
        identity.balances_quote - identity.entries_quote
    )
    assert report.refused == [] and report.summary.rejected_count == 0
    assert report.summary.liquidations_count > 50
    assert report.summary.adl_fills_count > 0
    assert "population" in report.assumed_fields
    page = (folder / "report.html").read_text("utf-8")
    assert report.state_digest in page and "16 of 16 invariants hold" in page
    assert "as seen at the start" in page


@pytest.mark.parametrize("batch_size", [1, 7, 4_096])
def test_batches_change_nothing(run, tmp_path, batch_size):
    folder, report = run
    again = replay(load_small(), tmp_path / "run", batch_size=batch_size)
    same(again, report)
    for name in ("events", "fund", "liquidations", "accounts"):
        one, other = (pl.read_parquet(f / f"{name}.parquet") for f in (folder, tmp_path / "run"))
        assert one.equals(other), name
    assert (tmp_path / "run" / "tape.crashtape").read_bytes() == (
        folder / "tape.crashtape"
    ).read_bytes()


def test_overshoot_is_how_much_further_marks_went_than_in_a_pure_replay(run, tmp_path):
    """The replay's mark is the index; the run's own sales take the mark below it."""
    folder, report = run
    assert report.overshoot == []
    loaded = load_small()
    (found,) = replay(loaded, tmp_path / "again", overshoot=True).overshoot
    marks = pl.read_parquet(folder / "marks.parquet")["mark_price"]
    assert found.market == "BTCUSDT"
    assert (float(found.lowest), float(found.highest)) == (float(marks.min()), float(marks.max()))
    replayed = replay(load_small("feedback_ppm=0"), tmp_path / "replayed")
    alone = pl.read_parquet(tmp_path / "replayed" / "marks.parquet")["mark_price"]
    low, high = float(alone.min()), float(alone.max())
    assert (float(found.lowest_replayed), float(found.highest_replayed)) == (low, high)
    assert found.below_ppm == int((low - float(found.lowest)) * 1e6 / low) > 0
    assert replayed.event_digest != report.event_digest


def test_the_report_is_what_the_events_say(run):
    folder, report = run
    events = pl.read_parquet(folder / "events.parquet").with_columns(
        pl.col("kind", "reason").cast(pl.String)
    )
    summary = report.summary

    def of(kind: str) -> pl.DataFrame:
        return events.filter(pl.col("kind") == kind)

    started = of("liquidation_started")
    assert summary.liquidations_count == started.height
    assert summary.accounts_liquidated_count == started["account_id"].n_unique()
    assert summary.equity_at_start_quote == started["amount"].sum()
    assert summary.liquidation_fees_quote == of("liquidation_fee")["amount"].sum()
    assert summary.surplus_quote == of("surplus")["amount"].sum()
    assert summary.fund_paid_quote == of("shortfall")["amount"].sum()
    assert summary.bad_debt_quote == of("bad_debt")["amount"].sum()
    assert report.accounts_count == of("account_opened").height == 200
    assert summary.events_count == events.height
    fills = of("fill")
    unit = load_small().numbers["BTCUSDT"][1].unit_quote
    for reason, where in (("liquidation", "book"), ("takeover", "fund"), ("adl", "adl")):
        taken = fills.filter(pl.col("reason") == reason)
        lots = taken["lots"].abs().sum() // 2
        assert summary.lots[where]["BTCUSDT"] == lots
        notional = (taken["lots"].abs() * taken["price"]).sum() * unit // 2
        assert getattr(summary, f"notional_{where}_quote") == notional
    adl = fills.filter(pl.col("reason") == "adl")
    bankrupt = set(started["account_id"])
    winners = set(adl["account_id"]) - {
        row["account_id"] for row in adl.iter_rows(named=True) if row["other_id"] not in bankrupt
    }
    assert summary.adl_accounts_count >= len(winners - bankrupt)
    assert summary.adl_fills_count == adl.height // 2
    ends = of("liquidation_ended").group_by("reason").len()
    assert summary.liquidation_ends == dict(sorted(ends.iter_rows()))
    accounts = pl.read_parquet(folder / "accounts.parquet")
    fund = accounts.filter(pl.col("account_id") == -1)  # of the first market
    assert fund["balance"][0] * 10**6 == summary.fund_end_quote
    assert fund["unrealised"][0] * 10**6 == summary.fund_unrealised_quote
    assert fund["notional"][0] * 10**6 == summary.fund_notional_quote
    total = sum(accounts["balance"].to_list(), Decimal(0)) + sum(
        accounts["isolated_margin"].to_list(), Decimal(0)
    )
    assert total * 10**6 == report.identity.balances_quote


def test_the_scenario_in_the_folder_gives_the_same_run(run, tmp_path):
    folder, report = run
    again = replay(load_scenario(folder / "scenario.toml"), tmp_path / "again")
    same(again, report)


def test_overrides_of_the_venue_are_kept_in_the_folder(tmp_path):
    loaded = load_small("venue.losses.fund_inventory_ppm=100_000")
    report = replay(loaded, tmp_path / "one", keep_tape=False)
    assert not (tmp_path / "one" / "tape.crashtape").exists()
    assert [patch.path for patch in report.patches] == ["losses.fund_inventory_ppm"]
    again = replay(load_scenario(tmp_path / "one" / "scenario.toml"), tmp_path / "two")
    assert (again.profile_hash, again.state_digest) == (report.profile_hash, report.state_digest)
    checked = verify(tmp_path / "one")
    assert checked.ok and not checked.from_tape


def test_a_run_replaces_a_run_and_nothing_else(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    replay(load_small(), folder, keep_tape=False)
    replay(load_small("seed=5"), folder, keep_tape=False)
    assert json.loads((folder / "report.json").read_bytes())["seed"] == 5
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(
        RunFolderError, match=r"run: not replaced, because no run wrote 'notes.txt'"
    ):
        replay(load_small(), folder)
    assert (folder / "notes.txt").read_text() == "mine"
    (folder / "notes.txt").unlink()
    (folder / "report.json").unlink()
    with pytest.raises(RunFolderError, match=r"holds no report\.json"):
        replay(load_small(), folder)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_broken_invariant_leaves_no_folder(tmp_path, monkeypatch):
    finish = Audit.finish

    def spoiled(self, rows):
        rows = dict(rows)
        rows["accounts"] = rows["accounts"].copy()
        rows["accounts"][20, 1] += 1
        return finish(self, rows)

    monkeypatch.setattr(replay_module.Audit, "finish", spoiled)
    with pytest.raises(AuditError, match=r"audit A11: Balances minus entry values equal"):
        replay(load_small(), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_refused_set_up_ends_the_run(tmp_path):
    path = tmp_path / "small.toml"
    text = BLACK_THURSDAY.read_text().replace(
        "[prices]", "[capacities]\naccounts_max = 50\n[prices]"
    )
    path.write_text(text)
    with pytest.raises(ReplayError) as caught:
        replay(load_scenario(path, SMALL), tmp_path / "run")
    assert str(caught.value) == (
        "small.toml: set-up command 53: OPEN_ACCOUNT of account 66 was refused: ACCOUNTS_FULL"
    )
    assert not (tmp_path / "run").exists()


def write_tape(path: Path) -> None:
    rows = np.zeros(6, COMMAND)
    rows["time_ns"] = np.arange(6) * 10**9
    rows["market_id"] = 1
    rows["kind"] = c.CommandKind.INDEX
    rows["price"] = 800_000
    rows["kind"][2], rows["account_id"][2], rows["lots"][2] = c.CommandKind.NEW_ORDER, 4_711, 5
    rows["kind"][4], rows["account_id"][4] = c.CommandKind.CANCEL, 4_711
    market = TapeMarket(symbol="BTCUSDT", price_decimals=2, lot="0.001")
    with TapeWriter(path, TapeMetadata(markets=[market])) as tape:
        tape.append(rows)


def test_refused_commands_of_a_tape_are_listed(tmp_path):
    write_tape(tmp_path / "orders.tape")
    (tmp_path / "orders.toml").write_text(
        'name = "orders"\ntitle = "two refused"\nseed = 1\nvenue = "binance_usdm"\n'
        'markets = ["BTCUSDT"]\nprices.tape = "orders.tape"\n'
    )
    for batch_size in (1, 5):
        out = tmp_path / f"run{batch_size}"
        report = replay(load_scenario(tmp_path / "orders.toml"), out, batch_size=batch_size)
        assert report.refused_reasons == {"UNKNOWN_ACCOUNT": 2}
        # One set-up command comes first: the first price.
        assert [(r.seq, r.kind) for r in report.refused] == [(4, "NEW_ORDER"), (6, "CANCEL")]
        assert {(r.account_id, r.reason) for r in report.refused} == {(4_711, "UNKNOWN_ACCOUNT")}
        assert report.summary.rejected_count == 2
        assert "UNKNOWN_ACCOUNT 2" in (out / "report.html").read_text("utf-8")


def test_progress_is_told(tmp_path):
    said: list[Progress] = []
    report = replay(load_small(), tmp_path / "run", progress=said.append)
    stages = list(dict.fromkeys(each.stage for each in said))
    assert stages[-3:] == ["setup", "replay", "report"]
    last = [each for each in said if each.stage == "replay"][-1]
    assert last.done == last.total == report.commands_count - report.setup_commands_count


def test_the_tape_in_the_folder_is_the_run(run):
    folder, report = run
    info = tape_info(folder / "tape.crashtape")
    assert (info.tape_hash, info.records) == (report.tape_hash, report.commands_count)
    exchange = Exchange("binance_usdm")
    first = next(iter(read_tape(folder / "tape.crashtape")))
    assert len(exchange.submit(first[:3])) > 0


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_rebatching_keeps_every_row(size):
    blocks = [np.arange(3), np.arange(3, 10), np.arange(10, 11)]
    parts = list(rebatch(blocks, size))
    assert np.concatenate(parts).tolist() == list(range(11))
    assert {len(part) for part in parts[:-1]} <= {size}


def test_an_empty_block_asks_for_everything_before_it():
    asked = []

    def blocks():
        for block in (np.arange(3), np.arange(0), np.arange(3, 8)):
            asked.append(len(block))
            yield block

    parts = rebatch(blocks(), 2)
    assert [next(parts).tolist() for _ in range(3)] == [[0, 1], [2], []]
    assert asked == [3, 0], "what comes after it is not asked for yet"
    assert [part.tolist() for part in parts] == [[3, 4], [5, 6], [7]]


def test_verify_repeats_the_run(run):
    result = verify(run[0])
    assert result.ok and result.from_tape
    assert result.state_digest == run[1].state_digest
    assert result.commands_count == run[1].commands_count


def copy_run(run, tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in run[0].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_verify_names_the_first_altered_event(run, tmp_path):
    folder = copy_run(run, tmp_path)
    table = pq.read_table(folder / "events.parquet")
    amounts = table["amount"].to_numpy().copy()
    amounts[[700, 900]] += 1
    place = table.column_names.index("amount")
    pq.write_table(table.set_column(place, "amount", [amounts]), folder / "events.parquet")
    (difference,) = verify(folder).differences
    recorded, now = int(amounts[700]), int(amounts[700]) - 1
    seq = table["seq"][700].as_py()
    assert difference == (
        f"events.parquet: event 701 (command {seq}): amount: recorded {recorded}, now {now}"
    )
    pq.write_table(table.slice(0, table.num_rows - 1), folder / "events.parquet")
    (difference,) = verify(folder).differences
    assert difference.endswith(f"event {table.num_rows}: recorded none, now there is one")


def test_verify_finds_an_altered_tape_and_report(run, tmp_path):
    folder = copy_run(run, tmp_path)
    data = bytearray((folder / "tape.crashtape").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "tape.crashtape").write_bytes(data)
    differences = verify(folder).differences
    assert "block hash" in differences[0] and len(differences) >= 2
    (folder / "tape.crashtape").write_bytes((run[0] / "tape.crashtape").read_bytes())
    text = (folder / "report.json").read_text().replace(run[1].state_digest, "0" * 64)
    (folder / "report.json").write_text(text)
    (difference,) = verify(folder).differences
    assert difference.startswith("state digest: recorded 000")


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunFolderError, match=r"report\.json: No such file or directory"):
        verify(tmp_path)
    (tmp_path / "report.json").write_text('{"name": 1}')
    with pytest.raises(RunFolderError, match=r"report\.json: .*`\$\.name`"):
        verify(tmp_path)
