"""A service without codes does without what computes them."""

import subprocess
import sys
from pathlib import Path

ASKED = """
import sys
from service.server import Server
import index_store, model
from index_store import Store
Store.open(sys.argv[1]).close()
print(*(name for name in ("torch", "numba", "llvmlite", "pyarrow", "h5py", "matplotlib") if name in sys.modules))
"""


def test_a_service_without_models_imports_neither_pytorch_nor_numba(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", ASKED, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
