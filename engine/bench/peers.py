"""Other engines on the same work: each in an environment of its own, in turns with ours.

A peer gets the flow as a file and plays it once for every round we ask for; before and after it we
play ours, so that both see the same machine. Its trades must have the checksum of the rulebook's
book. A peer that is not installed, refuses, or trades otherwise is named with the reason.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from engine.bench.book_rows import Say, kernel_calls, new_book
from engine.bench.crowds import isolated_population, populated_exchange
from engine.bench.flows import FLOWS, Flow, make_flow
from engine.bench.results import Peer
from engine.bench.rounds import same, timed
from engine.bench.work import PRICE, Sizes, load_sizes, mark_ticks
from engine.constants import CommandKind, EventKind, Side
from engine.core.flow import Op
from engine.core.kernel import cache_folder
from engine.match import fold
from engine.venue import load_venue

ADAPTERS = Path(__file__).with_name("adapters")
CALLS, LOOP, TICKS = "calls", "loop", "ticks"
HOW = {CALLS: "one call each", LOOP: "in a batch", TICKS: "one call each"}
KINDS = {Op.LIMIT: 0, Op.IOC: 1, Op.CANCEL: 2, Op.MOVE: 3}  # as the adapters know them
PEER_MARKS = 50  # of a round; a peer that looks at every account takes milliseconds for one


class Known(NamedTuple):
    """A peer: its package, the adapter that feeds it, and the ways in which that is done."""

    package: str
    adapter: str
    ways: tuple[str, ...]


KNOWN = (
    Known("orderly-chaos", "with_orderly_chaos", (LOOP, CALLS)),
    Known("liquibook", "with_liquibook", (LOOP, CALLS)),
    Known("bourse", "with_bourse", (CALLS,)),
    Known("limit-order-book", "with_limit_order_book", (CALLS,)),
    Known("lrvx", "with_lrvx", (CALLS, TICKS)),
)


class PeerError(RuntimeError):
    """Why there is no figure of a peer."""


def environment(package: str) -> Path:
    """Where a peer's environment is kept, beside the compiled kernels."""
    return cache_folder().parent / "peers" / package


def interpreter(package: str) -> Path:
    """The peer's own interpreter, whether it is there or not."""
    return environment(package) / "bin" / "python"


def _run(*command: str | Path) -> None:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise PeerError(f"cannot be installed: {lines[-1][:160]}")


def install_all(say: Say = lambda text: None) -> None:
    """Make an environment for every peer; one that cannot be installed leaves its reason there."""
    for known in KNOWN:
        say(f"installing {known.package}")
        home = environment(known.package)
        home.mkdir(parents=True, exist_ok=True)
        reason = home / "reason.txt"
        reason.unlink(missing_ok=True)
        try:
            _run(sys.executable, "-m", "venv", home)
            pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
            _run(interpreter(known.package), *pip, known.package, "numpy")
        except PeerError as error:
            reason.write_text(str(error), "utf-8")


def why_not(package: str) -> str:
    """Why a peer cannot be asked, or "" where it can."""
    reason = environment(package) / "reason.txt"
    if reason.exists():
        return reason.read_text("utf-8")
    if not interpreter(package).exists():
        return "not installed: crashtape bench peers --install"
    return ""


def peer_lines() -> list[str]:
    """A line for each peer."""
    return [f"{known.package}: {why_not(known.package) or 'installed'}" for known in KNOWN]


