"""The equations of QINCo2 in float64 NumPy, sharing no code with `model`: the oracle of the tests.

Works on plain dictionaries: mean, std, centroids (or None), and `steps`, each with codebook, and where it has a network
preselection, in, concat, bias, up, down, out (None where the network does not have them).
"""

import numpy as np


def as_float64(network):
    """A model.networks.QINCo2 as the dictionaries of this module."""
    state = {name: tensor.double().numpy() for name, tensor in network.state_dict().items()}
    steps = []
    for m in range(network.config.steps):
        own = {
            name.removeprefix(f"steps.{m}."): value for name, value in state.items() if name.startswith(f"steps.{m}.")
        }
        blocks = range(network.config.blocks)
        step = {"codebook": own["codebook"], "network": "concat_weight" in own}
        if step["network"]:
            step |= {
                "outer_skip": network.config.outer_skip,
                "preselection": own.get("preselection"),
                "preselector": _preselector(own, network.config),
                "in": own.get("in_projection"),
                "out": own.get("out_projection"),
                "concat": own["concat_weight"],
                "bias": own["concat_bias"],
                "up": [own[f"up.{b}"] for b in blocks],
                "down": [own[f"down.{b}"] for b in blocks],
            }
        steps.append(step)
    centroids = state["centroids"] if len(state["centroids"]) else None
    return {"mean": state["mean"], "std": state["std"], "centroids": centroids, "steps": steps}


def _preselector(own, config):
    own = {name.removeprefix("preselector."): value for name, value in own.items() if name.startswith("preselector.")}
    if not own:
        return None
    blocks = range(config.preselection_blocks)
    return {
        "network": True,
        "outer_skip": True,
        "codebook": own["codebook"],
        "in": own.get("in_projection"),
        "out": own.get("out_projection"),
        "concat": own["concat_weight"],
        "bias": own["concat_bias"],
        "up": [own[f"up.{b}"] for b in blocks],
        "down": [own[f"down.{b}"] for b in blocks],
    }


def added(step, codeword, decoded):
    """f_m(c, x̂) for one codeword [D] and one vector decoded so far [D]."""
    if not step["network"]:
        return codeword
    e = codeword if step["in"] is None else step["in"] @ codeword
    z = e + step["concat"] @ np.concatenate([e, decoded]) + step["bias"]
    for up, down in zip(step["up"], step["down"], strict=True):
        z = z + down @ np.maximum(up @ z, 0)
    output = z if step["out"] is None else step["out"] @ z
    return codeword + output if step["outer_skip"] else output


def decode(model, code, steps=None):
    """The vector, in raw units, that one code stands for."""
    decoded = np.zeros_like(model["mean"])
    if model["centroids"] is not None:
        decoded, code = model["centroids"][code[0]], code[1:]
    for step, symbol in list(zip(model["steps"], code, strict=True))[:steps]:
        decoded = decoded + added(step, step["codebook"][symbol], decoded)
    return decoded * model["std"] + model["mean"]


def encode(model, x, candidates, beam):
    """The code of one raw vector by beam search over hypotheses (distance, decoded, symbols)."""
    x = (x - model["mean"]) / model["std"]
    prefix, start = [], np.zeros_like(x)
    if model["centroids"] is not None:
        prefix = [int(np.square(model["centroids"] - x).sum(axis=1).argmin())]
        start = model["centroids"][prefix[0]]
    hypotheses = [(0.0, start, prefix)]
    for m, step in enumerate(model["steps"]):
        tried = []
        for _, decoded, symbols in hypotheses:
            for symbol in _preselected(step, x - decoded, decoded, candidates, beam if m == 0 else 0):
                longer = decoded + added(step, step["codebook"][symbol], decoded)
                tried.append((np.square(x - longer).sum(), longer, [*symbols, int(symbol)]))
        is_last = m == len(model["steps"]) - 1
        hypotheses = sorted(tried, key=lambda hypothesis: hypothesis[0])[: 1 if is_last else beam]
    return np.array(hypotheses[0][2])


def _preselected(step, residual, decoded, candidates, at_least):
    if not step["network"] or candidates == 0:
        return range(len(step["codebook"]))
    guesses = step["preselection"]
    if step["preselector"] is not None:
        guesses = np.stack([added(step["preselector"], g, decoded) for g in step["preselector"]["codebook"]])
    distances = np.square(guesses - residual).sum(axis=1)
    return np.argsort(distances, kind="stable")[: max(candidates, at_least)]
