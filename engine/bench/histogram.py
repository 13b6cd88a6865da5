"""Counters of nanoseconds in HdrHistogram's log-linear layout, and its log format.

Values of 1 ns to an hour at three significant digits: a value falls into a slot no wider than a
thousandth of it. Files follow version 1.3 of the log and encoding V2, which HdrHistogram's own
libraries and viewers read.
"""

import base64
import struct
import zlib
from collections.abc import Iterable, Mapping

import numpy as np

DIGITS = 3
LOWEST, HIGHEST = 1, 3_600_000_000_000
HALF_BITS = 10  # a bucket has 2**10 slots; the first one twice as many
HALF = 1 << HALF_BITS
BUCKETS = HIGHEST.bit_length() - HALF_BITS - 1
SLOTS = (BUCKETS + 1) * HALF + HALF
COOKIE, COMPRESSED_COOKIE = 0x1C849313, 0x1C849314
PERCENTILES = (50.0, 90.0, 99.0, 99.9, 99.99, 100.0)


def slots_of(values: np.ndarray) -> np.ndarray:
    """The slot of each value, clipped to what can be counted."""
    values = np.clip(values, 0, HIGHEST).astype(np.int64)
    # frexp gives the number of bits exactly: HIGHEST is far below 2**53.
    bits = np.frexp(np.maximum(values, 2 * HALF - 1).astype(np.float64))[1]
    bucket = bits.astype(np.int64) - (HALF_BITS + 1)
    return bucket * HALF + (values >> bucket)


def highest_in(slot: int) -> int:
    """The largest value that is counted in a slot.

    >>> highest_in(5), highest_in(int(slots_of(np.array([1_000_000]))[0]))
    (5, 1000447)
    """
    if slot < 2 * HALF:
        return slot
    bucket = (slot >> HALF_BITS) - 1
    return (((slot & (HALF - 1)) + HALF + 1) << bucket) - 1


class Histogram:
    """Counts of values; percentiles are the highest value of their slot, the maximum is exact."""

    def __init__(self, values: np.ndarray | None = None) -> None:
        self.counts = np.zeros(SLOTS, dtype=np.int64)
        self.max = 0
        if values is not None and len(values):
            self.record(values)

    @property
    def total(self) -> int:
        """How many values were counted."""
        return int(self.counts.sum())

    def record(self, values: np.ndarray) -> None:
        """Count an array of nanoseconds."""
        self.counts += np.bincount(slots_of(values), minlength=SLOTS)
        self.max = max(self.max, int(values.max()))

    def percentile(self, percent: float) -> int:
        """The value that `percent` of the counted ones do not exceed; 0 where there are none.

        >>> Histogram(np.arange(1, 101)).percentile(99)
        99
        """
        total = self.total
        if not total:
            return 0
        if percent >= 100:
            return self.max
        rank = max(1, int(np.ceil(percent / 100 * total - 1e-9)))
        slot = int(np.searchsorted(np.cumsum(self.counts), rank))
        return min(highest_in(slot), self.max)

    def curve(self) -> list[tuple[float, int]]:
        """(percent, nanoseconds) from the median outwards, denser the closer to 100."""
        total, found, rest = self.total, [], 0.5
        while total and rest * total >= 1:
            percent = 100 * (1 - rest)
            found.append((round(percent, 7), self.percentile(percent)))
            rest *= 0.8
        return [*found, (100.0, self.max)] if total else []


def _packed(counts: Iterable[int]) -> bytes:
    """ZigZag LEB128 of the counts; a run of zeros is one negative number."""
    out, zeros = bytearray(), 0
    for count in [*counts, None]:
        if count == 0:
            zeros += 1
            continue
        for value in ([-zeros] if zeros else []) + ([] if count is None else [count]):
            left = (value << 1) ^ (value >> 63)
            while left > 0x7F:
                out.append(left & 0x7F | 0x80)
                left >>= 7
            out.append(left)
        zeros = 0
    return bytes(out)


def encoded(histogram: Histogram) -> str:
    """Base64 of the compressed encoding V2."""
    used = np.flatnonzero(histogram.counts)
    counts = histogram.counts[: used[-1] + 1].tolist() if len(used) else []
    body = _packed(counts)
    head = struct.pack(">iiiiqqd", COOKIE, len(body), 0, DIGITS, LOWEST, HIGHEST, 1.0)
    packed = zlib.compress(head + body)
    return base64.b64encode(struct.pack(">ii", COMPRESSED_COOKIE, len(packed)) + packed).decode()


def log_text(histograms: Mapping[str, Histogram], began_s: float, seconds: float) -> str:
    """A log of one interval with one tagged histogram a line; its maxima are in milliseconds."""
    lines = [
        "#[Latency in nanoseconds from the scheduled arrival]",
        "#[Histogram log format version 1.3]",
        f"#[StartTime: {began_s:.3f} (seconds since epoch)]",
        '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"',
    ]
    for tag, each in histograms.items():
        lines.append(f"Tag={tag},0.000,{seconds:.3f},{each.max / 1e6:.3f},{encoded(each)}")
    return "\n".join(lines) + "\n"
