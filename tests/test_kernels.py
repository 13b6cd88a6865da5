"""Machine code in files: used again, for this processor only, never when damaged, by many at once.

Each test compiles a module of three small parts in processes of its own.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engine.core.kernel import JIT
from engine.core.machine_code import Code, read, write

pytestmark = pytest.mark.skipif(not JIT, reason="nothing is compiled")

ROOT = Path(__file__).resolve().parents[1]
PARTS = """
from engine.core.kernel import front, kernel

@kernel
def doubled(x):
    return 2 * x

@front
def first(x):
    assert x > 0, "x is positive"
    return doubled(x)

@front
def second(x, y):
    return doubled(x) // y

@front
def third(x):
    return doubled(doubled(x))
"""
BEGIN = """
import os, own
from engine.core import compiling, linking, machine_code
names = ["own.first", "own.second", "own.third"]
"""
USE = """
print(own.first(21), own.second(30, 2), own.third(5))
for wrong in (lambda: own.first(0), lambda: own.second(1, 0)):
    try:
        wrong()
    except (AssertionError, ZeroDivisionError) as error:
        print(type(error).__name__, error)
"""
LOAD = "linking.have_parts(names)"
ANSWER = "42 30 20\nAssertionError x is positive\nZeroDivisionError integer division by zero\n"


class Machine:
    """Processes that share a cache."""

    def __init__(self, folder: Path) -> None:
        (folder / "own.py").write_text(PARTS)
        self.environment = os.environ | {
            "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
            "CRASHTAPE_CACHE_DIR": str(folder / "cache"),
        }
        self.cache = folder / "cache"

    def start(self, program: str, **environment: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-c", program],
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def says(self, load: str = LOAD, **environment: str) -> str:
        process = self.start(BEGIN + load + USE, **environment)
        said, failure = process.communicate()
        assert process.returncode == 0, failure
        return said

    def files(self) -> list[Path]:
        return sorted(self.cache.rglob("all.bin"))


@pytest.fixture
def machine(tmp_path):
    """Nothing is compiled on it."""
    return Machine(tmp_path)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compiled")
    assert Machine(folder).says() == ANSWER
    return folder


@pytest.fixture
def warm(compiled, tmp_path):
    """Everything is compiled on it."""
    return Machine(Path(shutil.copytree(compiled, tmp_path, dirs_exist_ok=True)))


FORBIDDEN = "compiling.machine_code = None\n"


def test_what_is_compiled_is_used_again_and_faults_say_the_same(warm):
    assert warm.says(FORBIDDEN + LOAD) == ANSWER


def test_a_part_alone_is_found_without_the_others(warm):
    warm.files()[0].unlink()
    assert warm.says(FORBIDDEN + LOAD) == ANSWER
    assert len(warm.files()) == 1


def flipped(data: bytes) -> bytes:
    place = len(data) // 2
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


DAMAGE = {
    "cut": lambda data: data[:-1],
    "cut in its digest": lambda data: data[:7],
    "empty": lambda data: b"",
    "one bit": flipped,
    "another file": lambda data: b"\x7fELF" + bytes(1000),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_file_counts_as_missing_and_is_made_anew(warm, damage):
    (file,) = warm.files()
    for path in file.parent.iterdir():
        path.write_bytes(damage(path.read_bytes()))
    assert warm.says() == ANSWER
    assert read(file).keys() == {"own.first", "own.second", "own.third"}


def test_another_processor_has_code_of_its_own(warm):
    assert warm.says(NUMBA_CPU_NAME="x86-64", NUMBA_CPU_FEATURES="+sse2") == ANSWER
    assert len(warm.files()) == 2


def test_code_that_needs_what_is_not_there_is_not_loaded(tmp_path):
    known, unknown = (Code("f", "", "", [name], b"") for name in ("PyLong_FromLongLong", "no_such"))
    write(tmp_path / "known.bin", {"f": known})
    write(tmp_path / "unknown.bin", {"f": known, "g": unknown})
    assert read(tmp_path / "known.bin") == {"f": known}
    assert read(tmp_path / "unknown.bin") == {}


def test_processes_that_start_at_once_do_not_disturb_each_other(machine):
    several = [machine.start(BEGIN + LOAD + USE) for _ in range(3)]
    assert [process.communicate()[0] for process in several] == [ANSWER] * 3
    assert len(machine.files()) == 1
    assert machine.says(FORBIDDEN + LOAD) == ANSWER


def test_where_nothing_can_be_written_everything_is_compiled(machine):
    blocked = (
        "path = machine_code.folder()\n"
        "path.parent.mkdir(parents=True, exist_ok=True)\n"
        "path.exists() or path.touch()\n"
    )
    for _ in range(2):
        assert machine.says(blocked + LOAD) == ANSWER
    assert machine.files() == []
    assert machine.says(CRASHTAPE_CACHE_DIR="/dev/null/nowhere") == ANSWER


def test_parts_of_a_process_that_ended_are_compiled_here(machine):
    ended = "os.cpu_count = lambda: 3\ncompiling.sys.executable = '/bin/false'\n"
    heard = "linking.have_parts(names, lambda *said: print(*said[1:]))"
    said = machine.says(ended + heard)
    assert said.endswith(ANSWER)
    assert said.removesuffix(ANSWER).splitlines() == ["1 3", "2 3", "3 3"]


def test_other_processes_compile_their_share(machine):
    """Here the first part waits for the rest, which only another process can make meanwhile."""
    waiting = """
import time
os.cpu_count = lambda: 2
make = compiling.machine_code
def last(made):
    until = time.monotonic() + 120
    while sum(map(bool, map(machine_code.read, map(machine_code.alone, names)))) < 2:
        assert time.monotonic() < until, "nobody else compiles"
        time.sleep(0.05)
    return make(made)
compiling.machine_code = last
"""
    assert machine.says(waiting + LOAD) == ANSWER
