"""Other engines beside ours: what is compared before a figure stands, and every reason for none.

No other engine is needed: a stand-in answers as an adapter does, with trades that a test gives it.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_cli import crashtape

from engine.bench import peers
from engine.bench.adapters import serve
from engine.bench.book_rows import new_book
from engine.bench.flows import Flow, make_flow
from engine.bench.peers import CALLS, LOOP, Known, as_known, flow_peer
from engine.bench.results import BenchFault, Machine, Table
from engine.bench.text import markdown_lines, peer_cells, table_lines

STAND_IN = Known("numpy", "with_stand_in", (LOOP, CALLS))
ADAPTER = """
import os
from io import UnsupportedOperation
import numpy as np
PACKAGE = "numpy"
def player(way, rows, folder):
    told = os.environ["STAND_IN"]
    if told.startswith("no: "):
        raise UnsupportedOperation(told[4:])
    if told == "broken":
        raise ValueError("it fell over")
    trades = np.load(told).tolist()
    seconds = 0.001 * len(rows)
    return lambda: (seconds, trades)
"""
MACHINE = Machine(processor="", cores=2, load=0.0, python="", numpy="", numba="", crashtape="",
                  date="")  # fmt: skip


@pytest.fixture(scope="module")
def flow() -> Flow:
    return make_flow("realistic", 900, 1)


@pytest.fixture
def stand_in(monkeypatch, tmp_path, flow):
    """Says what the stand-in is to do; its right trades are in the file `trades.npy`."""
    (tmp_path / "with_stand_in.py").write_text(ADAPTER)
    made = np.concatenate([part.copy() for part in new_book(flow).run(flow.rows)])
    names = ("maker_id", "taker_id", "price", "lots")
    np.save(tmp_path / "trades.npy", np.column_stack([made[name] for name in names]))
    monkeypatch.setattr(peers, "interpreter", lambda package: Path(sys.executable))
    monkeypatch.setattr(peers, "environment", lambda package: tmp_path / "none")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def tell(what: str) -> None:
        monkeypatch.setenv("STAND_IN", what)

    tell(str(tmp_path / "trades.npy"))
    return tell


@pytest.mark.parametrize("way", [LOOP, CALLS])
def test_a_peer_with_the_same_trades_has_figures(stand_in, monkeypatch, flow, way):
    monkeypatch.setitem(peers.OURS, way, lambda given: 0.1)
    peer = flow_peer(STAND_IN, way, flow, 3)
    assert (peer.name, peer.version, peer.reason) == ("numpy", np.__version__, "")
    assert peer.value == pytest.approx(900 / 0.9 / 1e6)
    assert peer.ours == pytest.approx(900 / 0.1 / 1e6)
    assert peer.ratio == pytest.approx(9.0) and peer.ratios == pytest.approx([9.0] * 3)


@pytest.mark.parametrize("way", [LOOP, CALLS])
def test_ours_is_checked_in_the_same_rounds(flow, way):
    assert peers.OURS[way](flow) > 0
    wrong = Flow(**(vars(flow) | {"checksum": flow.checksum ^ 1}))
    with pytest.raises(BenchFault, match="no figure is given"):
        peers.OURS[way](wrong)


def test_other_trades_give_no_figure(stand_in, flow, tmp_path):
    trades = np.load(tmp_path / "trades.npy")
    for name, other, words in (
        ("fewer.npy", trades[1:], f"{flow.trades - 1:,} trades of {flow.trades:,}"),
        ("turned.npy", trades[::-1], f"{flow.trades:,} trades of {flow.trades:,}, or others"),
    ):
        np.save(tmp_path / name, other)
        stand_in(str(tmp_path / name))
        peer = flow_peer(STAND_IN, LOOP, flow, 1)
        assert words in peer.reason and (peer.value, peer.ratio) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("told", "reason"),
    [("no: it has no trades", "it has no trades"), ("broken", "ValueError: it fell over")],
)
def test_a_peer_that_cannot_play_is_named_with_the_reason(stand_in, flow, told, reason):
    stand_in(told)
    peer = flow_peer(STAND_IN, LOOP, flow, 1)
    assert peer.reason == reason
    table = Table(kind="throughput", quick=False, machine=MACHINE, rows=[], peers=[peer])
    assert peer_cells(table)[0][3:6] == ("–", "–", "–")
    for lines in (table_lines(table), markdown_lines(table)):
        assert reason in "\n".join(lines)


def test_a_peer_that_is_not_installed_is_named(monkeypatch, tmp_path, flow):
    monkeypatch.setattr(peers, "environment", lambda package: tmp_path / package)
    peer = flow_peer(STAND_IN, LOOP, flow, 1)
    assert peer.reason == "not installed: crashtape bench peers --install"


def test_why_it_could_not_be_installed_stays_known(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(peers, "environment", lambda package: tmp_path / package)
    monkeypatch.setattr(peers.sys, "executable", str(shutil.which("false")))
    status, out, err = crashtape(monkeypatch, capsys, "bench", "peers", "--install")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        f"{known.package}: cannot be installed: no message" for known in peers.KNOWN
    ]


def test_a_flow_is_written_as_the_adapters_read_it(flow):
    rows = as_known(flow)
    assert rows.shape == (900, 5) and np.unique(rows[:, 0]).tolist() == [0, 1, 2]
    assert rows[0].tolist() == [0, *flow.rows[0].tolist()[1:2], 0 if flow.rows[0][2] == 1 else 1,
                                *flow.rows[0].tolist()[3:]]  # fmt: skip
    moves = as_known(make_flow("exchcore", 2_000, 1))
    assert (moves[:, 0] == 3).sum() > 500


def test_the_checksum_over_there_is_ours(flow, stand_in, tmp_path):
    assert serve.checksum(np.load(tmp_path / "trades.npy").tolist()) == flow.checksum


def test_marks_come_after_tiers_and_positions():
    rows = peers.tick_work(40, 7)
    kinds, counts = np.unique(rows[:, 0], return_counts=True)
    assert kinds.tolist() == [0, 1, 2] and counts[1:].tolist() == [40, 7]
    assert rows[0].tolist() == [0, 0, 4_000, 0] and rows[1].tolist() == [0, 50_000, 5_000, 0]
    assert (np.diff(rows[:, 0]) >= 0).all()


@pytest.mark.parametrize("known", peers.KNOWN, ids=lambda known: known.package)
def test_every_adapter_is_there(known):
    text = (peers.ADAPTERS / f"{known.adapter}.py").read_text()
    assert f'PACKAGE = "{known.package}"' in text and "def player(" in text


def test_the_loop_in_c_is_sound():
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler on this machine")
    source = peers.ADAPTERS / "orderly_chaos_loop.c"
    flags = ["-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    done = subprocess.run([compiler, *flags, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
