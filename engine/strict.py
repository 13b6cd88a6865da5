"""Strict TOML: overrides by dotted path, one-line refusals, paths that stay inside, and text.

Knows no scenario and no venue: it works on trees of tables and lists, and on whatever struct
they are to become. Every refusal is a ScenarioError that names the file and the field.
"""

import copy
import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from engine.refusal import Refusal

_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `(?:key in )?(?P<place>[^`]*)`)?\Z", re.DOTALL)
_FIELD = re.compile(r"Object (contains unknown|missing required) field `([^`]*)`")


class ScenarioError(Refusal):
    """A scenario is refused: the file, the field, what was expected and what was found."""


def resolve_path(file: str, folder: Path, data: Path | None, text: str, field: str) -> Path:
    """The file that `text` means: inside `folder`, or inside `data` if the user named one.

    Absolute paths and `..` are refused unless they end inside `data`; links are followed first.
    """
    where = f"{file}: $.{field}"
    path = Path(text)
    if path.is_absolute() or ".." in path.parts:
        candidates = [] if data is None else [((data / path), data)]
    else:
        candidates = [(root / path, root) for root in (folder, data) if root is not None]
    try:
        inside = [
            full for full, root in candidates if full.resolve().is_relative_to(root.resolve())
        ]
        found = next((full for full in inside if full.is_file()), None)
    except (OSError, ValueError, RuntimeError) as error:  # too long, a zero byte, a loop of links
        raise ScenarioError(f"{where}: expected a path, got {text!r}: {error}") from None
    if not inside:
        raise ScenarioError(f"{where}: expected a path inside the scenario's folder, got {text!r}")
    if found is not None:
        return found
    raise ScenarioError(f"{where}: no such file: {text!r}")


def toml_tree(text: str) -> dict[str, Any]:
    """A TOML text as a tree of its own for every caller. Studies read the same few texts for every
    run, so the last ones are kept as read. Raises what `tomllib.loads` raises."""
    return copy.deepcopy(_read(text))


@lru_cache(maxsize=64)
def _read(text: str) -> dict[str, Any]:
    return tomllib.loads(text)


def parse_override(text: str) -> tuple[list[str], Any]:
    """Split `path.to.field=value`; the value is TOML, so text needs its quotes.

    >>> parse_override("population.accounts=5_000")
    (['population', 'accounts'], 5000)
    >>> parse_override('venue.markets.BTCUSDT.tick="0.1"')
    (['venue', 'markets', 'BTCUSDT', 'tick'], '0.1')
    """
    path, equals, value = text.partition("=")
    segments = path.strip().split(".")
    if not equals or not all(segments) or "\n" in text:
        raise ScenarioError(f"--set {text!r}: expected path.to.field=value")
    try:
        return segments, toml_tree(f"value = {value}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        reason = "expected a TOML value after '=' (text needs quotes)"
        raise ScenarioError(f"--set {text!r}: {reason}") from None


def _step_into(node: Any, segment: str) -> str | int | None:
    """The key of `segment` in a table, or its index in a list (by number, symbol or market)."""
    if isinstance(node, dict):
        return segment
    if isinstance(node, list):
        if segment.isdecimal():
            return int(segment) if int(segment) < len(node) else None
        for index, item in enumerate(node):
            if isinstance(item, dict) and segment in (item.get("symbol"), item.get("market")):
                return index
    return None


def set_path(tree: dict[str, Any], segments: Sequence[str], value: Any) -> Any:
    """Set a value deep in a tree of tables and lists; returns what was there, None if nothing.

    Missing tables are made; strict decoding refuses those that no field knows. Raises KeyError
    with the path that cannot be followed.
    """
    node: Any = tree
    for depth, segment in enumerate(segments):
        key = _step_into(node, segment)
        if key is None:
            raise KeyError(".".join(segments[: depth + 1]))
        if depth == len(segments) - 1:
            before = node.get(key) if isinstance(node, dict) else node[key]
            node[key] = value
            return before
        node = node.setdefault(key, {}) if isinstance(node, dict) else node[key]
    raise KeyError("")


def decode_tree(file: str, tree: dict[str, Any], shape: type, root: str) -> Any:
    """Convert a tree to a struct; the refusal is one line with field, expectation and value."""
    try:
        return msgspec.convert(tree, shape)
    except RecursionError:
        raise ScenarioError(f"{file}: {root}: nested too deeply") from None
    except msgspec.ValidationError as error:
        match = _PLACE.match(str(error))
        assert match is not None, "the pattern takes any text"
        what, place = match.group("what"), match.group("place") or "$"
    place = _name_key(tree, shape, what, place)
    field = _FIELD.match(what)
    if field:
        place = f"{place}.{field.group(2)}"
        unknown = field.group(1) == "contains unknown"
        what = "unknown field" if unknown else "expected this field, got nothing"
    else:
        what = what[:1].lower() + what[1:].replace("`", "")
        found = _look_up(tree, place)
        if "got" not in what and not isinstance(found, dict | list):
            what += f", got {found!r}"
    raise ScenarioError(f"{file}: {place.replace('$', root, 1)}: {' '.join(what.split())}")


def _name_key(tree: dict[str, Any], shape: type, what: str, place: str) -> str:
    """Put the key for the `[...]` that msgspec writes where a table of free keys is at fault."""
    prefix, dots, rest = place.partition("[...]")
    table = _look_up(tree, prefix) if dots else None
    if not isinstance(table, dict):
        return place
    for key in table:
        thinner = dict(tree) | {prefix.removeprefix("$."): {key: table[key]}}
        try:
            msgspec.convert(thinner, shape)
        except msgspec.ValidationError as error:
            if str(error).startswith(what):
                return f"{prefix}.{key}{rest}"
    return place


def _look_up(tree: Any, place: str) -> Any:
    """The value at a path like $.a.b[3].c, or the innermost table that could be reached."""
    node = tree
    for name, index in re.findall(r"\.([^.\[\]]+)|\[(\d+)\]", place):
        key = int(index) if index else name
        known = len(node) if isinstance(node, list) else 0
        if not (key < known if index else isinstance(node, dict) and key in node):
            return {}
        node = node[key]
    return node


def flatten(table: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Dotted path and value of every leaf of a patch, whether written dotted or nested."""
    waiting: list[tuple[tuple[str, ...], Any]] = [
        ((key,), value) for key, value in reversed(table.items())
    ]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [((*path, key), inner) for key, inner in reversed(value.items())]
        else:
            yield ".".join(path), value


def toml_text(tree: dict[str, Any]) -> str:
    """A tree of tables, lists, text, whole numbers and booleans as TOML; None is left out.

    Lists, and tables inside lists, are written inline, one item a line where the items are tables.

    >>> print(toml_text({"a": 1, "b": {"c.d": "x", "e": [True]}, "f": [{"g": 2, "h": None}]}))
    a = 1
    f = [
      { g = 2 },
    ]
    <BLANKLINE>
    [b]
    "c.d" = "x"
    e = [true]
    <BLANKLINE>
    """
    return "\n".join(_toml_lines(tree, ())) + "\n"


def _toml_lines(table: dict[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """The lines of one table: its own values first, then the tables inside it."""
    for key, value in table.items():
        if value is None or isinstance(value, dict):
            continue
        if isinstance(value, list) and value and isinstance(value[0], dict):
            yield f"{_toml_key(key)} = ["
            yield from (f"  {toml_value(item)}," for item in value)
            yield "]"
        else:
            yield f"{_toml_key(key)} = {toml_value(value)}"
    for key, value in table.items():
        if isinstance(value, dict):
            yield ""
            yield f"[{'.'.join(_toml_key(part) for part in (*path, key))}]"
            yield from _toml_lines(value, (*path, key))


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml_value(key)


def toml_value(value: Any) -> str:
    """A value on one line: a table inline, a list, text, a whole number or a boolean."""
    if isinstance(value, dict):
        pairs = (f"{_toml_key(k)} = {toml_value(v)}" for k, v in value.items() if v is not None)
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, bool | int):
        return str(value).lower()
    if isinstance(value, str):  # JSON escapes are TOML escapes, but for DEL
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    raise TypeError(f"expected text, a whole number or a boolean, got {value!r}")
