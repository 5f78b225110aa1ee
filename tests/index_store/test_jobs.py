"""Jobs as the catalogue remembers them: one a collection, and what a restart cut off is told."""

from pathlib import Path

import pytest

from index_store import catalogue
from index_store.errors import DiskUnavailable, JobNotFound, JobRunning
from tests.index_store.making import store_at


def test_a_job_is_remembered_with_how_it_ended(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        job = store.jobs.begin("reencode", "terms", {"steps": 2})
        assert (job.state, job.progress, job.ended) == ("waiting", 0, None)
        assert store.jobs.run(job.id)
        store.jobs.note_progress(job.id, 0.5)
        assert (store.jobs.get(job.id).state, store.jobs.get(job.id).progress) == ("running", 0.5)
        assert not store.jobs.end_waiting(job.id, "cancelled", "It waited.")
        store.jobs.end(job.id, "done", {"steps": 2})
        done = store.jobs.get(job.id)
        assert (done.state, done.progress, done.result, done.error) == ("done", 1, {"steps": 2}, None)
        assert done.ended is not None and done.ended >= done.created
    with store_at(tmp_path) as store:
        assert store.jobs.all() == [done]
        with pytest.raises(JobNotFound, match="'other'"):
            store.jobs.get("other")


def test_a_collection_has_one_job_at_a_time(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        job = store.jobs.begin("reencode", "terms", {})
        with pytest.raises(JobRunning, match=job.id):
            store.jobs.begin("reencode", "terms", {})
        store.jobs.begin("reencode", "other", {})
        assert store.jobs.end_waiting(job.id, "cancelled", "It waited.")
        assert not store.jobs.run(job.id)
        store.jobs.begin("reencode", "terms", {})


def test_a_job_that_was_cut_off_is_interrupted_after_the_restart(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        waiting, running = (store.jobs.begin("reencode", name, {}) for name in ("a", "b"))
        store.jobs.run(running.id)
    with store_at(tmp_path) as store:
        assert store.jobs.take_up(lambda job: False) == []
        for job in (waiting, running):
            now = store.jobs.get(job.id)
            assert now.state == "interrupted"
            assert "start it again" in (now.error or "")
        store.jobs.begin("reencode", "a", {})


def test_small_work_is_listed_among_the_jobs_until_the_process_ends(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        asked_for = store.jobs.begin("reencode", "terms", {})
        store.jobs.note_done("merge", "terms", asked_for.created + 1, {"segments": 8})
        merge, other = store.jobs.all()
        assert (merge.kind, merge.state, merge.result, other.id) == ("merge", "done", {"segments": 8}, asked_for.id)
        assert store.jobs.get(merge.id) == merge
    with store_at(tmp_path) as store:
        assert [one.id for one in store.jobs.all()] == [asked_for.id]


def test_old_jobs_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "MOST_JOBS", 3)
    with store_at(tmp_path) as store:
        for place in range(5):
            job = store.jobs.begin("reencode", str(place), {})
            store.jobs.run(job.id)
            store.jobs.end(job.id, "done", {})
        assert [one.collection for one in store.jobs.all()] == ["4", "3", "2"]


def test_what_becomes_of_a_job_is_told_while_the_disk_takes_nothing_and_noted_once_it_does(tmp_path: Path) -> None:
    with store_at(tmp_path) as store:
        job = store.jobs.begin("train", "terms", {})
        store._catalogue._db.execute("PRAGMA query_only = 1")
        assert store.jobs.run(job.id)
        assert store.jobs.get(job.id).state == "running"
        store.jobs.end(job.id, "failed", None, "The disk is full.")
        assert (store.jobs.get(job.id).state, store.jobs.get(job.id).error) == ("failed", "The disk is full.")
        with pytest.raises(DiskUnavailable):
            store.jobs.begin("train", "terms", {})
        store._catalogue._db.execute("PRAGMA query_only = 0")
        assert store.jobs.unended() == []
        other = store.jobs.begin("train", "terms", {})
    with store_at(tmp_path) as store:
        assert (store.jobs.get(job.id).state, store.jobs.get(other.id).state) == ("failed", "waiting")
