"""Compiling what encoding and search run on CPUs, before anything has to wait.

Where it was compiled before, it is read from Numba's cache in about a second.
"""


def warm() -> None:
    """Compile the codec's kernels and the scan's, or load them; a second call does nothing."""
    from index_store import call_of_codes, cascade, gather, nearest_stored, one_call, row_bits
    from index_store.scan import cpu, picked, slots
    from model import warm_kernels

    warm_kernels()
    cpu.warm()
    picked.warm()
    slots.warm()
    row_bits.warm()
    gather.warm()
    nearest_stored.warm()
    one_call.warm()
    call_of_codes.warm()
    cascade.warm()
