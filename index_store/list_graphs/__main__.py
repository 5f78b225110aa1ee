"""The process that makes a graph: reads the centroids of a checkpoint alone, and prints the share that is linked.

Where nobody hears that any more, as after its server was killed, the next print ends it.
"""

import os
import sys
from pathlib import Path

from safetensors import safe_open

from model import list_graph


def main(checkpoint: str, target: str, sha256: str) -> int:
    os.nice(10)
    with safe_open(checkpoint, framework="np") as file:
        centroids = file.get_tensor("centroids")
    graph = list_graph.build(centroids, lambda share: print(share, flush=True))
    list_graph.save(graph, Path(target), sha256)
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
