"""Rows of a tape per second: written, read with its hashes checked, and read without them."""

import pytest

from engine.bench.tape_rows import METADATA, commands_of
from engine.tape import TapeWriter, read_tape

ROWS = 500_000


def write(path, rows):
    with TapeWriter(path, METADATA) as tape:
        tape.append(rows)
    return tape.tape_hash


def test_writing(benchmark, tmp_path):
    rows = commands_of(ROWS)
    hashes = {write(tmp_path / "first.tape", rows)}
    hashes.add(benchmark.pedantic(write, (tmp_path / "a.tape", rows), rounds=3, warmup_rounds=1))
    assert len(hashes) == 1
    benchmark.extra_info["rows_per_round"] = ROWS


@pytest.mark.parametrize("verify", [True, False], ids=["hashes", "no_hashes"])
def test_reading(benchmark, tmp_path, verify):
    rows = commands_of(ROWS)
    write(tmp_path / "a.tape", rows)

    def work():
        return sum(int(part["price"].sum()) for part in read_tape(tmp_path / "a.tape", verify))

    total = benchmark.pedantic(work, rounds=5, warmup_rounds=1)
    assert total == int(rows["price"].sum())
    benchmark.extra_info["rows_per_round"] = ROWS
