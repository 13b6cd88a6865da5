"""Start-up: from the interpreter's start to the first event, with cold and with warm kernels.

Run as `python benchmarks/startup.py [ROUNDS]`; each measurement is a process of its own, the cold
ones with an empty kernel cache.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

PROGRAM = """
from engine.exchange import Exchange, command
exchange = Exchange("binance_usdm")
assert len(exchange.submit(command("INDEX", market_id=1, price=5_000_000))) == 2
"""


def seconds(cache: str) -> float:
    """Wall seconds of one process that uses this kernel cache."""
    environment = {**os.environ, "CRASHTAPE_CACHE_DIR": cache}
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, env=environment)
    return time.perf_counter() - began


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as cache:
        print(f"cold, every kernel compiled: {seconds(cache):.1f} s")
        warm = [seconds(cache) for _ in range(rounds)]
    print(f"warm, median of {rounds}: {statistics.median(warm):.2f} s")


if __name__ == "__main__":
    main()
