"""requirements.lock pins what pyproject.toml asks for, with hashes and without an address."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LOCK = (ROOT / "requirements.lock").read_text("utf-8")
PIN = re.compile(
    r"^([a-z0-9.-]+)==([^ ]+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.M
)
EXTRAS = PROJECT["optional-dependencies"].values()
ASKED = [*PROJECT["dependencies"], *(each for extra in EXTRAS for each in extra)]


def number(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


@pytest.mark.parametrize("asked", [each for each in ASKED if not each.startswith("crashtape")])
def test_what_is_asked_for_is_pinned(asked):
    name, _, least = asked.partition(">=")
    pinned = {pin: version for pin, version, _ in PIN.findall(LOCK)}
    assert name in pinned, f"{name} is not pinned; run make lock"
    assert number(pinned[name]) >= number(least), f"{name}: {pinned[name]} is below {least}"


def test_every_line_is_a_pin_with_hashes_and_no_address():
    rest = re.sub(r"^ *#.*\n", "", PIN.sub("", LOCK), flags=re.MULTILINE)
    assert rest.strip() == ""
    assert "://" not in LOCK and "file:" not in LOCK
