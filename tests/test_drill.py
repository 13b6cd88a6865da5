"""The crash drill's small version; `make drill` runs all of it."""

import os
import re
import subprocess
import sys
from pathlib import Path

DRILL = Path(__file__).with_name("drill.py")


def test_the_small_drill_loses_nothing_and_takes_nothing_bad():
    command = [sys.executable, str(DRILL), "--small"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = dict(re.findall(r"^(.+?) {2,}([\d,]+)$", done.stdout, re.MULTILINE))
    assert counts["acknowledged commands lost"] == counts["silent acceptances"] == "0"
    for name in ("kills", "recoveries by snapshot", "torn batches cut", "refused with an offset"):
        assert int(counts[name].replace(",", "")) > 0, f"{name}: the drill drilled nothing"
