"""The additive scan: the best codes of the probed lists by M table look-ups and a stored norm.

    plain.py        the specification, in NumPy
    cpu.py          the fast form for CPUs, in Numba
    on_device.py    the forms for GPUs: triton_form.py, and torch_form.py, its specification
    resident.py     what these read, held on the device; keys.py is what they sort by

All take and give the same, but that on a device the tables are a tensor there:

    segments     the segments of a view, in its order
    lists        int64 [q, p], the lists to read for each query; −1: none
    bases        float32 [q, p], what each list adds to the distance of its codes
    tables       float32 [q, M, K], what each code adds
    with_norms   whether a code's stored norm is added (squared L2) or not (inner product)
    skipped      rows that are no candidates: tombstones, and what a filter leaves out
    shortlist    s, candidates kept for each query
    →            Candidates, nearest first
"""
