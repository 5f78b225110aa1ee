"""One thread for every numeric library: tests share the machine, and waiting for threads costs more than they gain."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
