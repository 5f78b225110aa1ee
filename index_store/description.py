"""What a collection holds and costs, told of one of its vectors."""

from index_store import drafts, targets
from index_store.answers import CollectionInfo
from index_store.holdings import Holdings
from index_store.vector_index import VectorIndex


def described(held: Holdings, index: VectorIndex) -> CollectionInfo:
    view, made_anew = held.views[index.name], held.next.get(index.name)
    pending = 0 if index.codec is None else view.stop - view.watermark
    pending = pending if made_anew is None else view.stop - made_anew.watermark
    steps = 0 if index.codec is None else index.codec.steps
    code_bytes = index.code_bytes()
    return CollectionInfo(
        points=held.count,
        pending=pending,
        segments=len(view.segments),
        state="encoding" if pending or made_anew else "exact" if index.codec is None else "ready",
        model=index.codes.model,
        sha256=None if index.codec is None else index.codec.sha256,
        steps=steps,
        code_bytes=code_bytes,
        ram_bytes_per_vector=code_bytes + 6 if code_bytes else 0,
        float32_bytes=4 * index.config.size,
        encoding_rate=held.observed.encoding_rate,
        drafts=drafts.rows_in(view.segments),
        recent_mse=index.drift.recent_mse,
        training_mse=index.drift.training_mse(steps),
        tombstones=len(held.dead),
        disk_bytes=held.points.disk_bytes() + index.disk_bytes(),
        ram_bytes=index.ram_bytes() + view.dead.bits.nbytes,
        devices=dict(held.observed.devices),
        read_only_because=held.read_only_because,
        unindexed_filters=held.unindexed.filters,
        unindexed_keys=tuple(held.unindexed.keys),
        recall=targets.last_measured(held, index),
        damage=held.damage,
    )
