"""Every method of the stock client, sync and async, is honoured, or refused with a sentence that names why."""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

C = "methods"
V = [0.1, 0.2, 0.3]
POINTS = [models.PointStruct(id=i, vector=[0.1, 0.2, i / 10], payload={"n": i, "tag": "a"}) for i in range(6)]
CLEAR = models.ClearPayloadOperation(clear_payload=models.PointIdsList(points=[3]))
Call = Callable[[Any], Any]

# In the order in which they are made: later ones find what earlier ones left.
SMALL = models.VectorParams(size=3, distance=models.Distance.COSINE)

HONOURED: list[tuple[str, Call]] = [
    ("info", lambda c: c.info()),
    (
        "create_collection",
        lambda c: c.create_collection(C, SMALL),
    ),
    ("collection_exists", lambda c: c.collection_exists(C)),
    ("get_collections", lambda c: c.get_collections()),
    ("get_collection", lambda c: c.get_collection(C)),
    ("update_collection", lambda c: c.update_collection(C, metadata={"a": 1}, hnsw_config=models.HnswConfigDiff(m=8))),
    ("upsert", lambda c: c.upsert(C, POINTS)),
    ("create_payload_index", lambda c: c.create_payload_index(C, "n", models.PayloadSchemaType.INTEGER)),
    ("retrieve", lambda c: c.retrieve(C, [1], with_vectors=True)),
    ("scroll", lambda c: c.scroll(C, order_by="n")),
    ("count", lambda c: c.count(C)),
    ("facet", lambda c: c.facet(C, "tag")),
    ("query_points", lambda c: c.query_points(C, V)),
    ("query_batch_points", lambda c: c.query_batch_points(C, [models.QueryRequest(query=V)])),
    ("query_points_groups", lambda c: c.query_points_groups(C, "tag", V)),
    ("search_matrix_pairs", lambda c: c.search_matrix_pairs(C)),
    ("search_matrix_offsets", lambda c: c.search_matrix_offsets(C)),
    ("set_payload", lambda c: c.set_payload(C, {"x": 1}, [1])),
    ("overwrite_payload", lambda c: c.overwrite_payload(C, {"x": 1}, [1])),
    ("delete_payload", lambda c: c.delete_payload(C, ["x"], [1])),
    ("clear_payload", lambda c: c.clear_payload(C, [1])),
    ("update_vectors", lambda c: c.update_vectors(C, [models.PointVectors(id=1, vector=V)])),
    ("delete_vectors", lambda c: c.delete_vectors(C, [""], [2])),
    (
        "batch_update_points",
        lambda c: c.batch_update_points(
            C, [models.ClearPayloadOperation(clear_payload=models.PointIdsList(points=[3]))]
        ),
    ),
    ("delete", lambda c: c.delete(C, [5])),
    ("delete_payload_index", lambda c: c.delete_payload_index(C, "n")),
    (
        "update_collection_aliases",
        lambda c: c.update_collection_aliases(
            [models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=C, alias_name="other"))]
        ),
    ),
    ("get_aliases", lambda c: c.get_aliases()),
    ("get_collection_aliases", lambda c: c.get_collection_aliases(C)),
    ("create_snapshot", lambda c: c.create_snapshot(C)),
    ("list_snapshots", lambda c: c.list_snapshots(C)),
    ("list_full_snapshots", lambda c: c.list_full_snapshots()),
    ("delete_collection", lambda c: c.delete_collection(C)),
]
REFUSED: list[tuple[str, Call, str]] = [
    ("cluster_status", lambda c: c.cluster_status(), "one machine"),
    ("cluster_telemetry", lambda c: c.cluster_telemetry(), "one machine"),
    ("recover_current_peer", lambda c: c.recover_current_peer(), "one machine"),
    ("remove_peer", lambda c: c.remove_peer(1), "one machine"),
    ("collection_cluster_info", lambda c: c.collection_cluster_info(C), "one machine"),
    (
        "cluster_collection_update",
        lambda c: c.cluster_collection_update(
            C, models.DropReplicaOperation(drop_replica=models.Replica(shard_id=0, peer_id=1))
        ),
        "one machine",
    ),
    ("create_shard_key", lambda c: c.create_shard_key(C, "a"), "one machine"),
    ("delete_shard_key", lambda c: c.delete_shard_key(C, "a"), "one machine"),
    ("list_shard_keys", lambda c: c.list_shard_keys(C), "one machine"),
    ("create_shard_snapshot", lambda c: c.create_shard_snapshot(C, 0), "one machine"),
    ("list_shard_snapshots", lambda c: c.list_shard_snapshots(C, 0), "one machine"),
    ("delete_shard_snapshot", lambda c: c.delete_shard_snapshot(C, 0, "s"), "one machine"),
    ("recover_shard_snapshot", lambda c: c.recover_shard_snapshot(C, 0, "s"), "one machine"),
    ("create_full_snapshot", lambda c: c.create_full_snapshot(), "whole storage"),
    ("delete_full_snapshot", lambda c: c.delete_full_snapshot("s"), "whole storage"),
    ("get_optimizations", lambda c: c.get_optimizations(C), "optimizers"),
    (
        "create_vector_name",
        lambda c: c.create_vector_name(
            C, "v", models.DenseVectorNameConfig(dense=models.DenseVectorConfig(size=3, distance=models.Distance.DOT))
        ),
        "declared",
    ),
    ("delete_vector_name", lambda c: c.delete_vector_name(C, "v"), "declared"),
    ("recover_snapshot", lambda c: c.recover_snapshot(C, "http://localhost/s"), "."),
    ("delete_snapshot", lambda c: c.delete_snapshot(C, "unknown"), "unknown"),
]
# No calls of the service of their own: uploaders use upsert, the rest runs in the client.
ELSEWHERE = {
    "recreate_collection",  # deprecated: deletes, then creates
    "upload_points", "upload_collection", "close", "migrate", "add", "query", "query_batch", "set_model",
    "set_sparse_model", "list_text_models", "list_image_models", "list_late_interaction_text_models",
    "list_late_interaction_multimodal_models", "list_sparse_models", "get_embedding_size",
    "get_fastembed_vector_params", "get_fastembed_sparse_vector_params", "get_vector_field_name",
    "get_sparse_vector_field_name",
}  # fmt: skip


