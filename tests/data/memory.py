"""The most memory that a process of its own holds while it runs some code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# ru_maxrss begins at the peak of the process that started this one; Linux knows this one's own.
_PEAK = """
import re, resource, sys
from pathlib import Path
if sys.platform == "linux":
    print(1024 * int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]))
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_bytes(code: str, *arguments: object, folder: Path | None = None) -> tuple[list[str], int]:
    """Run code that finds arguments in `sys.argv[1:]`, and return the lines that it prints and its peak."""
    command = [sys.executable, "-c", f"{code}\n{_PEAK}", *map(str, arguments)]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.splitlines()
    return found[:-1], int(found[-1])
