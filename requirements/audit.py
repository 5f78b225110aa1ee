"""`make audit`: looks every locked package up in PyPI's database of known vulnerabilities; 0 none, 1 some, 2 not known.

pip-audit alone ends with 0 where the database cannot be reached and all packages were left out: told apart here.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
PIP_AUDIT = Path(sys.executable).with_name("pip-audit")


def main() -> int:
    locks = [word for lock in sorted(FOLDER.glob("*.lock")) for word in ("-r", str(lock))]
    done = subprocess.run(
        [PIP_AUDIT, "--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json", *locks],
        capture_output=True,
        text=True,
    )
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = {"dependencies": []}
    sentence, status = verdict(answer["dependencies"])
    print(sentence)
    return status


def verdict(packages: list[dict[str, Any]]) -> tuple[str, int]:
    """What pip-audit's answer comes to, and the status to exit with."""
    looked_up = [one for one in packages if "skip_reason" not in one]
    if not looked_up:
        return "The database of known vulnerabilities is out of reach: nothing was audited.", 2
    known = [
        f"{one['name']} {one['version']}: {weakness['id']}, mended in {', '.join(weakness['fix_versions']) or 'none'}"
        for one in looked_up
        for weakness in one["vulns"]
    ]
    left_out = [one["name"] for one in packages if "skip_reason" in one]
    if left_out:
        known.append(f"Not found in the database: {', '.join(left_out)}.")
    told = f"{len(looked_up)} packages were looked up."
    return "\n".join([told, *known]), 1 if len(known) > bool(left_out) else 2 if left_out else 0


if __name__ == "__main__":
    sys.exit(main())
