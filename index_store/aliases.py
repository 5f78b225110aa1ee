"""Other names of collections, changed several at a time or not at all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from index_store.catalogue import Catalogue
from index_store.errors import AliasNotFound, CollectionExists, CollectionNotFound
from index_store.names import check_name


@dataclass(frozen=True)
class CreateAlias:
    """Let an alias stand for a collection, whatever it stood for before."""

    alias: str
    collection: str


@dataclass(frozen=True)
class DeleteAlias:
    """Let an alias stand for nothing; one that is not there is no error."""

    alias: str


@dataclass(frozen=True)
class RenameAlias:
    """Let another alias stand for what this one stands for."""

    old: str
    new: str


AliasAction = CreateAlias | DeleteAlias | RenameAlias


class Aliases:
    """alias → collection. The caller serialises whoever changes them; readers need no lock."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self.held = catalogue.aliases()

    def change(self, actions: Sequence[AliasAction], is_collection: Callable[[str], bool]) -> None:
        """Apply all actions in order, or none of them.

        Raises InvalidConfig (a name), CollectionNotFound, CollectionExists (a collection has the alias's name),
        AliasNotFound.
        """
        aliases = dict(self.held)
        for action in actions:
            _apply(action, aliases, is_collection)
        self._keep(aliases)

    def forget(self, collection: str) -> None:
        """Delete all aliases of a collection."""
        if collection in self.held.values():
            self._keep({alias: name for alias, name in self.held.items() if name != collection})

    def _keep(self, aliases: dict[str, str]) -> None:
        self._catalogue.set_aliases(aliases)
        self.held = aliases


def _apply(action: AliasAction, aliases: dict[str, str], is_collection: Callable[[str], bool]) -> None:
    if isinstance(action, DeleteAlias):
        aliases.pop(action.alias, None)
        return
    new = action.new if isinstance(action, RenameAlias) else action.alias
    check_name(new, "alias")
    if is_collection(new):
        raise CollectionExists(f"A collection is called '{new}' already: an alias needs a name of its own.")
    if isinstance(action, CreateAlias):
        if not is_collection(action.collection):
            raise CollectionNotFound(f"There is no collection '{action.collection}' that '{new}' could stand for.")
        aliases[new] = action.collection
    elif action.old not in aliases:
        raise AliasNotFound(f"There is no alias '{action.old}'.")
    else:
        aliases[new] = aliases.pop(action.old)
