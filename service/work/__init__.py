"""What jobs do: a kind a file, each made from what the catalogue remembers of a job, so that a restart can go on."""

from index_store import JobRecord
from service.work.checks import check_encode_anew, check_recall, check_train
from service.work.encode_anew import EncodeAnew, is_encoding
from service.work.lower_rate import LowerRate
from service.work.measure_recall import MeasureRecall
from service.work.train import Train
from service.work.workplace import RECALL, REENCODE, REPORT, TRAIN, Report, Work, Workplace

__all__ = [
    "RECALL",
    "REENCODE",
    "REPORT",
    "TRAIN",
    "Report",
    "Work",
    "Workplace",
    "check_encode_anew",
    "check_recall",
    "check_train",
    "is_encoding",
    "work_of",
]


def work_of(record: JobRecord, place: Workplace) -> Work:
    """The work of a job, from what is remembered of it."""
    if record.kind == TRAIN:
        return Train.of(record, place)
    if record.kind == RECALL:
        return MeasureRecall.of(record, place)
    if "steps" in record.parameters:
        return LowerRate(place.store, record.collection, record.parameters["steps"], record.parameters["using"])
    return EncodeAnew.of(record, place)
