"""What a collection's codes are read with: the model's codec, or a prefix of it, with shortlist decoders of its own.

Shortlist decoders that the model's checkpoint does not bring are fitted to the collection's vectors and stored beside
it, in a file that counts once a transaction names it: magic, format version, CRC-32 of the rest, then safetensors with
the tables [steps, K, dim] of each network of the codec, normalised, and how many vectors they were fitted to.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from index_store.answers import Float32
from index_store.config import CodesConfig, VectorConfig
from index_store.errors import DamagedData, StepsOutOfRange
from index_store.storage import Storage
from model.errors import DimensionMismatch, InvalidCodes

if TYPE_CHECKING:
    from torch import Tensor

    from model import Codec, NetworkCodec

FITTED_VECTORS = 50_000
FITTED_BYTES = 128 << 20
LEAST_FITTED = 4096
GROWTH = 8
SUFFIX = ".tables"
_MAGIC = b"QINCOTAB"
_HEAD = struct.Struct("<8sII")
_FORMAT = 1

Codes = NDArray[np.int32]


@dataclass(frozen=True)
class Coding:
    """A codec, and where its shortlist decoders come from.

    file       of the tables that were fitted here; None: the checkpoint's own, or none yet
    fitted_on  how many vectors they were fitted to
    model      held where codes are as long as the model's, so that the collections of a model share its network
    """

    codec: Codec
    file: str | None = None
    fitted_on: int = 0
    model: Codec | None = None

    @property
    def is_fitted(self) -> bool:
        """Whether codes can be scanned."""
        return self.codec.has_additive

    @cached_property
    def tables(self) -> Float32:
        """The additive tables [M·K, dim]."""
        return self.codec.additive_tables.reshape(-1, self.codec.dim)

    @cached_property
    def tables_there(self) -> Tensor:
        """The same where the codec is."""
        import torch

        return torch.from_numpy(self.tables).to(self.codec.device)

    @property
    def code_bytes(self) -> int:
        """The bytes of one code."""
        return self.codec.steps * (1 if self.codec.codewords <= 256 else 2)


def check_codec(codec: Codec, config: VectorConfig) -> None:
    """Raise DimensionMismatch unless vectors of this config can be searched by this codec's codes."""
    if codec.dim != config.size:
        raise DimensionMismatch(f"The model is for vectors of {codec.dim} numbers; the collection's are {config.size}.")


def check_effort(codec: Codec, codes: CodesConfig) -> None:
    """Raise UnsupportedOption unless a codec encodes with these candidates and this beam."""
    codec.encode(np.ones((1, codec.dim), np.float32), codes.candidates, codes.beam)


def most_fitted(dim: int) -> int:
    """To how many vectors shortlist decoders are fitted, if there are so many."""
    return min(FITTED_VECTORS, max(LEAST_FITTED, FITTED_BYTES // (4 * dim)))


def fitted(storage: Storage, folder: Path, codec: Codec, vectors: Float32, codes: Codes, model: Codec | None) -> Coding:
    """The codec with shortlist decoders fitted to vectors [n, dim] and their codes, stored under a new name."""
    full = codec.with_shortlist_decoders(vectors, codes)
    file = f"{uuid4().hex}{SUFFIX}"
    tables = {str(place): one.normalised_tables for place, one in enumerate(_networks(full))}
    body = safetensors.save(tables, {"fitted_on": json.dumps(len(vectors))})
    unfinished = folder / f"{file}.tmp"
    storage.make_folder(folder)
    storage.write_at(unfinished, 0, memoryview(_HEAD.pack(_MAGIC, _FORMAT, zlib.crc32(body)) + body))
    storage.sync(unfinished)
    storage.rename(unfinished, folder / file)
    storage.sync_folder(folder)
    return Coding(full, file, len(vectors), model)


def load(storage: Storage, path: Path, codec: Codec, model: Codec | None) -> Coding:
    """The codec with the shortlist decoders of a file; raises DamagedData."""
    body = read_checked(storage, path)
    try:
        tables = safetensors.load(body)
        length = int.from_bytes(body[:8], "little")
        fitted_on = int(json.loads(body[8 : 8 + length])["__metadata__"]["fitted_on"])
        full = _with_tables(codec, [tables[str(place)] for place in range(len(tables))])
        return Coding(full, path.name, fitted_on, model)
    except (SafetensorError, KeyError, ValueError) as error:
        raise DamagedData(f"{path.name}: the shortlist decoders do not fit the model: {error}") from error


def read_checked(storage: Storage, path: Path) -> bytes:
    """The safetensors in a file of shortlist decoders; raises DamagedData."""
    data = storage.read(path, 0, storage.size(path)) if storage.size(path) else b""
    if len(data) < _HEAD.size or not data.startswith(_MAGIC):
        raise DamagedData(f"{path.name} does not hold shortlist decoders.", path, 0)
    _, version, checksum = _HEAD.unpack_from(data)
    body = data[_HEAD.size :]
    if version != _FORMAT or zlib.crc32(body) != checksum:
        raise DamagedData(f"{path.name}: the shortlist decoders do not match their checksum.", path, 0)
    return body


def prefix_of(codec: Codec, steps: int) -> tuple[Codec, NDArray[np.int64]]:
    """The codec of shorter codes, without shortlist decoders, and which columns of a code are kept.

    Raises StepsOutOfRange.
    """
    try:
        prefix = codec.prefix(steps)
    except InvalidCodes as error:
        raise StepsOutOfRange(str(error)) from error
    from model import ProductCodec

    return prefix, codec.prefix_columns(steps) if isinstance(codec, ProductCodec) else np.arange(steps)


def _networks(codec: Codec) -> tuple[NetworkCodec, ...]:
    from model import ProductCodec

    return codec.slices if isinstance(codec, ProductCodec) else (codec,)


def _with_tables(codec: Codec, tables: list[Float32]) -> Codec:
    from model import ProductCodec
    from model.shortlist import AdditiveDecoder

    made = []
    for one, own in zip(_networks(codec), tables, strict=True):
        if own.shape != (one.steps, one.codewords, one.dim):
            raise ValueError(f"tables of shape {list(own.shape)}.")
        made.append(one.with_decoders(AdditiveDecoder(np.asarray(own, np.float32))))
    return ProductCodec(made, codec.rotation, codec.sha256) if isinstance(codec, ProductCodec) else made[0]