@pytest.fixture
def client(url: str) -> Iterator[QdrantClient]:
    one = QdrantClient(url=url, timeout=60)
    one.delete_collection(C)
    yield one
    one.delete_collection(C)
    one.close()


def known(client: object, name: str) -> bool:
    return hasattr(client, name)


def test_every_method_is_in_the_tables(client: QdrantClient) -> None:
    public = {
        name for name, _ in inspect.getmembers(type(client), inspect.isfunction) if not name.startswith("_")
    }  # fmt: skip
    told = {name for name, *_ in HONOURED} | {name for name, *_ in REFUSED} | ELSEWHERE
    assert public - told == set()


def test_what_is_served_is_honoured(client: QdrantClient) -> None:
    for name, call in HONOURED:
        if known(client, name):
            assert call(client) is not None, name


def test_what_is_not_served_is_refused_with_a_sentence(client: QdrantClient) -> None:
    client.create_collection(C, models.VectorParams(size=3, distance=models.Distance.DOT))
    for name, call, told in REFUSED:
        if known(client, name):
            with pytest.raises(UnexpectedResponse) as refused:
                call(client)
            assert told in refused.value.content.decode(), name
            assert 400 <= (refused.value.status_code or 0) < 500, name
    client.delete_collection(C)


def test_the_async_client_is_served_alike(url: str) -> None:
    async def drive() -> None:
        client = AsyncQdrantClient(url=url, timeout=60)
        await client.delete_collection(C)
        for name, call in HONOURED:
            if known(client, name):
                assert await call(client) is not None, name
        await client.create_collection(C, models.VectorParams(size=3, distance=models.Distance.DOT))
        for name, call, told in REFUSED:
            if known(client, name):
                with pytest.raises(UnexpectedResponse) as refused:
                    await call(client)
                assert told in refused.value.content.decode(), name
        await client.delete_collection(C)
        await client.close()

    asyncio.run(drive())


def test_uploaders_bring_all_points(client: QdrantClient) -> None:
    client.create_collection("uploaded", models.VectorParams(size=3, distance=models.Distance.DOT))
    client.upload_collection("uploaded", np.ones((200, 3), np.float32), ids=range(200), batch_size=32, wait=True)
    client.upload_points("uploaded", POINTS, batch_size=2, wait=True)
    assert client.count("uploaded").count == 200
    client.delete_collection("uploaded")
