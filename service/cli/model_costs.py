"""What codecs cost in multiply-adds a vector; `python -m service.cli.model_costs` prints the table of docs/models.md.

The networks' own arithmetic, as their equations are written: the fast form does some of it once a codeword instead of
once a vector, and has other work (sorting, gathering) that these numbers leave out.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model import Codec, CodecConfig

STEPS = 8
DIMS = (128, 384, 768)
EFFORTS = ((4, 4), (8, 8), (16, 32))


def network_macs(config: "CodecConfig", blocks: int) -> int:
    """One step network with so many residual blocks: D_e(D_e + D) + 2 L D_e D_h, and 2 D D_e where it projects."""
    D, D_e = config.dim, config.embedding
    projections = 2 * D * D_e if config.has_projection else 0
    return D_e * (D_e + D) + 2 * blocks * D_e * config.hidden + projections


def decode_macs(config: "CodecConfig") -> int:
    """Decoding one vector."""
    return config.networks * network_macs(config, config.blocks)


def encode_macs(config: "CodecConfig", candidates: int, beam: int) -> int:
    """Encoding one vector with A candidates and beam B, without choosing its list."""
    D, K = config.dim, config.codewords
    total, hypotheses = (0, 1) if config.ivf_lists else (K * D, min(beam, K))
    for _ in range(config.networks):
        tried = K if candidates == 0 else min(K, max(candidates, beam)) if hypotheses == 1 else candidates
        total += hypotheses * (tried * (network_macs(config, config.blocks) + D))
        total += hypotheses * _preselection_macs(config) if candidates else 0
        hypotheses = beam
    return total


def codec_macs(codec: "Codec", candidates: int, beam: int) -> tuple[int, int]:
    """Decoding and encoding one vector, all slices and the rotation together."""
    from model import ProductCodec

    if not isinstance(codec, ProductCodec):
        return decode_macs(codec.config), encode_macs(codec.config, candidates, beam)
    rotation = 0 if codec.rotation is None else codec.dim**2
    configs = [one.config for one in codec.slices]
    decode = sum(decode_macs(config) for config in configs)
    encode = sum(encode_macs(config, candidates, beam) for config in configs)
    return decode + rotation, encode + rotation


def parameters(codec: "Codec") -> tuple[int, int]:
    """All numbers that training sets, lists and rotation apart, and those of them that decoding reads."""
    from model import ProductCodec

    networks = codec.slices if isinstance(codec, ProductCodec) else (codec,)
    named = [
        (name, array.size)
        for one in networks
        for name, array in one.weights.arrays.items()
        if name not in ("mean", "std", "centroids")
    ]
    return sum(n for _, n in named), sum(n for name, n in named if ".preselect" not in name)


def table() -> str:
    """The presets at 8 bytes, as a Markdown table."""
    from model import PRESETS, preset_config

    efforts = " | ".join(f"encode A={a}, B={b}" for a, b in EFFORTS)
    lines = [f"| dim | preset | parameters to decode | decode | {efforts} |", "|---|---|---|---|---|---|---|"]
    for dim in DIMS:
        for preset in PRESETS:
            config = preset_config(preset, dim, STEPS)
            encode = " | ".join(f"{encode_macs(config, a, b) / 1e6:.0f}" for a, b in EFFORTS)
            cells = f"{_decoding_parameters(config) / 1e6:.2f} M | {decode_macs(config) / 1e6:.2f} | {encode}"
            lines.append(f"| {dim} | {preset} | {cells} |")
    return "\n".join(lines)


def _preselection_macs(config: "CodecConfig") -> int:
    a_codeword = config.dim + (network_macs(config, config.preselection_blocks) if config.preselection_blocks else 0)
    return config.codewords * a_codeword


def _decoding_parameters(config: "CodecConfig") -> int:
    """Of every step the codebook; where it has a network, its matrices, whose every number is one multiply-add."""
    networks = config.networks * (network_macs(config, config.blocks) + config.embedding)
    return config.steps * config.codewords * config.dim + networks


if __name__ == "__main__":
    print(table())
