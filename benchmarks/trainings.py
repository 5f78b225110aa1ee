"""Trainings that see a given number of vectors, so that the load of the machine changes nothing but the time."""

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model import NetworkCodec, load_codec
from model.training import Recipe, train
from model.training.data import held_out_rows


def trained(vectors: NDArray[np.generic], seen: int, recipe: Recipe) -> tuple[NetworkCodec, dict[str, Any], float]:
    """The codec that a recipe makes of vectors [n, dim] after `seen` of them, each counting as often as it comes.

    Returns what its checkpoint tells too, and the seconds of processor time that all took. seen 0 gives what training
    begins with.
    """
    epochs = seen / (len(vectors) - held_out_rows(recipe, len(vectors)))
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "codec.safetensors"
        told = train(vectors, replace(recipe, epochs=epochs), path, lambda news: None)
        codec = load_codec(path)
    assert isinstance(codec, NetworkCodec)
    return codec, told, time.process_time() - began
