"""From a loaded scenario to a run folder: feed the exchange, audit it, write what happened.

Commands go through the exchange in batches; their events are digested, audited and written while
they are drained, so that neither the commands nor the events of a run are ever held together.
Nothing depends on the size of the batches. Which commands a scenario gives is decided in
`scenario.py`, what the tables and the page show in `report/`. `simulate` is the same without a
folder, for studies of many runs.
"""

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np

from engine import constants as c
from engine.audit import Audit, AuditResult
from engine.core.kernel import FIRST_PART_WORD, PART_WORDS
from engine.core.linking import is_cold, link_parts
from engine.digest import EventDigest, state_digest
from engine.exchange import Exchange
from engine.measures import MeasureError, Measures
from engine.messages import (
    MeasuredFact,
    MoneyIdentity,
    Overshoot,
    RefusedCommand,
    Report,
    RunSummary,
)
from engine.profile import VenueProfile
from engine.report import story
from engine.report.page import page_data, write_page
from engine.report.planned import liquidation_map
from engine.report.tables import RunWriter, Watcher
from engine.rows import COMMAND, rebatch
from engine.run_folder import (
    PAGE,
    TAPE,
    replacing,
    tape_metadata,
    write_inputs,
    write_report,
)
from engine.run_journal import RunJournal
from engine.scenario import (
    LoadedScenario,
    assumed_fields,
    depth_curves,
    engine_capacities,
    market_commands,
    setup_commands,
)
from engine.tape import TapeWriter, tape_info
from engine.venue import Capacities, market_numbers

BATCH_SIZE_DEFAULT = 65_536
GATHERED_ROWS = 1 << 16  # events or commands handed on together: small batches cost no more
_WARM: list[bool] = []  # holds something once this process has loaded the kernels
LOADING_NS_MAX = 2_000_000_000  # cached kernels load in a fraction of it
REFUSED_LISTED_MAX = 1_000  # in report.json; every one is in events.parquet


class ReplayError(ValueError):
    """A scenario cannot be replayed: what was refused, where and why."""


class AuditError(RuntimeError):
    """A run broke an invariant; its results must not be used."""


@dataclass(frozen=True)
class Progress:
    """How far a run is. `total` commands is None where only reading to the end would tell."""

    stage: str  # compile, setup, replay or report
    done: int = 0
    total: int | None = None
    time_ns: int = 0  # of the last command


Say = Callable[[Progress], None]


def warm_up(profile: VenueProfile, say: Say = lambda progress: None) -> int:
    """Load the kernels, compiling what this machine has not compiled yet.

    Returns the nanoseconds that compiling took, 0 where everything was cached.
    """
    started = time.perf_counter_ns()
    cold = is_cold()

    def compiling() -> bool:
        return cold or time.perf_counter_ns() - started > LOADING_NS_MAX

    def tell(name: str, number: int, total: int) -> None:
        if compiling():
            say(Progress("compile", number - 1, total))

    link_parts(np.zeros(FIRST_PART_WORD + PART_WORDS, np.int64), tell)
    small = Capacities(accounts_max=16, positions_max=16, orders_max=16)
    Exchange(profile, capacities=small).submit(np.zeros(1, COMMAND))
    return time.perf_counter_ns() - started if compiling() else 0


def _total_commands(loaded: LoadedScenario) -> int | None:
    """How many commands history holds, where that is cheap to know."""
    prices = loaded.scenario.prices
    if loaded.crowd().reacts:
        return None
    if prices.points:
        return sum(len(block) for block in market_commands(loaded))
    if prices.tape is not None and prices.begin is None and prices.end is None:
        return tape_info(loaded.resolve(prices.tape, "prices.tape")).records
    return None


class Watched(Watcher, Protocol):
    """Who wants to hear every event as well."""

    def events(self, events: np.ndarray) -> None:
        """The next EVENT rows, in order."""


@dataclass(frozen=True)
class Past:
    """A run up to some command: the exchange as it is then, and what led there.

    `limits_fund` says whether the policy of that time limited the fund, which the audit must know.
    """

    exchange: Exchange
    events: np.ndarray
    commands_count: int
    setup_count: int
    first_ns: int
    last_ns: int
    tape_hash: str
    limits_fund: bool


