"""Deliberate faults, one at a time in a copy of the tree, and whether the tests notice them.

    python tests/mutants.py [WORD ...]     all of them, or those whose line contains a word

The faults are in `mutants.toml`. For each, its own tests run first; if they pass, a short
comparison of core and rulebook. Everything runs as plain Python, so that nothing is compiled. A
fault is killed by a failing test or by the time limit. Exit status 1 if one survives.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "tests" / "mutants.toml"
COPIED = ("engine", "tests", "scenarios", "situations", "pyproject.toml")
SECONDS_MAX = 240  # many times what the longest takes; only a loop without an end reaches it
LAST_RESORT = ["differential/test_core_and_rulebook.py", "-k", "same_events or state_digest"]
SURVIVED = ""


class Mutant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One fault: `new` stands for the only `old` of `file`; it breaks a rule or an invariant."""

    what: str
    file: str
    old: str
    new: str
    breaks: str
    tests: list[str]

    def apply(self, tree: Path) -> str:
        """Write the fault into a tree; returns the sound text."""
        path = tree / self.file
        sound = path.read_text(encoding="utf-8")
        assert sound.count(self.old) == 1, f"{self.file}: {sound.count(self.old)} x {self.old!r}"
        path.write_text(sound.replace(self.old, self.new), encoding="utf-8")
        return sound


def mutants() -> list[Mutant]:
    """The table."""
    tables = tomllib.loads(TABLE.read_text(encoding="utf-8"))["mutant"]
    return [msgspec.convert(table, Mutant) for table in tables]


def copy_tree(folder: Path) -> Path:
    """The tree without what was built from it, so that no stale bytecode hides a fault."""
    ignore = shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=ignore)
        else:
            shutil.copy2(ROOT / name, folder / name)
    return folder


def run_tests(tree: Path, tests: list[str]) -> str:
    """The first test that fails in a tree, `the time limit`, or SURVIVED."""
    environment = {
        **os.environ,
        "NUMBA_DISABLE_JIT": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(tree),
    }
    paths = [f"tests/{name}" if re.split("/|::", name)[0] in FOLDERS else name for name in tests]
    options = ["-x", "-q", "-p", "no:cacheprovider", "--tb=no", "--no-header"]
    call = [sys.executable, "-m", "pytest", *options, *paths]
    try:
        done = subprocess.run(
            call, cwd=tree, env=environment, capture_output=True, text=True, timeout=SECONDS_MAX
        )
    except subprocess.TimeoutExpired:
        return "the time limit"
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if done.returncode == 0:
        return SURVIVED
    return found.group(1).removeprefix("tests/") if found else f"exit {done.returncode}"


FOLDERS = {path.name for path in (ROOT / "tests").iterdir()}


def killer(tree: Path, mutant: Mutant) -> str:
    """What kills a fault, or SURVIVED; the tree is sound again afterwards."""
    sound = mutant.apply(tree)
    try:
        return run_tests(tree, mutant.tests) or run_tests(tree, LAST_RESORT)
    finally:
        (tree / mutant.file).write_text(sound, encoding="utf-8")


def main() -> int:
    """Run the table, or the part of it that was asked for, and print it."""
    chosen = [
        mutant
        for mutant in mutants()
        if not sys.argv[1:] or any(word in str(mutant) for word in sys.argv[1:])
    ]
    started, survivors = time.monotonic(), []
    with tempfile.TemporaryDirectory() as name:
        tree = copy_tree(Path(name))
        every = sorted({test for mutant in chosen for test in mutant.tests})
        broken = run_tests(tree, every)
        if broken:
            print(f"error: without a fault {broken} fails already", file=sys.stderr)
            return 2
        for mutant in chosen:
            by = killer(tree, mutant)
            survivors += [] if by else [mutant]
            place = mutant.file.removeprefix("engine/")
            print(f"{mutant.breaks:<5}{place:<28}{mutant.what:<56} {by or 'SURVIVED'}", flush=True)
    seconds = time.monotonic() - started
    print(f"killed {len(chosen) - len(survivors)} of {len(chosen)} in {seconds:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
