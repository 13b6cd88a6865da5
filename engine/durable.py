"""An exchange that survives its process: journaled before it is applied, resumed from disk.

`DurableExchange.create` starts one in a folder, `open` goes on with it in any later process. A
batch whose events were returned is on the device; a snapshot only shortens the way back, since
the journal keeps every batch from the first.
"""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from engine import constants as c
from engine.digest import EventDigest
from engine.disk import Disk
from engine.exchange import Exchange
from engine.journal import Batch, Journal, JournalError, JournalFault
from engine.profile import ProfileError, VenueProfile
from engine.snapshot import (
    SNAPSHOT,
    Snapshot,
    core_version,
    read_snapshot,
    restore,
    write_snapshot,
)
from engine.venue import Capacities, DepthCurve, load_venue, validate


class Setup(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a journal must know to build its exchange again."""

    engine_version: str
    core: str
    profile: VenueProfile
    capacities: Capacities
    curves: list[tuple[int, DepthCurve]]  # with their market ids
    feedback_ppm: int


class Recovery(Struct, frozen=True, kw_only=True):
    """What opening found: `commands` in the journal, of which those after `snapshot_seq` were
    applied again. `notes` has a line for everything that was not as a closed journal is."""

    commands: int
    snapshot_seq: int
    torn_bytes: int
    was_closed: bool
    notes: list[str]


class DurableExchange:
    """An exchange with a journal; made by `create` or `open`. Use it as a context manager.

    `exchange` may be read at any time; commands must go through `submit` here. `digest` is over
    every event since the first command, whichever process made it.

    >>> import tempfile
    >>> from engine.exchange import command
    >>> from engine.venue import shipped_venues
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with DurableExchange.create(folder, shipped_venues()[0]) as first:
    ...         _ = first.submit(command("OPEN_ACCOUNT", account_id=100))
    ...     with DurableExchange.open(folder) as second:
    ...         second.recovery.commands, second.exchange.digest() == first.exchange.digest()
    (1, True)
    """

    def __init__(self, journal: Journal, exchange: Exchange, digest: EventDigest) -> None:
        self.journal = journal
        self.exchange = exchange
        self.digest = digest
        self.recovery = Recovery(
            commands=0, snapshot_seq=0, torn_bytes=0, was_closed=True, notes=[]
        )

    @classmethod
    def create(
        cls,
        folder: Path | str,
        profile: VenueProfile | str,
        *,
        capacities: Capacities | None = None,
        curves: dict[int, DepthCurve] | None = None,
        feedback_ppm: int = c.PPM,
        disk: Disk | None = None,
    ) -> "DurableExchange":
        """A new exchange in a folder; the arguments are those of Exchange.

        Raises JournalError where the folder has a journal, JournalFault where the device refuses.
        """
        setup = Setup(
            engine_version=c.ENGINE_VERSION,
            core=core_version(),
            profile=load_venue(profile) if isinstance(profile, str) else profile,
            capacities=capacities or Capacities(),
            curves=sorted((curves or {}).items(), key=lambda pair: pair[0]),
            feedback_ppm=feedback_ppm,
        )
        exchange = _build(setup)
        text = msgspec.json.encode(setup, order="deterministic")
        return cls(Journal.create(folder, text, disk), exchange, EventDigest())

    @classmethod
    def open(
        cls, folder: Path | str, *, use_snapshot: bool = True, disk: Disk | None = None
    ) -> "DurableExchange":
        """The exchange of a folder as it was after the last batch on the device; see `recovery`.

        Raises JournalError where the journal is damaged, in use, or of another core.
        `use_snapshot=False` applies every batch again and believes no snapshot.
        """
        journal = Journal.open(folder, disk)
        try:
            return cls._recover(journal, use_snapshot)
        except BaseException:
            journal.release()
            raise

    @classmethod
    def _recover(cls, journal: Journal, use_snapshot: bool) -> "DurableExchange":
        setup = _setup(journal)
        path = journal.folder / SNAPSHOT
        notes: list[str] = []
        durable = cls(journal, _build(setup), EventDigest())
        snapshot = None
        if use_snapshot and path.exists():
            try:
                snapshot = read_snapshot(path)
                restore(path, snapshot, durable.exchange)
                durable.digest = snapshot.digest
            except JournalError as error:
                notes.append(f"{error}; not used, every batch was applied again")
                snapshot, durable.exchange = None, _build(setup)
        durable._catch_up(path, snapshot)
        if journal.torn_bytes:
            where = f"byte {journal.size}: {journal.torn_bytes} bytes of a batch that breaks off"
            notes.append(f"{journal.folder.name}/{journal.path.name}: {where} were cut")
        if not journal.was_closed:
            notes.append(f"{journal.folder.name}: not closed; the last command is {journal.seq}")
        durable.recovery = Recovery(
            commands=journal.seq,
            snapshot_seq=snapshot.metadata.seq if snapshot else 0,
            torn_bytes=journal.torn_bytes,
            was_closed=journal.was_closed,
            notes=notes,
        )
        return durable

    def _catch_up(self, path: Path, snapshot: Snapshot | None) -> None:
        """Apply what the journal has beyond the snapshot, which must be of this journal."""
        wanted = snapshot.metadata if snapshot else None
        chains = {0: self.journal.batch_chain}
        for batch in self.journal.recover():
            if wanted is None or batch.seq > wanted.seq:
                self._apply(batch)
            elif batch.seq == wanted.seq:
                chains[batch.seq] = batch.chain
        if wanted is None:
            return
        if wanted.seq not in chains:
            reason = f"is of command {wanted.seq}; the journal, to {self.journal.seq}, has no batch"
            raise JournalError(path, 0, f"{reason} that ends there")
        if chains[wanted.seq].hex() != wanted.journal_chain:
            raise JournalError(path, 0, "is of another journal: the chain values differ")

    def _apply(self, batch: Batch) -> None:
        for events in self.exchange.stream(batch.rows):
            self.digest.update(events)

    def submit(self, commands: np.ndarray) -> np.ndarray:
        """Bring COMMAND rows to the device, apply them and return their EVENT rows.

        Raises JournalFault where the device refuses: nothing of the batch was then applied, and
        nothing more is taken until the folder is opened again.
        """
        self.journal.append(commands)
        events = self.exchange.submit(commands)
        self.digest.update(events)
        return events

    def snapshot(self) -> None:
        """Keep the present state, so that the next `open` starts from here.

        Raises JournalFault where the device refuses; an older snapshot and the journal are then
        intact, and commands are still taken.
        """
        journal = self.journal
        path = journal.folder / SNAPSHOT
        where = (journal.seq, journal.batch_chain)
        try:
            write_snapshot(path, self.exchange, self.digest, *where, journal.disk)
        except OSError as error:
            name = journal.folder.name
            raise JournalFault(f"{name}: no snapshot was written: {error}", True) from None

    def close(self) -> None:
        """Note in the journal that nothing follows, and let go of it."""
        self.journal.close()

    def __enter__(self) -> "DurableExchange":
        return self

    def __exit__(self, *error: Any) -> None:
        self.journal.__exit__(*error)


def _setup(journal: Journal) -> Setup:
    """What the header of a journal says of its exchange."""
    try:
        setup = msgspec.json.decode(journal.metadata, type=Setup)
        validate(setup.profile)
    except (msgspec.MsgspecError, ProfileError) as error:
        raise JournalError(journal.path, 24, f"metadata: {error}") from None
    if setup.core != core_version():
        made, mine = (f"{core[:16]}" for core in (setup.core, core_version()))
        reason = f"written by core {made} of version {setup.engine_version}, this is {mine}"
        raise JournalError(journal.path, 24, f"core: {reason}; open it with that version")
    return setup


def _build(setup: Setup) -> Exchange:
    return Exchange(
        setup.profile,
        capacities=setup.capacities,
        curves=dict(setup.curves),
        feedback_ppm=setup.feedback_ppm,
    )