class _Run:
    """An exchange and everybody who reads its events: digest, auditor, tables, tape."""

    def __init__(
        self,
        loaded: LoadedScenario,
        folder: Path | None,
        tape: TapeWriter,
        say: Say,
        check_index: bool = False,
        watcher: Watched | None = None,
        past: "Past | None" = None,
    ) -> None:
        self.loaded, self.say, self.tape = loaded, say, tape
        if past is None:
            self.capacities = engine_capacities(loaded)
            self.exchange = Exchange(
                loaded.profile,
                capacities=self.capacities,
                curves=depth_curves(loaded),
                feedback_ppm=loaded.scenario.feedback_ppm,
                check_index=check_index,
            )
        else:
            self.exchange, self.capacities = past.exchange, past.exchange.capacities
        self.numbers = [market_numbers(loaded.profile, m) for m in loaded.profile.markets]
        self.digest = EventDigest()
        limited = loaded.profile.losses.limits_fund or (past is not None and past.limits_fund)
        self.audit = Audit(self.numbers, fund_is_limited=limited)
        ids, facts = loaded.stage.ids, loaded.scenario.facts
        if past is not None:  # what a scenario states is about its own venue
            ids, facts = {}, []
        self.measures = Measures(loaded.profile, ids, facts)
        self.writer = RunWriter(folder, loaded.profile, watcher)
        self.watcher = watcher
        self.crowd = loaded.crowd()
        self.refused: list[RefusedCommand] = []
        self.refused_reasons: Counter[str] = Counter()
        self.commands_count = 0  # handed on to the tape; those gathered are the ones after
        self.first_ns = self.last_ns = 0
        self._commands: list[np.ndarray] = []
        self._events: list[np.ndarray] = []
        self._gathered = [0, 0]  # commands, events

    def recall(self, past: "Past") -> None:
        """Take the events of commands that the exchange has applied already."""
        for start in range(0, len(past.events), GATHERED_ROWS):
            self._take_events(past.events[start : start + GATHERED_ROWS])
        self.commands_count = past.commands_count
        self.first_ns, self.last_ns = past.first_ns, past.last_ns

    def feed(self, blocks: Iterable[np.ndarray], batch_size: int, stage: str, total: int | None):
        """Apply a stream of commands; those of the set-up must all be accepted."""
        before = self.commands_count
        for batch in rebatch(blocks, batch_size):
            if len(batch) == 0:
                continue
            self._commands.append(batch)
            self._gathered[0] += len(batch)
            for events in self.exchange.stream(batch):
                self.crowd.observe(events)
                self._events.append(events)
                self._gathered[1] += len(events)
                if self._gathered[1] >= GATHERED_ROWS:
                    self._hand_on_events(stage)
                    done = int(events["seq"][-1]) - before
                    self.say(Progress(stage, done, total, int(events["time_ns"][-1])))
            if self._gathered[0] >= GATHERED_ROWS or not self._events:
                self._hand_on_commands(stage)
                done = self.commands_count - before
                self.say(Progress(stage, done, total, self.last_ns))
        self._hand_on_commands(stage)
        self.say(Progress(stage, self.commands_count - before, total, self.last_ns))

    def _hand_on_events(self, stage: str) -> None:
        if not self._events:
            return
        events = _joined(self._events)
        self._events, self._gathered[1] = [], 0
        rejected = events[events["kind"] == c.EventKind.REJECTED]
        if len(rejected):
            self._note_refused(rejected, stage)
        self._take_events(events)

    def _take_events(self, events: np.ndarray) -> None:
        self.digest.update(events)
        self.audit.update(events)
        self.measures.update(events)
        self.writer.update(events)
        if self.watcher is not None:
            self.watcher.events(events)

    def _hand_on_commands(self, stage: str) -> None:
        self._hand_on_events(stage)
        if not self._commands:
            return
        commands = _joined(self._commands)
        self.tape.append(commands)
        if self.commands_count == 0:
            self.first_ns = int(commands["time_ns"][0])
        self.last_ns = int(commands["time_ns"][-1])
        self.commands_count += len(commands)
        self._commands, self._gathered[0] = [], 0

    def _note_refused(self, rejected: np.ndarray, stage: str) -> None:
        """Enter refused commands in the report; one of the set-up ends the run."""
        commands = _joined(self._commands)
        kinds = commands["kind"][rejected["seq"] - self.commands_count - 1]
        symbols = ["", *(market.symbol for market in self.loaded.profile.markets)]
        for event, kind in zip(rejected, kinds.tolist(), strict=True):
            market_id = int(event["market_id"])
            each = RefusedCommand(
                seq=int(event["seq"]),
                time_ns=int(event["time_ns"]),
                kind=c.CommandKind(kind).name if kind in set(c.CommandKind) else str(kind),
                account_id=int(event["account_id"]),
                market=symbols[market_id] if 0 <= market_id < len(symbols) else str(market_id),
                reason=c.Reject(int(event["reason"])).name,
            )
            if stage == "setup":
                where = f" in {each.market}" if each.market else ""
                raise ReplayError(
                    f"{self.loaded.file}: set-up command {each.seq}: {each.kind} of account "
                    f"{each.account_id}{where} was refused: {each.reason}"
                )
            self.refused_reasons[each.reason] += 1
            if len(self.refused) < REFUSED_LISTED_MAX:
                self.refused.append(each)

    def finish(self) -> tuple[dict[str, np.ndarray], AuditResult, RunSummary]:
        """Close the audit and the tables; raises AuditError where an invariant is broken."""
        rows = self.exchange.rows()
        audit = self.audit.finish(rows)
        for check in audit.checks:
            if not check.ok:
                raise AuditError(f"audit {check.id}: {check.sentence} {check.difference}")
        return rows, audit, self.writer.finish(rows)


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    """One array of them all; a single one as it is."""
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _identity(rows: dict[str, np.ndarray], audit: AuditResult) -> MoneyIdentity:
    """Both sides of the money identity from the state's rows, in whole numbers."""
    balances = sum(rows["accounts"][:, 1].tolist()) + sum(rows["positions"][:, 5].tolist())
    return MoneyIdentity(
        deposits_quote=audit.deposits,
        withdrawals_quote=audit.withdrawals,
        balances_quote=balances,
        entries_quote=sum(rows["positions"][:, 4].tolist()),
        difference_quote=audit.identity_difference,
    )


