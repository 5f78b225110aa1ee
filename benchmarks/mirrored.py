"""`python -m benchmarks.mirrored SIFT/learn.npy OUT.npy`: SIFT descriptors, then those of the images upside down.

A descriptor is a histogram of eight orientations for each of 4 × 4 fields. Turning the image upside down, as a mirror
does, reverses the rows of fields and negates the orientations: twice the vectors to train on, and nothing else is known
of them.
"""

import sys

import numpy as np
from numpy.typing import NDArray

FIELDS, ORIENTATIONS = 4, 8


def main() -> None:
    descriptors = np.load(sys.argv[1])
    np.save(sys.argv[2], np.concatenate([descriptors, mirrored(descriptors)]))


def mirrored(descriptors: NDArray[np.generic]) -> NDArray[np.generic]:
    """Descriptors [n, 128] of the same images upside down."""
    fields = descriptors.reshape(-1, FIELDS, FIELDS, ORIENTATIONS)
    return fields[:, ::-1, :, -np.arange(ORIENTATIONS) % ORIENTATIONS].reshape(descriptors.shape)


if __name__ == "__main__":
    main()
