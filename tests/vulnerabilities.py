"""Known vulnerabilities of the locked dependencies, and how many of them were looked up at all.

    python tests/vulnerabilities.py     (`make audit`)

pip-audit passes over what its advisory service does not know and ends well when that is
everything. Here a dependency that was not looked up is a failure like a vulnerable one.
"""

import subprocess
import sys
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[1]
CALL = ["-m", "pip_audit", "--requirement", "requirements.lock", "--disable-pip"]
OPTIONS = ["--require-hashes", "--format", "json", "--progress-spinner", "off"]
EXPLAINED: dict[str, str] = {}  # advisory -> why it does not matter here


def findings(report: bytes) -> tuple[list[str], list[str], int]:
    """Vulnerabilities that nothing explains, what was not looked up, and how much was.

    >>> findings(b'{"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "X-1"}]},'
    ...          b'{"name": "b", "skip_reason": "unknown"}]}')
    (['a 1: X-1'], ['b'], 1)
    """
    packages = msgspec.json.decode(report)["dependencies"]
    known = [package for package in packages if "skip_reason" not in package]
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    wrong = [
        f"{package['name']} {package['version']}: {advisory['id']}"
        for package in known
        for advisory in package["vulns"]
        if advisory["id"] not in EXPLAINED
    ]
    return wrong, skipped, len(known)


def main() -> int:
    """Ask, and print what was found; 1 for a vulnerability, 2 where not all was looked up."""
    call = [sys.executable, *CALL, *OPTIONS]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, check=False)
    if not done.stdout.startswith(b"{"):
        print(done.stderr.decode(errors="replace").strip().splitlines()[-1], file=sys.stderr)
        return 2
    wrong, skipped, known = findings(done.stdout)
    print("\n".join(wrong) or "no known vulnerability among those looked up")
    print(f"{known} looked up, {len(skipped)} unknown to the advisory service")
    return 1 if wrong else 2 if skipped else 0


if __name__ == "__main__":
    sys.exit(main())
