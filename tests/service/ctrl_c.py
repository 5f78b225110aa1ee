"""Children that a test stops as a user does, by Ctrl-C."""

import signal


def heed_ctrl_c() -> None:
    """For `preexec_fn`: what a shell runs in the background, tests included, ignores SIGINT, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
