"""Matching texts by their words: `text` (all words), `text_any` (one of them), `phrase` (all, in this order)."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from index_store.filters.keys import Key
from index_store.filters.point import Point

_WORD = re.compile(r"[^\W_]+")
TOKENIZERS = ("word", "whitespace", "prefix")


@dataclass(frozen=True)
class Tokenizer:
    """How a text is cut into words; by default as on keys without a text index.

    kind  word: letters and digits hang together · whitespace: what spaces divide · prefix: words, and every
          beginning of theirs; a query's words are taken whole
    """

    kind: str = "word"
    lowercase: bool = True
    ascii_folding: bool = False
    least: int = 0
    most: int | None = None
    stopwords: frozenset[str] = frozenset()

    def words(self, text: str) -> list[str]:
        """The words of a text, in order."""
        if self.lowercase:
            text = text.lower()
        if self.ascii_folding:
            text = "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
        found = text.split() if self.kind == "whitespace" else _WORD.findall(text)
        kept = [word for word in found if len(word) >= self.least and word not in self.stopwords]
        if self.kind == "prefix":
            return [word[: self.most] for word in kept]
        return [word for word in kept if self.most is None or len(word) <= self.most]

    def stored(self, text: str) -> set[str]:
        """What a text can be found by."""
        words = self.words(text)
        if self.kind != "prefix":
            return set(words)
        return {word[:length] for word in words for length in range(max(1, self.least), len(word) + 1)}


PLAIN = Tokenizer()


@dataclass(frozen=True)
class MatchText:
    """Some text holds all of the words (`every`), or one of them."""

    key: Key
    text: str
    every: bool = True
    tokenizer: Tokenizer = PLAIN

    @property
    def words(self) -> list[str]:
        """What is asked for."""
        return self.tokenizer.words(self.text)

    def matches(self, point: Point) -> bool:
        """Whether a point does; no words at all match nothing."""
        wanted = self.words
        return any(self._is_in(wanted, value) for value in self.key.values(point.payload) if isinstance(value, str))

    def _is_in(self, wanted: list[str], text: str) -> bool:
        held = self.tokenizer.stored(text)
        found = [word in held for word in wanted]
        return bool(found) and (all(found) if self.every else any(found))


@dataclass(frozen=True)
class MatchPhrase:
    """Some text holds the words one after another."""

    key: Key
    text: str
    tokenizer: Tokenizer = PLAIN

    @property
    def words(self) -> list[str]:
        """What is asked for."""
        return self.tokenizer.words(self.text)

    def matches(self, point: Point) -> bool:
        """Whether a point does; no words at all match nothing."""
        wanted = self.words
        texts = [value for value in self.key.values(point.payload) if isinstance(value, str)]
        return bool(wanted) and any(_follow(wanted, self.tokenizer.words(text)) for text in texts)


def _follow(wanted: list[str], words: list[str]) -> bool:
    width = len(wanted)
    return any(words[start : start + width] == wanted for start in range(len(words) - width + 1))


def parse_text(key: Key, kind: str, given: Any) -> MatchText | MatchPhrase:
    """`text`, `text_any` and `phrase` of a match; `given` is a string."""
    return MatchPhrase(key, given) if kind == "phrase" else MatchText(key, given, every=kind == "text")
