"""Journals for tests: one seeded exchange, its commands, what it is after each, and bad disks."""

import errno
import os
from functools import cache
from pathlib import Path

import numpy as np

from engine.digest import EventDigest
from engine.disk import Disk
from engine.durable import DurableExchange
from engine.fuzz import Setup, draw_setup
from engine.rows import COMMAND

SEED = 5  # a curve, tiny capacities, both margin modes


@cache
def setup() -> Setup:
    """The exchange of these tests."""
    return draw_setup(SEED)


@cache
def commands(count: int) -> np.ndarray:
    """Its first `count` commands."""
    return np.array(setup().commands(count), COMMAND)[:count]


@cache
def marks(count: int) -> list[tuple[str, str]]:
    """Event digest and state digest after 0, 1, ... `count` commands, journal or no journal."""
    exchange, digest = setup().core(check_index=False), EventDigest()
    found = [(digest.hexdigest(), exchange.digest())]
    for row in range(count):
        digest.update(exchange.submit(commands(count)[row : row + 1]))
        found.append((digest.hexdigest(), exchange.digest()))
    return found


def mark(durable: DurableExchange) -> tuple[str, str]:
    """Event digest and state digest of a journaled exchange."""
    return durable.digest.hexdigest(), durable.exchange.digest()


def create(folder: Path, disk: Disk | None = None) -> DurableExchange:
    """The exchange of these tests, journaled in a new folder."""
    made = setup()
    return DurableExchange.create(
        folder,
        made.profile,
        capacities=made.capacities,
        curves=made.curves,
        feedback_ppm=made.feedback_ppm,
        disk=disk,
    )


CALLS = tuple(
    name for name in vars(Disk) if not name.startswith("_")
)  # every system call a journal makes


class CountingDisk(Disk):
    """A disk that hears of every call before and after it; `before` may act in its place."""

    def __init__(self) -> None:
        self.calls = 0

    def before(self, name: str, arguments: tuple) -> None:
        """Called with the number of the call in `calls`, from 1."""

    def after(self, name: str) -> None:
        """Called when the call has done its work."""


def _counted(name: str):
    real = getattr(Disk, name)

    def call(self, *arguments):
        self.calls += 1
        self.before(name, arguments)
        result = real(self, *arguments)
        self.after(name)
        return result

    return call


for _name in CALLS:
    setattr(CountingDisk, _name, _counted(_name))


class FaultyDisk(CountingDisk):
    """Fails at call `number` (from 1), and at every later one if it is `dead`.

    `fault` is what happens there: full (nothing is taken), short (half of a write is taken) or
    error (the call fails). Closing never fails, as on real systems it does not matter.
    """

    def __init__(self, number: int, fault: str, dead: bool) -> None:
        super().__init__()
        self.number, self.fault, self.dead = number, fault, dead

    def before(self, name: str, arguments: tuple) -> None:
        """Fail in place of the call, when its turn has come."""
        now = self.calls >= self.number if self.dead else self.calls == self.number
        if not now or name == "close":
            return
        if self.fault == "short" and name == "write":
            descriptor, data = arguments
            os.write(descriptor, bytes(data)[: len(data) // 2])
            raise OSError(errno.ENOSPC, "half of it was taken")
        if self.fault == "full" and name in ("write", "create"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.fault == "error":
            raise OSError(errno.EIO, os.strerror(errno.EIO))


class ShortDisk(Disk):
    """Takes less than it is given in write `number`, and says so as a real system does."""

    def __init__(self, number: int, taken: int) -> None:
        self.number, self.taken = number, taken

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        """Count the writes down; in the last one take `taken` bytes."""
        self.number -= 1
        return os.write(descriptor, bytes(data)[: self.taken] if self.number == 0 else data)
