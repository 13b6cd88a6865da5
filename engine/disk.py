"""Changes of files, one system call each, so that a test can stop, fail or kill at any of them.

Whatever must survive a crash is written through a `Disk`. Reading needs none: it changes nothing.
"""

import os
from contextlib import suppress
from pathlib import Path

WRITE_BYTES_MAX = 1 << 27  # of one call; systems take no more than 2 GiB at once


class Disk:
    """The operating system's own calls. Every method raises OSError as the call does."""

    def create(self, path: Path) -> int:
        """A new empty file, or an old one emptied; returns its descriptor."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)

    def reopen(self, path: Path) -> int:
        """An existing file, to be appended to; returns its descriptor."""
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        """Write at most all of `data`; returns how many bytes were taken."""
        return os.write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        """Return when the file's bytes have reached the device."""
        os.fsync(descriptor)

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut the file to `size` bytes."""
        os.ftruncate(descriptor, size)

    def close(self, descriptor: int) -> None:
        """Give the descriptor back."""
        os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file its name, in place of an older file of that name."""
        os.replace(source, target)

    def remove(self, path: Path) -> None:
        """Remove a file; nothing happens where there is none."""
        path.unlink(missing_ok=True)

    def sync_folder(self, folder: Path) -> None:
        """Return when the names in a folder have reached the device."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_all(disk: Disk, descriptor: int, data: bytes | memoryview) -> None:
    """Write all of `data`; OSError where a call takes less than it was given."""
    for start in range(0, len(data), WRITE_BYTES_MAX):
        part = data[start : start + WRITE_BYTES_MAX]
        taken = disk.write(descriptor, part)
        if taken != len(part):
            raise OSError(f"short write: {taken} of {len(part)} bytes")


def replace_file(disk: Disk, path: Path, pieces: list[bytes | memoryview]) -> None:
    """Write a file that is there whole or, after a crash at any point, as it was before.

    It is written beside its place, brought to the device, and only then given its name. Raises
    OSError; what was there is then untouched.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        descriptor = disk.create(partial)
        try:
            for piece in pieces:
                write_all(disk, descriptor, piece)
            disk.sync(descriptor)
        finally:
            disk.close(descriptor)
        disk.rename(partial, path)
    except OSError:
        with suppress(OSError):  # a full disk is not helped by half a file on it
            disk.remove(partial)
        raise
    disk.sync_folder(path.parent)
