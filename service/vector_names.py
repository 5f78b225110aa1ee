"""What the vectors of a collection are called: by Qdrant's API, where one may have no name, and by the store."""

from index_store import CollectionConfig

# The unnamed vector, as Qdrant's API and as the store call it.
UNNAMED = ""
DEFAULT = "default"


def stored_name(name: str) -> str:
    """A name of the API as the store has it."""
    return DEFAULT if name == UNNAMED else name


def vectors_told(config: CollectionConfig) -> str:
    """What a sentence says of the vectors that a collection has."""
    if config.vectors.keys() == {DEFAULT}:
        return "its only vector has no name"
    return f"it has {', '.join(map(repr, sorted(config.vectors)))}"
