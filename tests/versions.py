"""One digest from every Python: the same seeds in each interpreter found, compared.

    python tests/versions.py [PYTHON ...]     these interpreters, or every one from 3.11 on that is
                                              on the path or kept by pyenv or uv (`make versions`)

An interpreter without the dependencies gets an environment of its own, thrown away afterwards.
Each runs core and rulebook on a few seeds, with kernels compiled by itself, and prints their
digests. Exit status 1 if one differs, 2 if there is nothing to compare.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST, NEWEST = 11, 14  # minor versions that are looked for
HOMES = (".pyenv/versions", ".local/share/uv/python")  # below the home folder
SEEDS = (0, 5, 12, 16, 25, 33, 47)
COMMANDS = 300
VERSION = "import sys; assert sys.version_info >= (3, 11); print(sys.version.split()[0])"
NEEDED = "import numba, polars, pyarrow, msgspec, sortedcontainers, numpy; print(numpy.__version__)"
SCRIPT = """
import sys
from engine.core.kernel import JIT
from engine.fuzz import run_differential
assert JIT, "the kernels are not compiled"
for seed in map(int, sys.argv[2:]):
    outcome = run_differential(seed, int(sys.argv[1]))
    assert not outcome.difference, outcome.difference
    print(seed, outcome.events, outcome.event_digest, outcome.state_digest)
"""


def answer(python: Path | str, *arguments: str, **variables: str) -> str | None:
    """What an interpreter prints, or None where it fails."""
    call = [str(python), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    try:
        done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
    except OSError:
        return None
    if done.returncode:
        print("\n".join(done.stderr.splitlines()[-3:]), file=sys.stderr)
    return done.stdout.strip() if done.returncode == 0 else None


def candidates() -> Iterator[Path]:
    """Interpreters that may be there: this one, those on the path, those of pyenv and uv."""
    yield Path(sys.executable)
    for minor in range(OLDEST, NEWEST + 1):
        if found := shutil.which(f"python3.{minor}"):
            yield Path(found)
    for home in HOMES:
        yield from sorted((Path.home() / home).glob("*3.1[1-9]*/bin/python3"))


def interpreters(named: list[str]) -> dict[str, Path]:
    """Version -> interpreter, one of each version."""
    found: dict[str, Path] = {}
    for python in map(Path, named) if named else candidates():
        version = answer(python, "-c", VERSION)
        if version is not None:
            found.setdefault(version, python)
    return found


def equipped(python: Path, folder: Path) -> Path | None:
    """An interpreter with the dependencies: this one, or one in a new environment."""
    if answer(python, "-c", NEEDED) is not None:
        return python
    made = folder / "bin" / "python"
    steps = (
        [python, "-m", "venv", folder],
        [made, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", ROOT],
    )
    for step in steps:
        if answer(step[0], *map(str, step[1:])) is None:
            return None
    return made


def main() -> int:
    """Run every interpreter and compare what they print."""
    results: dict[str, str] = {}
    for version, python in interpreters(sys.argv[1:]).items():
        with tempfile.TemporaryDirectory() as folder:
            ready = equipped(python, Path(folder) / "venv")
            cache = {"CRASHTAPE_CACHE_DIR": f"{folder}/cache"}
            arguments = ("-c", SCRIPT, str(COMMANDS), *map(str, SEEDS))
            digests = ready and answer(ready, *arguments, **cache)
            numpy = ready and answer(ready, "-c", NEEDED)
        if not digests:
            print(f"Python {version}: not run; see above", flush=True)
            continue
        results[version] = digests
        print(f"Python {version}, numpy {numpy}:\n{digests}", flush=True)
    if len(results) < 2:
        print(f"nothing to compare: {len(results)} interpreter ran")
        return 2
    same = len(set(results.values())) == 1
    print(f"{', '.join(results)}: {'the same digests' if same else 'THE DIGESTS DIFFER'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
