"""A job that measures a collection's recall, and what it takes to reach more or less of it."""

from dataclasses import dataclass
from typing import Any

from index_store import JobRecord
from service.vector_names import DEFAULT
from service.work.workplace import Report, Workplace


@dataclass(frozen=True)
class MeasureRecall:
    place: Workplace
    collection: str
    using: str
    limit: int
    sample: int
    goes_on = False

    @classmethod
    def of(cls, record: JobRecord, place: Workplace) -> "MeasureRecall":
        told = record.parameters
        return cls(place, record.collection, told["using"] or DEFAULT, told["limit"], told["sample"])

    def run(self, report: Report) -> dict[str, Any]:
        collection = self.place.store.collection(self.collection)
        found = collection.codes.measure_recall(self.using, self.limit, self.sample, report)
        return {"measured": None if found is None else found.to_json()}

    def give_up(self) -> None:
        """Nothing was changed."""
