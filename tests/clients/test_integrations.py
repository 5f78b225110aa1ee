"""LangChain's and LlamaIndex's stores work unchanged; skipped where they are not installed."""

import uuid
from typing import Any

import pytest
from qdrant_client import QdrantClient, models

WORDS = ["apple", "boat", "cat"]


@pytest.fixture
def client(url: str) -> QdrantClient:
    return QdrantClient(url=url, timeout=60)


def test_langchain_adds_searches_and_deletes_documents(url: str, client: QdrantClient) -> None:
    langchain: Any = pytest.importorskip("langchain_qdrant")
    from langchain_core.documents import Document
    from langchain_core.embeddings import DeterministicFakeEmbedding

    embedding = DeterministicFakeEmbedding(size=32)
    vectors = models.VectorParams(size=32, distance=models.Distance.COSINE)
    client.delete_collection("langchain")
    client.create_collection("langchain", vectors_config=vectors)
    store = langchain.QdrantVectorStore(client=client, collection_name="langchain", embedding=embedding)
    ids = store.add_documents([Document(page_content=word, metadata={"n": n}) for n, word in enumerate(WORDS)])
    ((best, score),) = store.similarity_search_with_score("boat", k=1)
    assert (best.page_content, best.metadata["n"]) == ("boat", 1)
    assert score == pytest.approx(1, abs=1e-4)
    only = models.Filter(must=[models.FieldCondition(key="metadata.n", match=models.MatchValue(value=2))])
    assert [found.page_content for found in store.similarity_search("boat", k=3, filter=only)] == ["cat"]
    assert len(store.max_marginal_relevance_search("boat", k=2)) == 2
    store.delete(ids[:1])
    assert sorted(found.page_content for found in store.get_by_ids(ids)) == ["boat", "cat"]
    made = langchain.QdrantVectorStore.from_texts(
        WORDS, embedding, url=url, collection_name="langchain", force_recreate=True
    )
    assert made.similarity_search("apple", k=1)[0].page_content == "apple"
    client.delete_collection("langchain")


def test_llama_index_adds_queries_and_deletes_nodes(client: QdrantClient) -> None:
    llama_index: Any = pytest.importorskip("llama_index.vector_stores.qdrant")
    from llama_index.core.schema import TextNode
    from llama_index.core.vector_stores import MetadataFilter, MetadataFilters, VectorStoreQuery

    client.delete_collection("llama")
    store = llama_index.QdrantVectorStore(client=client, collection_name="llama")
    nodes = [
        TextNode(text=word, id_=str(uuid.UUID(int=n)), embedding=[float(n), 1.0, 0.5], metadata={"n": n})
        for n, word in enumerate(WORDS)
    ]
    store.add(nodes)
    query = VectorStoreQuery(query_embedding=[1.0, 1.0, 0.5], similarity_top_k=2)
    assert store.query(query).ids[0] == nodes[1].node_id
    query.filters = MetadataFilters(filters=[MetadataFilter(key="n", value=2)])
    assert store.query(query).ids == [nodes[2].node_id]
    store.delete_nodes([nodes[0].node_id])
    assert len(store.get_nodes([node.node_id for node in nodes])) == 2
    store.clear()
