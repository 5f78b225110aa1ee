"""One thread for every numeric library: tests share the machine, and waiting for threads costs more than they gain.

Triton's kernels run in its interpreter where there is no GPU; it must be told before they are imported.
"""

import os
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

HAS_TRITON = find_spec("triton") is not None
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")
