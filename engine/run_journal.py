"""The journal of a run: what lets `crashtape run --resume` go on after the process was killed.

It lies beside the folder the run is to become, as `.NAME.journal`, and is gone when the run is
done. Every command is in it before it is applied. A resumed run asks its scenario for the same
commands again, compares each with the journal, and applies them anew, because tables, audit and
page are made from all the events; then it goes on with the commands the journal has not.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from engine import constants as c
from engine.disk import Disk
from engine.journal import BATCH_RECORDS_MAX, Journal, JournalError, JournalFault
from engine.scenario import LoadedScenario
from engine.snapshot import core_version

METADATA_AT = 24  # byte of a journal file at which its metadata begin


class RunRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a run was asked for, in what `run` takes; paths are absolute."""

    scenario: str
    changes: list[str]
    data: str | None
    batch: int
    check_index: bool
    keep_tape: bool
    overshoot: bool = False


class _Metadata(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    request: RunRequest
    engine_version: str
    core: str
    scenario_hash: str
    profile_hash: str


def _metadata(request: RunRequest, loaded: LoadedScenario) -> _Metadata:
    return _Metadata(
        request=request,
        engine_version=c.ENGINE_VERSION,
        core=core_version(),
        scenario_hash=loaded.scenario.hash(),
        profile_hash=loaded.profile.hash(),
    )


def _place(out_dir: Path | str) -> Path:
    """The journal's folder of the run folder `out_dir`."""
    folder = Path(os.path.abspath(out_dir))
    return folder.with_name(f".{folder.name}.journal")


class RunJournal:
    """A journal of one run, by `start` or `resume`; a context manager round the whole run.

    Leaving it normally removes the journal, and so does an exception, but for those of the
    journal itself and any of a resumed run: a killed run, or one whose device refused, can be
    resumed until it is done.
    """

    def __init__(self, out_dir: Path | str, journal: Journal) -> None:
        self.out_dir = Path(os.path.abspath(out_dir))
        self.journal = journal
        self.is_resumed = False
        self.resumed_count = 0  # commands that were found in the journal
        self._known: Iterator[np.ndarray] = iter(())
        self._ahead = np.zeros(0)

    @classmethod
    def start(
        cls,
        out_dir: Path | str,
        request: RunRequest,
        loaded: LoadedScenario,
        disk: Disk | None = None,
    ) -> "RunJournal":
        """The journal of a new run; that of a killed one into the same folder is replaced.

        Raises JournalError where another process runs into that folder now.
        """
        text = msgspec.json.encode(_metadata(request, loaded), order="deterministic")
        place = _place(out_dir)
        return cls(out_dir, Journal.create(place, text, disk, replace=True))

    @classmethod
    def resume(cls, out_dir: Path | str) -> tuple["RunJournal", RunRequest]:
        """The journal of a killed run and how the run was asked for; then call `check`."""
        journal = Journal.open(_place(out_dir))
        try:
            request = msgspec.json.decode(journal.metadata, type=_Metadata).request
        except msgspec.MsgspecError as error:
            journal.release()
            raise JournalError(journal.path, METADATA_AT, f"metadata: {error}") from None
        made = cls(out_dir, journal)
        made.is_resumed = True
        made._known = (batch.rows for batch in journal.recover())
        return made, request

    def check(self, request: RunRequest, loaded: LoadedScenario) -> None:
        """Refuse with JournalError to go on with another scenario, venue or engine."""
        before = msgspec.json.decode(self.journal.metadata, type=_Metadata)
        now = _metadata(request, loaded)
        for field in _Metadata.__struct_fields__:
            one, other = getattr(before, field), getattr(now, field)
            if one != other:
                reason = f"{field}: the run began with {one}, now it is {other}"
                raise JournalError(self.journal.path, METADATA_AT, reason)

    def keep(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The same COMMAND blocks, each journaled, or found in the journal, before it is yielded.

        Empty blocks, which only ask for what was before them, pass through.
        Raises JournalError where the journal has another command, JournalFault where the device
        refuses.
        """
        for block in blocks:
            found = self._compare(block)
            for start in range(found, len(block), BATCH_RECORDS_MAX):
                self.journal.append(block[start : start + BATCH_RECORDS_MAX])
            yield block

    def _compare(self, block: np.ndarray) -> int:
        """How many rows of a block the journal has; they must be equal."""
        found = 0
        while found < len(block):
            if len(self._ahead) == 0:
                self._ahead = next(self._known, self._ahead)
            known = self._ahead[: len(block) - found]
            if len(known) == 0:
                break
            unequal = known != block[found : found + len(known)]
            if unequal.any():
                seq = self.resumed_count + int(unequal.argmax()) + 1
                reason = f"command {seq}: the scenario gives another one than before the kill"
                raise JournalError(self.journal.path, METADATA_AT, reason)
            self._ahead = self._ahead[len(known) :]
            found += len(known)
            self.resumed_count += len(known)
        return found

    def finish(self) -> None:
        """Refuse with JournalError where the journal has more commands than the scenario."""
        if len(self._ahead) or next(self._known, None) is not None:
            reason = f"the scenario ends at command {self.resumed_count}, the journal does not"
            raise JournalError(self.journal.path, METADATA_AT, reason)

    def __enter__(self) -> "RunJournal":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        stays = self.is_resumed or (kind and issubclass(kind, JournalError | JournalFault))
        if kind is not None and stays:
            self.journal.release()
            return
        _remove_leftovers(self.out_dir)
        shutil.rmtree(self.journal.folder, ignore_errors=True)
        self.journal.release()


def _remove_leftovers(folder: Path) -> None:
    """Remove what killed runs into a folder left beside it; nobody else runs into it now."""
    for path in folder.parent.iterdir():
        name, _, ending = path.name.removeprefix(f".{folder.name}.").partition(".")
        ours = path.name.startswith(f".{folder.name}.") and ending in ("partial", "older")
        if ours and name.isdecimal() and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
