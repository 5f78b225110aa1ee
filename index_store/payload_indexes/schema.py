"""What a payload index is declared as: its kind and, for texts, how they are cut into words."""

from dataclasses import dataclass, field
from typing import Any

from index_store.errors import InvalidConfig
from index_store.filters.words import PLAIN, TOKENIZERS, Tokenizer

KINDS = ("keyword", "integer", "float", "bool", "datetime", "uuid", "text", "geo")
STRINGS = ("keyword", "uuid")
NUMBERS = ("integer", "float", "datetime", "geo")

# Where Qdrant keeps an index and how its graph uses it: accepted, reported, and without effect here.
_PLACEMENT = ("on_disk", "memory", "is_principal", "is_tenant", "enable_hnsw")
# Both ways of asking are always served.
_ALWAYS = {"integer": ("lookup", "range"), "keyword": ("prefix",), "text": ("phrase_matching",)}
_OF_TEXTS = ("tokenizer", "min_token_len", "max_token_len", "lowercase", "ascii_folding", "stopwords")
_REFUSED = ("stemmer", "scoring", "nested")


@dataclass(frozen=True)
class IndexSchema:
    """A kind, the tokenizer of texts, and the options as they were given."""

    kind: str
    tokenizer: Tokenizer = PLAIN
    options: dict[str, Any] = field(default_factory=dict, compare=False)

    @classmethod
    def parse(cls, value: Any) -> "IndexSchema":
        """`"keyword"`, or `{"type": "keyword", …}`; raises InvalidConfig naming what is not served."""
        given = {"type": value} if isinstance(value, str) else value
        if not isinstance(given, dict) or given.get("type") not in KINDS:
            told = given.get("type") if isinstance(given, dict) else given
            raise InvalidConfig(f"'field_schema' is one of {', '.join(KINDS)}, or {{\"type\": …}}; not {told!r}.")
        kind = given["type"]
        options = {name: one for name, one in given.items() if name != "type" and one is not None}
        known = (*_PLACEMENT, *_ALWAYS.get(kind, ()), *(_OF_TEXTS if kind == "text" else ()))
        for name in options:
            if name in _REFUSED:
                raise InvalidConfig(f"'field_schema.{name}' is not served by this version; leave it out.")
            if name not in known:
                raise InvalidConfig(f"'field_schema.{name}' is no option of an index of type '{kind}'.")
        return cls(kind, _tokenizer(options), options)

    def to_json(self) -> dict[str, Any]:
        """The same as a JSON object."""
        return {"type": self.kind, **self.options}


def _tokenizer(options: dict[str, Any]) -> Tokenizer:
    kind = options.get("tokenizer", "word")
    if kind not in TOKENIZERS:
        raise InvalidConfig(f"'field_schema.tokenizer' is one of {', '.join(TOKENIZERS)}; '{kind}' is not served.")
    for name in ("lowercase", "ascii_folding"):
        if not isinstance(options.get(name, True), bool):
            raise InvalidConfig(f"'field_schema.{name}' is true or false.")
    least, most = options.get("min_token_len", 0), options.get("max_token_len")
    if not all(one is None or (type(one) is int and one >= 0) for one in (least, most)):
        raise InvalidConfig("'field_schema.min_token_len' and 'max_token_len' are integers of at least 0.")
    return Tokenizer(
        kind, options.get("lowercase", True), options.get("ascii_folding", False), least, most,
        frozenset(_stopwords(options.get("stopwords"))),
    )  # fmt: skip


def _stopwords(given: Any) -> list[str]:
    """Words of the user's own; the lists of languages are not served."""
    if given is None:
        return []
    custom = given.get("custom") if isinstance(given, dict) else None
    if not isinstance(given, dict) or given.get("languages") or set(given) - {"languages", "custom"}:
        raise InvalidConfig(
            "'field_schema.stopwords': lists of a language's words are not served; give {\"custom\": [words]}."
        )
    words = custom or []
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise InvalidConfig("'field_schema.stopwords.custom' is a list of strings.")
    return words
