"""Where training starts: IVF centroids and a residual quantiser, both by k-means (Faiss)."""

from collections.abc import Callable

import faiss
import numpy as np
import torch
from numpy.typing import NDArray

from model.config import CodecConfig
from model.networks import QINCo2, Step

Float32 = NDArray[np.float32]

LIST_ITERATIONS = 20
CODEBOOK_ITERATIONS, STAGES = 10, 5
"""Of the k-means that makes a codebook: iterations in each of so many numbers of dimensions."""

BEAM = 5
"""Most ways of coding a vector that are followed while codebooks are made, as many as Faiss' residual quantiser's."""

BEAM_ROWS, BEAM_NUMBERS = 65_536, 1 << 27
"""Most vectors, and most numbers in all their residuals, that codebooks are made of: 512 MB."""

BLOCK_NUMBERS, LEAST_BLOCK = 1 << 19, 64
"""Distances that are held at once, 2 MB, in the processor's cache; but those of so many vectors at least."""


def initial_network(
    config: CodecConfig, training: Float32, seed: int, report: Callable[[str], None] = lambda stage: None
) -> QINCo2:
    """A network whose error is that of a residual quantiser: training [n, D], in the vectors' units.

    Every step's codebook and pre-selection codebook are the quantiser's; f = c, since the networks start at zero.
    Codebooks are made for the paths that a beam search follows, as it leaves other residuals than the nearest codeword:
    9 000 sentence embeddings of 384 numbers, 16 steps, then have an error of 0.374 on others instead of 0.394.
    `report` is called with a sentence before each codebook.
    """
    torch.manual_seed(seed)
    network = QINCo2(config)
    network.mean = torch.from_numpy(training.mean(axis=0, dtype=np.float64).astype(np.float32))
    network.std = torch.tensor(float(training.std(dtype=np.float64)))
    residuals = network.normalise(torch.from_numpy(training)).numpy()
    if config.ivf_lists:
        centroids = shrunk(k_means(residuals, config.ivf_lists, LIST_ITERATIONS, seed), residuals)
        residuals = residuals - centroids[nearest(centroids, residuals)]
        network.centroids = torch.from_numpy(centroids)
    beam = min(BEAM, config.beam)
    rows = min(BEAM_ROWS, BEAM_NUMBERS // (beam * config.dim))
    if len(residuals) > rows:
        residuals = residuals[np.random.default_rng(seed).choice(len(residuals), rows, replace=False)]
    paths = residuals[:, None]
    for m, step in enumerate(network.steps):
        report(f"Making codebook {m + 1} of {config.steps}")
        left = np.ascontiguousarray(paths.reshape(-1, config.dim))
        codebook = progressive_k_means(left, config.codewords, CODEBOOK_ITERATIONS, seed + 1 + m)
        codebook = shrunk(codebook, left, copies=paths.shape[1])
        _set_codebook(step, torch.from_numpy(codebook))
        if m + 1 < config.steps:
            paths = continued(paths, codebook, beam)
    return network


def continued(paths: Float32, codebook: Float32, beam: int) -> Float32:
    """Residuals [n, F, D] of each vector's F paths, and a codebook [K, D] → those of its best paths [n, beam, D].

    A beam search's step; where F · K paths are fewer than the beam, all are kept.
    """
    n, F, D = paths.shape
    K = len(codebook)
    kept = min(beam, F * K)
    found = np.empty((n, kept, D), np.float32)
    codewords = torch.from_numpy(codebook)
    lengths = codewords.square().sum(dim=1)
    block = max(LEAST_BLOCK, BLOCK_NUMBERS // (F * K))
    for start in range(0, n, block):  # NumPy would multiply vector by vector, and takes three times as long
        some = torch.from_numpy(paths[start : start + block])
        rows = some.flatten(0, 1)
        distances = torch.addmm(lengths, rows, codewords.T, alpha=-2) + rows.square().sum(dim=1, keepdim=True)
        best = distances.view(len(some), F * K).topk(kept, largest=False, sorted=False).indices
        parents = (best // K)[:, :, None].expand(-1, -1, D)
        found[start : start + block] = (some.gather(1, parents) - codewords[best % K]).numpy()
    return found


def k_means(x: Float32, k: int, iterations: int, seed: int) -> Float32:
    """k centroids of x [n, D] → [k, D]."""
    trainer = faiss.Kmeans(x.shape[1], k, niter=iterations, seed=seed, min_points_per_centroid=1)
    trainer.train(x)
    return np.asarray(trainer.centroids, dtype=np.float32)


def progressive_k_means(x: Float32, k: int, iterations: int, seed: int) -> Float32:
    """k centroids of residuals x [n, D] → [k, D], by k-means in a growing number of principal dimensions.

    Residuals of high dimension are nearly orthogonal to each other. Started from random residuals, plain k-means
    gives almost all of them to the shortest centroid and hardly recovers: on sentence embeddings (D = 384) some of 16
    steps then gained a tenth of their neighbours.
    """
    parameters = faiss.ProgressiveDimClusteringParameters()
    parameters.niter, parameters.seed, parameters.min_points_per_centroid = iterations, seed, 1
    parameters.progressive_dim_steps = STAGES
    clustering = faiss.ProgressiveDimClustering(x.shape[1], k, parameters)
    rows = np.ascontiguousarray(x)
    # Faiss' stubs promise a NumPy form of this call, but only the C++ one is there (1.15.1).
    clustering.train(len(rows), faiss.swig_ptr(rows), faiss.ProgressiveDimIndexFactory())  # type: ignore[call-overload]
    return np.asarray(faiss.vector_to_array(clustering.centroids), dtype=np.float32).reshape(k, -1)


def shrunk(codebook: Float32, x: Float32, copies: int = 1) -> Float32:
    """The codebook [k, D] with each codeword drawn towards zero by what chance made of it; x [n, D] are its vectors.

    copies  how many of x come from one vector, and so tell no more than one

    The mean of s vectors is off by a squared distance of w / s, for w the mean squared distance of vectors to theirs.
    Few vectors in many dimensions make codewords that are mostly such noise, which adds to what is left of others
    (James and Stein, 1961; towards zero, which residuals have as their mean). 9 000 sentence embeddings, 16 steps: the
    error of others is 0.394 instead of 0.411.
    """
    assigned = nearest(codebook, x)
    counts = np.maximum(np.bincount(assigned, minlength=len(codebook)) / copies, 1)
    spread = float(np.square(x - codebook[assigned]).sum(axis=1).mean())
    lengths = np.maximum(np.square(codebook).sum(axis=1), np.finfo(np.float32).tiny)
    kept = np.maximum(0, 1 - spread / (counts * lengths))
    return np.asarray(codebook * kept[:, None], dtype=np.float32)


def nearest(centroids: Float32, x: Float32) -> NDArray[np.int64]:
    """The nearest of the centroids [k, D] to each of x [n, D] → [n]."""
    c = torch.from_numpy(centroids)
    lengths = c.square().sum(dim=1)
    blocks = torch.split(torch.from_numpy(x), max(LEAST_BLOCK, BLOCK_NUMBERS // len(c)))
    return torch.cat([torch.addmm(lengths, block, c.T, alpha=-2).argmin(dim=1) for block in blocks]).numpy()


def _set_codebook(step: Step, codebook: torch.Tensor) -> None:
    with torch.no_grad():
        if not step.has_network:
            step.codebook.copy_(codebook)
            return
        step.codebook.copy_(codebook / 2 if step.adds_twice else codebook)
        if step.preselection is not None:
            step.preselection.copy_(codebook)
        if step.preselector is not None:
            _set_codebook(step.preselector, codebook)
