"""A job that cuts a collection's codes to fewer steps, and says what that costs and saves."""

from dataclasses import asdict, dataclass
from typing import Any

from index_store import Store
from service.vector_names import DEFAULT
from service.work.workplace import Report


@dataclass(frozen=True)
class LowerRate:
    store: Store
    collection: str
    steps: int
    using: str
    goes_on = False

    def run(self, report: Report) -> dict[str, Any]:
        collection, using = self.store.collection(self.collection), self.using or DEFAULT
        before = collection.info(using)
        collection.codes.keep_steps(self.steps, using, report)
        now = collection.info(using)
        recall = collection.codes.own_recall(using)
        return {
            "steps": now.steps,
            "code_bytes": {"before": before.code_bytes, "after": now.code_bytes},
            "ram_bytes": {"before": before.ram_bytes, "after": now.ram_bytes},
            "recall": None if recall is None else {"queries": "own points", **asdict(recall)},
        }

    def give_up(self) -> None:
        """Nothing was changed."""
