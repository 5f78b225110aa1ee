"""One thread for every numeric library: tests share the machine, and waiting for threads costs more than they gain.

Triton's kernels run in its interpreter where there is no GPU; it must be told before they are imported. And what the
code under test logs is looked at after every test. No property test has a deadline: what it takes depends on
who else uses the machine, and on whether its kernels are compiled yet.
"""

import logging
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.told import LOGGERS, TOLD

os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile(
    "tests", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
settings.load_profile("tests")

HAS_TRITON = find_spec("triton") is not None
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(scope="session", autouse=True)
def _all_that_is_logged_is_looked_at() -> Iterator[None]:
    logging.getLogger().addHandler(TOLD)
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO)
    yield
    logging.getLogger().removeHandler(TOLD)


@pytest.fixture(autouse=True)
def _no_key_payload_or_vector_is_logged() -> Iterator[None]:
    yield
    assert not TOLD.forget()
