"""What can go wrong with numbers and checkpoints; the root of every error of this project.

QincoError
├── InvalidVectors
│   └── DimensionMismatch
├── InvalidCodes
├── InvalidCheckpoint
├── InvalidTrainingData
└── UnsupportedOption
"""


class QincoError(Exception):
    """Root of every error that this project raises on purpose; its text is a sentence for the user."""


class InvalidVectors(QincoError):
    """Vectors of the wrong type or shape, or with values that are not finite."""


class DimensionMismatch(InvalidVectors):
    """Vectors of another dimension than the codec's or the collection's."""


class InvalidCodes(QincoError):
    """Codes of the wrong type or shape, or beyond the number of codewords or lists."""


class InvalidCheckpoint(QincoError):
    """A checkpoint that is damaged, of an unknown kind, or inconsistent with itself."""


class InvalidTrainingData(QincoError):
    """Vectors that no codec can be trained on."""


class UnsupportedOption(QincoError):
    """Something asked of a codec that it was not trained for."""
