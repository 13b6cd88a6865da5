"""A named venue profile with changes: what scenarios and situations do to a venue.

A change is a dotted path and a value. Every one that makes a difference is reported as a Patch;
a refusal is one line that names the file and the field.
"""

import re
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from engine.messages import Patch
from engine.profile import ProfileError, VenueProfile
from engine.strict import ScenarioError, decode_tree, flatten, resolve_path, set_path, toml_tree
from engine.venue import validate

_SHIPPED_NAME = re.compile(r"^[A-Za-z0-9_-]+\Z")


def shipped_path(name: str) -> Path:
    """Where the shipped profile of this name would be."""
    return Path(__file__).parent / "venues" / f"{name}.toml"


def load_patched(
    file: str,
    folder: Path,
    data: Path | None,
    venue: str,
    patch: dict[str, Any],
    forced: list[tuple[str, Any]],
) -> tuple[VenueProfile, tuple[Patch, ...]]:
    """The profile `venue` names, with the patch of a file and then the overrides of its user."""
    if venue.endswith(".toml"):
        path = resolve_path(file, folder, data, venue, "venue")
    elif _SHIPPED_NAME.match(venue):
        path = shipped_path(venue)
    else:
        raise ScenarioError(f"{file}: $.venue: expected a name or a path to a .toml file")
    try:
        text = path.read_text("utf-8")
        tree = toml_tree(text)
    except OSError:
        names = ", ".join(sorted(shipped.stem for shipped in path.parent.glob("*.toml")))
        reason = f"no venue {venue!r}; shipped profiles: {names}"
        raise ScenarioError(f"{file}: $.venue: {reason}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ScenarioError(f"{file}: $.venue: {path.name}: {error}") from None
    wanted = [(dotted, value, "scenario") for dotted, value in flatten(patch)]
    wanted += [(dotted, value, "override") for dotted, value in forced]
    patches = []
    for dotted, value, origin in wanted:
        try:
            before = set_path(tree, dotted.split("."), value)
        except KeyError as error:
            field = "patch" if origin == "scenario" else "venue"
            reason = f"no such field in profile {venue}"
            raise ScenarioError(f"{file}: $.{field}.{error.args[0]}: {reason}") from None
        if before != value:
            texts = ["" if v is None else msgspec.json.encode(v).decode() for v in (before, value)]
            patches.append(Patch(path=dotted, before=texts[0], after=texts[1], origin=origin))
    if not wanted:
        return _as_it_is(file, text), ()
    return _checked(file, tree), tuple(patches)


@lru_cache(maxsize=16)
def _as_it_is(file: str, text: str) -> VenueProfile:
    """A profile without changes, of which the runs of a study ask again and again."""
    return _checked(file, toml_tree(text))


def _checked(file: str, tree: dict[str, Any]) -> VenueProfile:
    """A profile decoded and validated; the refusal names the file that asked for it."""
    profile = decode_tree(file, tree, VenueProfile, "$.venue")
    try:
        return validate(profile)
    except ProfileError as error:
        raise ScenarioError(f"{file}: $.venue: {error}") from None
