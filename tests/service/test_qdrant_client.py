"""The stock qdrant-client drives the service as it drives Qdrant."""

import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import qdrant_client
from qdrant_client import QdrantClient, models

from service.routes.health import QDRANT_API_VERSION
from tests.builders import clustered
from tests.service.conftest import DIM, MODEL
from tests.service.service_in_process import READY_S, Client

NAME = "by-client"
N = 100


@pytest.fixture
def qdrant(client: Client) -> Iterator[QdrantClient]:
    """The client, which must not find anything to warn about."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = QdrantClient(url=str(client.base_url), check_compatibility=True, timeout=READY_S)
        yield one
        one.delete_collection(NAME)
        one.close()


@pytest.fixture
def filled(qdrant: QdrantClient) -> QdrantClient:
    created = qdrant.create_collection(
        NAME,
        vectors_config=models.VectorParams(size=DIM, distance=models.Distance.COSINE),
        metadata={"codes": {"model": MODEL}},
    )
    assert created
    some = [
        models.PointStruct(id=i, vector=vector.tolist(), payload={"parity": i % 2, "tag": f"t{i % 5}"})
        for i, vector in enumerate(clustered(N))
    ]
    assert qdrant.upsert(NAME, some, wait=True).status == models.UpdateStatus.COMPLETED
    return qdrant


def test_the_spoken_version_is_the_clients() -> None:
    installed = qdrant_client.__version__ if hasattr(qdrant_client, "__version__") else None
    import importlib.metadata

    installed = installed or importlib.metadata.version("qdrant-client")
    assert QDRANT_API_VERSION.split(".")[:2] == installed.split(".")[:2]


def test_collections(filled: QdrantClient) -> None:
    assert filled.collection_exists(NAME)
    assert NAME in [one.name for one in filled.get_collections().collections]
    info = filled.get_collection(NAME)
    assert info.points_count == N
    assert isinstance(info.config.params.vectors, models.VectorParams)
    assert info.config.params.vectors.size == DIM


def test_query(filled: QdrantClient) -> None:
    vectors = clustered(N)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    query = clustered(1, seed=3)[0]
    found = filled.query_points(
        NAME, query=query.tolist(), limit=5, search_params=models.SearchParams(exact=True), with_payload=True
    ).points
    cosines = unit @ (query / np.linalg.norm(query))
    assert [point.id for point in found] == np.argsort(-cosines)[:5].tolist()
    assert found[0].score == pytest.approx(cosines.max(), abs=1e-5)
    assert found[0].payload is not None
    same_parity = models.Filter(must=[models.FieldCondition(key="parity", match=models.MatchValue(value=1))])
    filtered = filled.query_points(NAME, query=query.tolist(), query_filter=same_parity, limit=N).points
    assert len(filtered) == N // 2
    by_id = filled.query_points(NAME, query=7, limit=3).points
    assert 7 not in [point.id for point in by_id]
    params = models.SearchParams(
        hnsw_ef=64, quantization=models.QuantizationSearchParams(rescore=True, oversampling=3.0)
    )
    requests = [models.QueryRequest(query=row.tolist(), limit=2, params=params) for row in vectors[:3]]
    batches = filled.query_batch_points(NAME, requests)
    assert [len(batch.points) for batch in batches] == [2, 2, 2]


def test_retrieve_count_and_delete(filled: QdrantClient) -> None:
    found = filled.retrieve(NAME, [3, 4, 10_000], with_vectors=True)
    assert [point.id for point in found] == [3, 4]
    tag = models.Filter(must=[models.FieldCondition(key="tag", match=models.MatchAny(any=["t1", "t2"]))])
    assert filled.count(NAME, count_filter=tag).count == 40
    filled.delete(NAME, points_selector=[3, 4])
    filled.delete(NAME, points_selector=models.FilterSelector(filter=tag))
    assert filled.count(NAME).count == N - 41 - (1 if 4 % 5 not in (1, 2) else 0)
    assert filled.retrieve(NAME, [3]) == []


def test_uploaders_and_batches(filled: QdrantClient) -> None:
    filled.upload_collection(NAME, vectors=clustered(50, seed=4), ids=range(1000, 1050), payload=[{}] * 50, wait=True)
    batch = models.Batch(
        ids=[2000, "9b2f4c1e-0c4b-4d6f-8a57-0a6f3a3c9d11"], vectors=clustered(2).tolist(), payloads=[{}, {"a": 1}]
    )
    filled.upsert(NAME, batch)
    assert filled.count(NAME).count == N + 52


def test_a_refusal_is_an_exception_with_the_sentence(filled: QdrantClient) -> None:
    from qdrant_client.http.exceptions import UnexpectedResponse

    with pytest.raises(UnexpectedResponse, match="16 numbers"):
        filled.query_points(NAME, query=[1.0])