def _measured(run: _Run, rows: dict[str, np.ndarray], summary: RunSummary) -> list[MeasuredFact]:
    """The scenario's measured facts beside what the run shows."""
    try:
        return run.measures.compare(run.loaded.scenario.facts, summary, rows)
    except MeasureError as error:
        raise ReplayError(f"{run.loaded.file}: $.facts: {error}") from None


def _report(
    run: _Run,
    tape_hash: str,
    setup_count: int,
    rows: dict[str, np.ndarray],
    audit: AuditResult,
    summary: RunSummary,
) -> Report:
    """Everything `report.json` holds; the two durations are still zero."""
    loaded, scenario = run.loaded, run.loaded.scenario
    return Report(
        name=scenario.name,
        title=scenario.title,
        engine_version=c.ENGINE_VERSION,
        seed=scenario.seed,
        markets=scenario.markets,
        feedback_ppm=scenario.feedback_ppm,
        capacities=msgspec.structs.asdict(run.capacities),
        scenario_hash=scenario.hash(),
        profile_name=loaded.profile.name,
        profile_hash=loaded.profile.hash(),
        tape_hash=tape_hash,
        event_digest=run.digest.hexdigest(),
        state_digest=state_digest(rows),
        patches=list(loaded.patches),
        assumed_fields=assumed_fields(loaded),
        facts=scenario.facts,
        measured=_measured(run, rows, summary),
        start_ns=run.first_ns,
        end_ns=run.last_ns,
        setup_commands_count=setup_count,
        commands_count=run.commands_count,
        accounts_count=int((rows["accounts"][:, 0] >= c.FIRST_USER_ID).sum()),
        refused=run.refused,
        refused_reasons=dict(sorted(run.refused_reasons.items())),
        summary=summary,
        identity=_identity(rows, audit),
        invariants={check.id: check.ok for check in audit.checks},
        wall_ns=0,
        compile_ns=0,
    )


