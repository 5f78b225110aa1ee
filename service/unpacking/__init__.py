"""Arrow streams and Parquet files are unpacked in a process of its own, whose memory is bounded.

Some bytes of a Parquet file can stand for a gigabyte: a value that is repeated, a page of zeros, a list without end.
However a file was made, the worst it does is to end that process (`child.py`); what reaches the server (`process.py`)
comes in pieces of at most `PIECE_BYTES`, whatever a row of them unpacks to.
"""

ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
KINDS = (ARROW, PARQUET)

PIECE_BYTES = 16 << 20
# What the process may take beyond its imports, and for each byte of the file.
MEMORY_BYTES, MEMORY_A_BYTE = 384 << 20, 2
ROWS = b"rows"
"""In the metadata of the schema: how many rows there are."""
REFUSED, TOO_LARGE = 3, 4
