"""The rules of ARCHITECTURE.md as tests: imports, sizes, bans, and words said to the reader.

Files are read, not imported, so the rules hold for code that no other test reaches.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ENGINE = ROOT / "engine"
FILES = sorted(ENGINE.rglob("*.py"))
OWN = sorted([*FILES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")])

# A file imports only from lines above its own, or from its own package.
ORDER = (
    *(
        "constants",
        "bearers",
        "refusal",
        "rows",
        "units",
        "column_map",
        "shapes",
        "staged",
        "peopled",
    ),
    *("messages", "profile", "funds", "venue"),
    *("views", "catalogue", "vectors", "core", "reference", "policies"),
    *(
        "digest",
        "audit",
        "tape_layout",
        "tape",
        "importers",
        "population",
        "strict",
        "patched",
        "price_files",
    ),
    *(
        "price_points",
        "populated",
        "participants",
        "scheduled",
        "scenario",
        "disk",
        "journal",
        "report",
    ),
    *("exchange", "snapshot", "durable"),
    *("workload", "drawn_profiles", "fuzz", "coverage", "shrink", "campaign", "run_folder"),
    *(
        "run_journal",
        "measured_adl",
        "measures",
        "replay",
        "verify",
        "convert",
        "populate",
        "export",
        "match",
    ),
    *("situation", "calculate", "wording", "explain", "across", "explain_text", "study", "bench"),
    *("printing", "study_commands", "people_commands", "cli_fuzz", "cli", "__main__", "__init__"),
)
CORE_MAY_IMPORT = {"constants", "bearers", "rows", "core"}
REFERENCE_MAY_IMPORT = {"constants", "bearers", "rows", "profile", "venue", "views", "reference"}
EXACT_BELOW_REPORT = (
    *(
        "core",
        "reference",
        "policies",
        "digest",
        "audit",
        "vectors",
        "tape",
        "tape_layout",
        "journal",
        "rows",
    ),
    *("disk", "snapshot", "durable"),
)

VENUES = re.compile(
    r"binance|bybit|okx|okex|deribit|kraken|bitmex|hyperliquid|dydx|huobi|bitfinex|\bdrift\b"
    r"|gmx|synthetix|58coin|bitflyer|cryptocom",
    re.IGNORECASE,
)
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
CLOCKS_AND_CHANCE = {"random", "secrets", "uuid", "time", "datetime", "numpy.random"}
FUNCTION_LINES_MAX, FILE_LINES_MAX, LINE_MAX = 70, 500, 100


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def unit_of(path: Path) -> str:
    """The line of ORDER a file belongs to."""
    first = path.relative_to(ENGINE).parts[0]
    return first.removesuffix(".py")


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports_of(path: Path) -> list[tuple[int, str]]:
    """Line and full name of everything a file imports; `from a import b` gives a.b."""
    found = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: relative import"
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


def own_imports(path: Path) -> list[tuple[int, list[str]]]:
    """Imports of engine files, as parts below the package; the bare package is __init__."""
    parts = [(line, name.split(".")) for line, name in imports_of(path)]
    found = []
    for line, (first, *rest) in parts:
        if first == "engine" and rest:
            exists = (ENGINE / rest[0]).is_dir() or (ENGINE / f"{rest[0]}.py").exists()
            found.append((line, rest if exists else ["__init__"]))
    return found


def each_file(paths: list[Path]):
    return pytest.mark.parametrize("path", paths, ids=name_of)


@each_file(FILES)
def test_a_file_imports_only_what_stands_above_it(path):
    unit = unit_of(path)
    assert unit in ORDER, f"{name_of(path)}: give it a place in the order of files"
    for line, (other, *_) in own_imports(path):
        allowed = other == unit or ORDER.index(other) < ORDER.index(unit)
        assert allowed, f"{name_of(path)}:{line}: {unit} must not import {other}"


@each_file(sorted((ENGINE / "core").glob("*.py")))
def test_the_core_imports_numbers_and_the_core(path):
    extra = {"profile", "venue"} if path.stem == "tables" else set()
    for line, (other, *_) in own_imports(path):
        place = f"{name_of(path)}:{line}"
        assert other in CORE_MAY_IMPORT | extra, f"{place}: the core must not import {other}"


def test_no_two_files_need_each_other():
    needs = {}
    for path in FILES:
        parts = [
            "/".join(parts[:2]) if (ENGINE / parts[0]).is_dir() else parts[0]
            for _, parts in own_imports(path)
        ]
        needs["/".join(path.relative_to(ENGINE).with_suffix("").parts)] = set(parts)
    while ready := {name for name, wants in needs.items() if not wants & needs.keys()}:
        for name in ready:
            del needs[name]
    assert not needs, f"these import each other in a circle: {needs}"


@each_file(sorted((ENGINE / "reference").glob("*.py")))
def test_the_rulebook_shares_no_logic_with_the_core(path):
    for line, (other, *_) in own_imports(path):
        place = f"{name_of(path)}:{line}"
        assert other in REFERENCE_MAY_IMPORT, f"{place}: the rulebook must not import {other}"
    for line, name in imports_of(path):
        bare = name.split(".")[0]
        assert bare != "numba", f"{name_of(path)}:{line}: numba in the rulebook"
        inside = path.stem == "exchange"  # rows come in and events go out as arrays, only there
        assert bare != "numpy" or inside, f"{name_of(path)}:{line}: numpy in the rulebook"


@each_file([p for p in FILES if unit_of(p) in ("core", "reference", "policies")])
def test_no_clock_and_no_chance_inside(path):
    for line, name in imports_of(path):
        bad = any(name == ban or name.startswith(f"{ban}.") for ban in CLOCKS_AND_CHANCE)
        assert not bad, f"{name_of(path)}:{line}: {name}"
    for node in ast.walk(tree_of(path)):
        chance = isinstance(node, ast.Attribute) and node.attr == "random"
        assert not chance, f"{name_of(path)}:{node.lineno}: random"


# arithmetic.py estimates a 128-bit quotient in floating point and then makes it exact by its
# remainder; its results are tested against unbounded integers. metrics.py measures what policies
# did, for reading: no amount depends on it.
ESTIMATES = ("arithmetic",)
MEASURES = ("metrics",)
EXACT = [
    path
    for path in FILES
    if unit_of(path) in EXACT_BELOW_REPORT and path.stem not in (*ESTIMATES, *MEASURES)
]


@each_file(EXACT)
def test_no_float_and_no_decimal_where_money_is_kept(path):
    for node in ast.walk(tree_of(path)):
        name = getattr(node, "id", getattr(node, "attr", ""))
        is_float = isinstance(node, ast.Constant) and isinstance(node.value, float | complex)
        is_float |= name in {"float", "float16", "float32", "float64", "Decimal", "longdouble"}
        assert not is_float, f"{name_of(path)}:{node.lineno}: a float or Decimal"
    for line, imported in imports_of(path):
        assert imported.split(".")[0] != "decimal", f"{name_of(path)}:{line}: decimal"


INTEGERS_ONLY = [p for p in FILES if unit_of(p) == "core" and p.stem not in ("kernel", *ESTIMATES)]


@each_file(INTEGERS_ONLY)
def test_the_core_divides_integers_only(path):
    for node in ast.walk(tree_of(path)):
        divides = isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div)
        assert not divides, f"{name_of(path)}:{node.lineno}: a true division gives a float"


@each_file([p for p in FILES if unit_of(p) not in ("importers", "price_files")])
def test_no_venue_is_named_in_code(path):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if "engine.importers" in line:
            continue  # an importer is named for the public format it reads
        found = VENUES.search(line)
        assert not found, f"{name_of(path)}:{number}: names {found.group()}; venues are data"


@each_file(OWN)
def test_sizes(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= FILE_LINES_MAX, f"{name_of(path)}: {len(lines)} lines"
    for number, line in enumerate(lines, 1):
        assert len(line) <= LINE_MAX, f"{name_of(path)}:{number}: {len(line)} columns"
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - node.lineno + 1
            place = f"{name_of(path)}:{node.lineno}: {node.name}"
            assert length <= FUNCTION_LINES_MAX, f"{place} has {length} lines"


@each_file(OWN)
def test_nothing_is_left_unfinished_or_tied_to_a_machine(path):
    if path == Path(__file__):
        return
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        place = f"{name_of(path)}:{number}"
        assert not UNFINISHED.search(line), f"{place}: unfinished"
        assert not re.search(r"/(?:work|home|root|Users)/", line), f"{place}: a machine's path"


@each_file(OWN)
def test_every_file_opens_with_what_lives_in_it(path):
    if path.stat().st_size == 0 and path.name == "__init__.py":
        return
    assert ast.get_docstring(tree_of(path)), f"{name_of(path)}: no docstring"


@each_file(FILES)
def test_public_functions_say_what_they_do(path):
    if unit_of(path) in ("core", "reference"):
        return  # inside the two implementations a name and a rule number may be enough
    for node in tree_of(path).body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            assert_methods_documented(path, node)
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), place_of(path, node)


def assert_methods_documented(path: Path, cls: ast.ClassDef) -> None:
    for node in cls.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), place_of(path, node)


def place_of(path: Path, node: ast.FunctionDef) -> str:
    return f"{name_of(path)}:{node.lineno}: {node.name} has no docstring"


def test_no_script_of_the_report_reaches_out():
    for asset in (ENGINE / "report").iterdir():
        if asset.suffix in (".css", ".js"):
            text = asset.read_text(encoding="utf-8")
            assert "http" not in text, f"{asset.name}: the page opens offline"
