"""How far a thread stands back behind those that search, where both want the same core."""

import os
import sys
import threading


def stand_back(niceness: int) -> None:
    """Lower this thread's priority (nice, 0 … 19); only Linux gives a thread its own, inherited by those it starts."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
