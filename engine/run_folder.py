"""The folder of one run: what is in it, how it replaces an older one, and reading it back.

A run folder holds its own inputs: `scenario.toml` with every override in it, `venue.toml` (the
profile after all patches) and, unless it was left out, `tape.crashtape`, every command as it was
fed. So a run can be checked where the files it was made from are gone. Nothing here runs anything.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engine.messages import Report, Scenario, decode_report, encode_report
from engine.profile import ProfileError, VenueProfile
from engine.refusal import Refusal
from engine.scenario import LoadedScenario
from engine.strict import ScenarioError, decode_tree, toml_text
from engine.tape import TapeMarket, TapeMetadata
from engine.venue import Capacities, load_venue

REPORT, PAGE, TAPE = "report.json", "report.html", "tape.crashtape"
SCENARIO, VENUE = "scenario.toml", "venue.toml"
TABLES = ("events", "fills", "marks", "fund", "liquidations", "adl", "accounts", "positions")
NAMES = {REPORT, PAGE, TAPE, SCENARIO, VENUE, *(f"{table}.parquet" for table in TABLES)}


class RunFolderError(Refusal):
    """A folder is not a run folder, or must not be replaced by one: the folder and the reason."""


def _check_replaceable(folder: Path) -> None:
    """Refuse to replace anything but a folder that holds an earlier run and nothing else."""
    if not folder.name:
        raise RunFolderError(f"{folder}: expected the name of a folder")
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise RunFolderError(f"{folder.name}: expected a folder, found something else")
    if not folder.exists():
        return
    found = sorted(entry.name for entry in folder.iterdir())
    foreign = [name for name in found if name not in NAMES]
    if foreign:
        reason = f"not replaced, because no run wrote {foreign[0]!r} in it"
        raise RunFolderError(f"{folder.name}: {reason}; name another folder")
    if found and REPORT not in found:
        raise RunFolderError(f"{folder.name}: not replaced, because it holds no {REPORT}")


@contextmanager
def replacing(out_dir: Path | str) -> Iterator[Path]:
    """A new folder to write a run into; it gets its name only when the block ends normally.

    An earlier run of that name is replaced then; anything else is refused with RunFolderError
    before work begins. An exception leaves no trace.
    """
    folder = Path(os.path.abspath(out_dir))
    _check_replaceable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        _check_replaceable(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    older = folder.with_name(f".{folder.name}.{os.getpid()}.older")
    if folder.exists():
        folder.rename(older)
    partial.rename(folder)
    shutil.rmtree(older, ignore_errors=True)


def tape_metadata(profile: VenueProfile, sources: list[str]) -> TapeMetadata:
    """The header of a tape whose market ids are the profile's."""
    markets = [
        TapeMarket(symbol=market.symbol, price_decimals=market.price_decimals, lot=market.lot)
        for market in profile.markets
    ]
    return TapeMetadata(markets=markets, sources=sources)


def write_inputs(folder: Path, loaded: LoadedScenario) -> None:
    """Write the scenario as it was run, and the profile after all patches."""
    scenario = loaded.scenario
    if scenario.venue.endswith(".toml"):  # the patched profile lies beside the scenario
        scenario = msgspec.structs.replace(scenario, venue=VENUE, patch={})
    else:
        patch = {change.path: json.loads(change.after) for change in loaded.patches}
        scenario = msgspec.structs.replace(scenario, patch=patch)
    for name, value in ((SCENARIO, scenario), (VENUE, loaded.profile)):
        text = toml_text(msgspec.to_builtins(value))
        (folder / name).write_text(text, encoding="utf-8")


def write_report(folder: Path, report: Report) -> None:
    """Write `report.json`."""
    (folder / REPORT).write_bytes(encode_report(report))


@dataclass(frozen=True)
class RunFolder:
    """A run folder read back. `loaded` has no checked price files: it may only be replayed by
    its tape, which is None where the run did not keep it."""

    folder: Path
    report: Report
    loaded: LoadedScenario
    capacities: Capacities
    tape: Path | None


def read_run(folder: Path | str) -> RunFolder:
    """Read the inputs and the report of a run folder; RunFolderError if it is none."""
    folder = Path(folder)
    name = folder.name
    try:
        report = decode_report((folder / REPORT).read_bytes())
        text = (folder / SCENARIO).read_text("utf-8")
        profile = load_venue(folder / VENUE)
    except OSError as error:
        missing = Path(error.filename).name
        raise RunFolderError(f"{name}: {missing}: {error.strerror}; is it a run folder?") from None
    except UnicodeDecodeError as error:
        raise RunFolderError(f"{name}: {SCENARIO}: {error}") from None
    except msgspec.MsgspecError as error:
        raise RunFolderError(f"{name}: {REPORT}: {error}") from None
    except ProfileError as error:
        raise RunFolderError(f"{name}: {error}") from None
    try:
        tree = msgspec.toml.decode(text)
        scenario = decode_tree(SCENARIO, tree, Scenario, "$")
        capacities = Capacities(**report.capacities)
    except (msgspec.MsgspecError, ScenarioError, TypeError) as error:
        raise RunFolderError(f"{name}: {error}") from None
    except RecursionError:
        raise RunFolderError(f"{name}: {SCENARIO}: nested too deeply") from None
    loaded = LoadedScenario(SCENARIO, folder, None, scenario, profile, tuple(report.patches))
    tape = folder / TAPE
    return RunFolder(folder, report, loaded, capacities, tape if tape.exists() else None)