class Served:
    """A peer's process, which plays the work once for each line it gets. Use it in a `with`."""

    def __init__(self, python: Path, adapter: str, way: str, folder: Path) -> None:
        command = [python, ADAPTERS / "serve.py", adapter, way, folder]
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115, closed in __exit__
        self._process = subprocess.Popen(
            [*map(str, command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            stream.close()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            last = self._errors.read().strip().splitlines() or ["ended without a word"]
            raise PeerError(last[-1][:160])
        found = json.loads(line)
        if "reason" in found:
            raise PeerError(found["reason"])
        return found

    def version(self) -> str:
        """Which version answers; to be asked first. Raises PeerError with its reason for not."""
        return str(self._answer()["version"])

    def play(self) -> tuple[float, tuple[int, int]]:
        """Seconds of a round, and (trades, checksum)."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found = self._answer()
        return found["seconds"], (found["trades"], found["checksum"])


def as_known(flow: Flow) -> np.ndarray:
    """A flow as the adapters read it: kind, order id, 0 for a buy, price in ticks, lots."""
    rows = np.zeros((len(flow.rows), 5), dtype=np.int64)
    for op, kind in KINDS.items():
        rows[flow.rows["op"] == op, 0] = kind
    rows[:, 2] = flow.rows["side"] == Side.SELL
    for column, name in ((1, "order_id"), (3, "price"), (4, "lots")):
        rows[:, column] = flow.rows[name]
    return rows


def in_batch(flow: Flow) -> float:
    """Seconds of ours, in a batch."""
    book = new_book(flow)
    trades = np.concatenate([part.copy() for part in book.run(flow.rows)])
    same("ours in a batch", (flow.trades, flow.checksum), (len(trades), fold(trades, 0)))
    return book.seconds


def one_by_one(flow: Flow) -> float:
    """Seconds of ours, one call a message."""
    seconds, trades = kernel_calls(flow)
    same("ours one by one", (flow.trades, flow.checksum), (len(trades), fold(trades, 0)))
    return seconds


OURS = {LOOP: in_batch, CALLS: one_by_one}


def compared(
    known: Known, way: str, work: str, rows: np.ndarray, wanted: tuple[int, int],
    ours: Callable[[], float], count: int, rounds: int,
) -> Peer:  # fmt: skip
    """Rounds in turn of a peer and ours: medians and ratios, or the reason for none."""
    peer = Peer(name=known.package, flow=work, how=HOW[way], unit="ns" if way == TICKS else "M/s")
    theirs_s, ours_s = [], []
    try:
        if reason := why_not(known.package):
            raise PeerError(reason)
        with tempfile.TemporaryDirectory() as name:
            np.save(Path(name) / "work.npy", rows)
            python = interpreter(known.package)
            with Served(python, known.adapter, way, Path(name)) as served:
                peer.version = served.version()
                for _ in range(rounds + 1):
                    seconds, got = served.play()
                    if got != wanted:
                        trades = f"{got[0]:,} trades of {wanted[0]:,}"
                        raise PeerError(f"it trades otherwise: {trades}, or others")
                    theirs_s.append(seconds)
                    ours_s.append(ours())
    except PeerError as error:
        peer.reason = str(error)
        return peer
    ratios = [theirs / own for theirs, own in zip(theirs_s[1:], ours_s[1:], strict=True)]
    scale = (lambda s: s / count * 1e9) if way == TICKS else (lambda s: count / s / 1e6)
    peer.value = scale(statistics.median(theirs_s[1:]))
    peer.ours = scale(statistics.median(ours_s[1:]))
    peer.ratio, peer.ratios = statistics.median(ratios), ratios
    return peer


def flow_peers(sizes: Sizes, say: Say) -> Iterator[Peer]:
    """Every flow through every peer, in the ways it can be fed."""
    for name in FLOWS:
        flows = {
            LOOP: make_flow(name, sizes.messages, sizes.seed),
            CALLS: make_flow(name, sizes.calls, sizes.seed),
        }
        for known in KNOWN:
            for way in known.ways:
                if way in flows:
                    say(f"{known.package} on the flow {name}, {HOW[way]}")
                    yield flow_peer(known, way, flows[way], sizes.rounds)


def flow_peer(known: Known, way: str, flow: Flow, rounds: int) -> Peer:
    """One peer on one flow."""
    wanted, ours = (flow.trades, flow.checksum), partial(OURS[way], flow)
    work = f"book alone, {flow.name}"
    return compared(known, way, work, as_known(flow), wanted, ours, len(flow.rows), rounds)


def tick_work(accounts: int, marks: int) -> np.ndarray:
    """Tiers, isolated positions and marks, as the adapters read them."""
    market = load_venue(load_sizes().venue).markets[0]
    least, tiers = 0, []
    for tier in market.tiers:
        tiers.append((0, least, tier.maintenance_ppm, 0))
        least = int(tier.notional_to)
    seeds = np.concatenate(list(isolated_population(accounts, PRICE)))
    seeds = seeds[seeds["kind"] == CommandKind.SEED_POSITION]
    fields = (seeds["lots"], seeds["price"], seeds["amount"])
    positions = np.column_stack([np.ones(accounts, np.int64), *fields])
    prices = mark_ticks(marks, PRICE, 0.0)["price"]
    empty = np.zeros(marks, np.int64)
    ticks = np.column_stack([np.full(marks, 2), prices, empty, empty])
    return np.concatenate([np.array(tiers), positions, ticks])


def tick_peers(sizes: Sizes, say: Say) -> Iterator[Peer]:
    """Quiet marks over isolated accounts."""
    accounts = sizes.million_accounts
    exchange, ticks = populated_exchange(accounts), mark_ticks(PEER_MARKS, PRICE, 0.0)
    ones = [ticks[at : at + 1] for at in range(PEER_MARKS)]

    def ours() -> float:
        seconds, parts = timed(lambda: map(exchange.submit, ones))
        kinds = np.unique(np.concatenate(parts)["kind"]).tolist()
        assert kinds == [EventKind.MARK_SET], "the marks are quiet"
        return seconds

    for known in KNOWN:
        if TICKS in known.ways:
            say(f"{known.package} on quiet marks")
            work, rows = f"quiet mark tick, {accounts:,} accounts", tick_work(accounts, PEER_MARKS)
            yield compared(known, TICKS, work, rows, (0, 0), ours, PEER_MARKS, sizes.rounds)


def against_peers(sizes: Sizes, say: Say = lambda text: None) -> list[Peer]:
    """Every peer on every work it can be given."""
    return [*flow_peers(sizes, say), *tick_peers(sizes, say)]
