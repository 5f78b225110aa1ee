"""`qinco-server model convert`: any codec of the family to our format, with decoders that shorten lists."""

import hashlib
import json
import math
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.failure import CommandFailed
from service.cli.model_file import CodecFile, check_output, open_codec
from service.cli.model_info import size
from service.cli.process import share_threads
from service.cli.progress import progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from model import Codec, NetworkCodec

# A sample of more is thinned out: rows, and numbers, which bound its memory to 400 MB.
MOST_ROWS, MOST_NUMBERS = 300_000, 100_000_000
ENCODED_AT_ONCE = 4096


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Checkpoint: ours, or a .pt of the authors.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Checkpoint to write (.safetensors).")],
    fit: Annotated[Path | None, typer.Option(help="Vectors to fit the shortlist decoders to.")] = None,
    cosine: Annotated[bool, typer.Option(help="Divide each vector of --fit by its length first.")] = False,
    candidates: Annotated[int | None, typer.Option(min=0, help="A for --fit; by default the codec's.")] = None,
    beam: Annotated[int | None, typer.Option(min=1, help="B for --fit; by default the codec's.")] = None,
    pairs: Annotated[Path | None, typer.Option(help="The authors' pairwise decoder (.pt).")] = None,
    additive: Annotated[Path | None, typer.Option(help="The authors' index with additive tables.")] = None,
    licence: Annotated[str | None, typer.Option(help="Licence to note in the file, such as CC-BY-NC.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads; by default the machine's cores.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Write a codec in this project's format, with its shortlist decoders if asked."""
    share_threads(threads or os.cpu_count() or 1)
    check_output(out)
    if fit is not None and additive is not None:
        raise CommandFailed("--fit and --additive both give the additive tables; choose one.")
    for file in (fit, pairs, additive):
        if file is not None and not file.is_file():
            raise CommandFailed(f"There is no file {file}.")
    opened = open_codec(source)
    from model import load_codec, save_codec
    from model.errors import QincoError

    training = provenance(opened, licence)
    try:
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".converting-") as folder:
            # The decoders are fitted to the codec as it will be read back, its numbers rounded.
            rounded = Path(folder) / out.name
            save_codec(opened.codec, rounded, training)
            codec = load_codec(rounded)
            codec, decoders = _with_decoders(codec, fit, cosine, (candidates, beam), pairs, additive)
            if decoders:
                training["shortlist_decoders"] = decoders
            save_codec(codec, out, training)
    except (QincoError, OSError) as error:
        raise CommandFailed(str(error)) from error
    written = {
        "file": out.name,
        "kind": opened.kind,
        "additive": codec.has_additive,
        "pairwise": codec.has_pairwise,
        "bytes": out.stat().st_size,
    }
    print(json.dumps(written) if as_json else _summary(out, opened.kind, codec))


def provenance(opened: CodecFile, licence: str | None) -> dict[str, Any]:
    """What the new file tells of its past: what the old one told, and which file was the first."""
    first = {"file": opened.path.name, "sha256": opened.codec.sha256, "kind": opened.kind}
    noted = {} if licence is None else {"licence": licence}
    return {"converted_from": first} | opened.training | noted


def _with_decoders(
    codec: "Codec",
    fit: Path | None,
    cosine: bool,
    effort: tuple[int | None, int | None],
    pairs: Path | None,
    additive: Path | None,
) -> "tuple[Codec, dict[str, Any]]":
    """The codec with the shortlist decoders asked for, and where these came from."""
    origins: dict[str, Any] = {}
    if fit is not None:
        codec, origins["fitted_to"] = _fitted(codec, fit, cosine, effort)
    if additive is not None or pairs is not None:
        codec = _with_tables_of_the_authors(codec, pairs, additive)
        files = {"additive": additive, "pairs": pairs}
        origins |= {what: _identity(file) for what, file in files.items() if file is not None}
    return codec, origins


def _fitted(
    codec: "Codec", file: Path, cosine: bool, effort: tuple[int | None, int | None]
) -> "tuple[Codec, dict[str, Any]]":
    import numpy as np

    from model.evaluation import as_float32
    from service.cli.vector_files import open_vectors

    vectors = open_vectors(file)
    if vectors.shape[1] != codec.dim:
        raise CommandFailed(
            f"{file} holds vectors of {vectors.shape[1]} numbers; the codec is for vectors of {codec.dim}."
        )
    if len(vectors) < codec.codewords:
        raise CommandFailed(
            f"{file} has {len(vectors)} vectors; fitting tables of {codec.codewords} codewords a step "
            f"takes at least {codec.codewords}, and ten times as many do better."
        )
    thinned = math.ceil(len(vectors) / min(MOST_ROWS, max(codec.codewords, MOST_NUMBERS // codec.dim)))
    sample = as_float32(vectors[::thinned], 0, cosine)
    codes = np.concatenate(_encoded(codec, sample, effort))
    return codec.with_shortlist_decoders(sample, codes), {**_identity(file), "vectors": len(sample), "cosine": cosine}


def _encoded(
    codec: "Codec", sample: "NDArray[np.float32]", effort: tuple[int | None, int | None]
) -> "list[NDArray[np.int32]]":
    parts = []
    with progress("Encoding", len(sample)) as report:
        for begin in range(0, len(sample), ENCODED_AT_ONCE):
            block = sample[begin : begin + ENCODED_AT_ONCE]
            parts.append(codec.encode(block, *effort))
            report(begin + len(block))
    return parts


def _with_tables_of_the_authors(codec: "Codec", pairs: Path | None, additive: Path | None) -> "NetworkCodec":
    from model import NetworkCodec
    from model.checkpoint import qinco2
    from model.shortlist import AdditiveDecoder

    if not isinstance(codec, NetworkCodec) or not codec.ivf_lists:
        raise CommandFailed("--pairs and --additive are files beside an IVF-QINCo2 codec; this one has no lists.")
    if additive is not None:
        tables = qinco2.read_additive(additive, codec)
    elif codec.has_additive:
        tables = AdditiveDecoder(codec.normalised_tables)
    else:
        raise CommandFailed("A search needs additive tables before --pairs: give --additive or --fit as well.")
    fitted = codec.fitted_pairs if pairs is None else qinco2.read_pairs(pairs, codec)
    return codec.with_decoders(tables, fitted)


def _identity(file: Path) -> dict[str, str]:
    with file.open("rb") as content:
        return {"file": file.name, "sha256": hashlib.file_digest(content, "sha256").hexdigest()}


def _summary(out: Path, kind: str, codec: "Codec") -> str:
    decoders = "with" if codec.has_additive else "without"
    return f"Wrote {out}, {kind}, {size(out.stat().st_size)}, {decoders} shortlist decoders."
