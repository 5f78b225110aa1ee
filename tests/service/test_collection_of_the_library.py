"""A collection that the library made, in a data folder that is served afterwards, is described and changed alike."""

import numpy as np

from index_store import CodesConfig, CollectionConfig, Store, VectorConfig
from service.collection_changes import changed
from service.collection_config import describe
from service.schemas.collections import UpdateCollection
from tests.builders import clustered


def test_it_is_described_and_changed(tmp_path):
    store = Store.open(tmp_path / "data", threads=1)
    try:
        config = CollectionConfig({"default": VectorConfig(16, "Dot")}, {"default": CodesConfig()})
        collection = store.create_collection("made", config)
        collection.upsert(np.arange(5, dtype=np.uint64), {"default": clustered(5, 16)})
        told = describe(collection, [])
        assert told["points_count"] == 5
        assert told["config"]["params"]["vectors"]["size"] == 16
        assert told["config"]["metadata"] is None
        body = UpdateCollection.model_validate({"metadata": {"owner": "me"}, "hnsw_config": {"m": 8}})
        kept = changed(collection.config, body).metadata
        assert (kept["metadata"], kept["given"]) == ({"owner": "me"}, {"hnsw_config": {"m": 8}})
    finally:
        store.close()
