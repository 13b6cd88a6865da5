"""Integer draws that are the same everywhere: the raw stream of PCG64 and nothing else."""

import numpy as np

from engine.constants import PPM


class Randomness:
    """Integer draws from the raw stream of PCG64.

    `stream` separates uses of one seed, `part` the parts of one use; part 0 is the whole.
    """

    def __init__(self, seed: int, stream: int, part: int = 0) -> None:
        words = [seed, stream, part] if part else [seed, stream]
        self._bits = np.random.PCG64(np.random.SeedSequence(words))

    def uniform(self, count: int) -> np.ndarray:
        """int64 in 0..2**53-1."""
        return (self._bits.random_raw(count) >> np.uint64(11)).astype(np.int64)

    def normal(self, count: int) -> np.ndarray:
        """Twelve uniforms summed: standard normal to three sigma, never beyond six. float64.

        The sum is an integer below 2**36, so each value is exact and the same everywhere.
        """
        total = np.zeros(count, np.int64)
        for _ in range(6):
            raw = self._bits.random_raw(count)
            total += (raw >> np.uint64(32)).astype(np.int64)
            total += (raw & np.uint64(0xFFFFFFFF)).astype(np.int64)
        return (total - (6 << 32)) / float(1 << 32)

    def lognormal_ppm(self, count: int, sd_ppm: int) -> np.ndarray:
        """exp(sd * normal) in whole ppm, int64; the median is one million."""
        return np.rint(np.exp(self.normal(count) * (sd_ppm / PPM)) * PPM).astype(np.int64)

    def keys(self, count: int) -> np.ndarray:
        """uint64 keys to sort by."""
        return self._bits.random_raw(count)

    def order(self, count: int) -> np.ndarray:
        """A random permutation of 0..count-1; equal keys keep their order."""
        return np.argsort(self.keys(count), kind="stable")
