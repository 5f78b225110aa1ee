"""Payload indexes: what is at a key, kept as roaring bitmaps of rows, so that filters need not read payloads.

    schema.py    what an index is declared as: its kind, and how it cuts texts
    postings.py  from payloads to terms and numbers with their rows
    tables.py    runs of them in SQLite: written, merged, and forgotten
    lookup.py    which rows of a run a condition matches
    indexes.py   PayloadIndexes: what commits, upkeep and filters call

An index is a handful of immutable *runs*, each of which covers some rows. A commit writes nothing to them: rows of new
points are covered by no run yet, and filters judge them by their payloads, until upkeep makes a run of them. A payload
that changes in place makes its row *stale* in the run that covers it, in the same transaction. Deleted points are left
out by the set of live rows, since rows are never reused, and dropped when runs are merged. So an index never changes
what a filter matches, only how fast that is found.
"""

from index_store.payload_indexes.indexes import PayloadIndexes, State
from index_store.payload_indexes.late_reader import Changed
from index_store.payload_indexes.schema import IndexSchema

__all__ = ["Changed", "IndexSchema", "PayloadIndexes", "State"]