def _planned(run: _Run) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Where accounts would be liquidated, as seen now, in units of price and asset."""
    profile = run.loaded.profile
    marginal = profile.margin.tier_mode == "marginal"
    money = 10**profile.settlement.decimals
    found = liquidation_map(run.exchange.rows(), run.numbers, marginal)
    planned = {}
    for market_id, (prices, notional, side) in found.items():
        market = profile.markets[market_id - 1]
        planned[market.symbol] = (prices / 10**market.price_decimals, notional / money, side)
    return planned


def replay(
    loaded: LoadedScenario,
    out_dir: Path | str,
    *,
    batch_size: int = BATCH_SIZE_DEFAULT,
    progress: Say = lambda progress: None,
    check_index: bool = False,
    keep_tape: bool = True,
    journal: RunJournal | None = None,
    overshoot: bool = False,
) -> Report:
    """Run a scenario and write its folder; returns what `report.json` says.

    `batch_size` is how many commands cross into the core at once; results do not depend on it.
    `check_index` lets the core compare its trigger index with a full scan after every unit of
    work, which is slow. `journal` keeps every command before it is applied. `overshoot` runs the
    scenario again without feedback and reports how much further prices went with it. Raises
    ScenarioError, TapeError, ReplayError, JournalError and RunFolderError for bad input,
    JournalFault where the device refuses, AuditError and EngineFault where the engine is at fault;
    the folder is then untouched.
    """
    if batch_size < 1:
        raise ReplayError(f"batch size: expected 1 or more, got {batch_size}")

    def kept(blocks: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
        return blocks if journal is None else journal.keep(rebatch(blocks, GATHERED_ROWS))

    started = time.perf_counter_ns()
    with replacing(out_dir) as folder:
        compile_ns = warm_up(loaded.profile, progress)
        metadata = tape_metadata(loaded.profile, [f"scenario {loaded.scenario.name}"])
        with TapeWriter(folder / TAPE, metadata) as tape:
            run = _Run(loaded, folder, tape, progress, check_index)
            run.feed(kept(setup_commands(loaded)), batch_size, "setup", None)
            setup_count = run.commands_count
            planned = _planned(run)
            total, history = _total_commands(loaded), market_commands(loaded)
            run.feed(kept(run.crowd.commands(history)), batch_size, "replay", total)
            if journal is not None:
                journal.finish()
            progress(Progress("report", time_ns=run.last_ns))
            rows, audit, summary = run.finish()
        report = _report(run, tape.tape_hash, setup_count, rows, audit, summary)
        beyond = _overshoot(loaded, run, batch_size) if overshoot else []
        wall_ns = time.perf_counter_ns() - started - compile_ns
        report = msgspec.structs.replace(
            report, overshoot=beyond, wall_ns=wall_ns, compile_ns=compile_ns
        )
        write_inputs(folder, loaded)
        write_report(folder, report)
        page = page_data(
            folder,
            loaded.profile,
            summary,
            title=report.title,
            kicker=story.kicker(report, loaded.profile),
            facts=story.facts(report, loaded),
            hashes=story.hashes(report),
            assumed=story.assumptions(loaded),
            audit=audit,
            planned=planned,
        )
        write_page(folder / PAGE, page)
        if not keep_tape:
            (folder / TAPE).unlink()
    return report


def _overshoot(loaded: LoadedScenario, run: _Run, batch_size: int) -> list[Overshoot]:
    """The extremes of every mark beside those of the same run as a pure replay."""
    scenario = msgspec.structs.replace(loaded.scenario, feedback_ppm=0)
    alone = dataclasses.replace(loaded, scenario=scenario)
    with TapeWriter(None, tape_metadata(loaded.profile, [])) as tape:
        quiet = _Run(alone, None, tape, lambda progress: None)
        quiet.feed(setup_commands(alone), batch_size, "setup", None)
        quiet.feed(quiet.crowd.commands(market_commands(alone)), batch_size, "replay", None)
        quiet.finish()
    return run.measures.overshoot(quiet.measures)


def simulate(
    loaded: LoadedScenario,
    *,
    batch_size: int = BATCH_SIZE_DEFAULT,
    watcher: Watched | None = None,
) -> Report:
    """Run a scenario and write nothing: the report that `replay` gives, audit and hashes included.

    `watcher` hears every event. Raises what `replay` raises.
    """
    started = time.perf_counter_ns()
    compile_ns = 0
    if not _WARM:  # a study makes thousands of runs in one process, which is warm after the first
        compile_ns = warm_up(loaded.profile)
        _WARM.append(True)
    metadata = tape_metadata(loaded.profile, [f"scenario {loaded.scenario.name}"])
    with TapeWriter(None, metadata) as tape:
        run = _Run(loaded, None, tape, lambda progress: None, watcher=watcher)
        run.feed(setup_commands(loaded), batch_size, "setup", None)
        setup_count = run.commands_count
        run.feed(run.crowd.commands(market_commands(loaded)), batch_size, "replay", None)
        rows, audit, summary = run.finish()
    report = _report(run, tape.tape_hash, setup_count, rows, audit, summary)
    wall_ns = time.perf_counter_ns() - started - compile_ns
    return msgspec.structs.replace(report, wall_ns=wall_ns, compile_ns=compile_ns)


def go_on(
    loaded: LoadedScenario,
    past: Past,
    commands: Iterable[np.ndarray],
    *,
    watcher: Watched | None = None,
) -> Report:
    """Apply the commands after a past and report on the whole run, past included.

    `loaded` gives the policy that `past.exchange` has now; facts about named accounts are not
    compared. Raises what `replay` raises.
    """
    started = time.perf_counter_ns()
    scenario = msgspec.structs.replace(loaded.scenario, facts=[])
    loaded = replace(loaded, scenario=scenario)
    with TapeWriter(None, tape_metadata(loaded.profile, [])) as tape:
        run = _Run(loaded, None, tape, lambda progress: None, watcher=watcher, past=past)
        run.recall(past)
        run.feed(commands, BATCH_SIZE_DEFAULT, "replay", None)
        rows, audit, summary = run.finish()
    report = _report(run, past.tape_hash, past.setup_count, rows, audit, summary)
    return msgspec.structs.replace(report, wall_ns=time.perf_counter_ns() - started)
