"""The filter grammar: what a filter says, how it is read from JSON, and whether one point matches it.

    filter.py       must, should, must_not, min_should, and `nested` for the objects of an array
    fields.py       conditions on the values at a key: match, range, values_count, is_empty, is_null
    words.py        match text, text_any and phrase, and how a text is cut into words
    geo.py          geo_bounding_box, geo_radius, geo_polygon
    identity.py     has_id, has_vector, slice: conditions on the point itself
    keys.py         paths into a payload: a.b, a[].b, a[0], "quoted.key"
    dates.py        RFC 3339 dates, and the shorter forms that Qdrant reads
    refusals.py     the sentences of what is not in the grammar

Everything here is the plain form: `matches` looks at one point. `index_store.selection` finds the rows of a whole
collection with the help of payload indexes, and must agree with it.
"""

from index_store.filters.filter import Condition, Filter, MinShould, Nested
from index_store.filters.keys import Key
from index_store.filters.point import Point

__all__ = ["Condition", "Filter", "Key", "MinShould", "Nested", "Point"]
