"""Services that people use, on the same vectors: `python -m benchmarks.rivals MODEL [ROWS]`.

    __main__.py      the command: environments, one process a system, measurements in turn
    turns.py         what such a process does: load, then measure whenever it is told to
    on_qinco.py on_chroma.py on_milvus_lite.py on_lancedb.py on_pgvector.py   each system behind the same face

Every rival is installed from requirements/rivals.txt into an environment of its own below runs/rivals. Clients are
threads of the measuring process, on the machine that serves, and count against it alike.
"""
