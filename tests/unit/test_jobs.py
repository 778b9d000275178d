"""Jobs alone: their turns, what stops them, what is kept of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from mindsql.errors import CatalogError, EngineError, UnknownNameError
from mindsql.jobs import Job, Jobs

SECONDS = 20.0
"""More than any of this takes: a wait that ends this way is a failure."""


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    made = Jobs()
    yield made
    made.close()


def job(name: str) -> Job:
    return Job(id=name, kind="RETRAIN", project="mindsql", model="m", version=1)


class AuthMiddleware:
    """A job's call that is at work until it is let through, or stopped."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Event(), threading.Event()

    def __call__(self, job: Job) -> None:
        job.execution.check()
        self.entered.set()
        while not self.open.wait(0.01):
            job.execution.check()


def test_jobs_take_turns_in_order(jobs: Jobs) -> None:
    gates = [AuthMiddleware() for _ in range(3)]
    for number, gate in enumerate(gates):
        jobs.start(job(str(number)), gate)
    assert gates[0].entered.wait(SECONDS)
    assert [j.started is None for j in jobs.list()] == [False, True, True]
    gates[0].open.set()
    assert gates[1].entered.wait(SECONDS) and not gates[2].entered.is_set()
    gates[1].open.set(), gates[2].open.set()
    assert [jobs.wait(str(n), SECONDS).status for n in range(3)] == ["complete"] * 3
    assert jobs.unfinished() == {} and all(j.finished is not None and j.ended for j in jobs.list())


def test_the_limit_is_how_many_are_at_work(jobs: Jobs) -> None:
    jobs.limit = 2
    gates = [AuthMiddleware() for _ in range(3)]
    for number, gate in enumerate(gates):
        jobs.start(job(str(number)), gate)
    assert gates[0].entered.wait(SECONDS) and gates[1].entered.wait(SECONDS)
    assert not gates[2].entered.is_set()
    gates[1].open.set()
    assert gates[2].entered.wait(SECONDS) and not jobs.get("0").ended
    jobs.close()


def test_a_job_can_be_stopped_before_and_during_its_turn(jobs: Jobs) -> None:
    first, second = AuthMiddleware(), AuthMiddleware()
    jobs.start(job("first"), first)
    jobs.start(job("second"), second)
    assert first.entered.wait(SECONDS)
    jobs.cancel("second")
    assert jobs.wait("second", SECONDS).error == "the training was stopped"
    assert not second.entered.is_set() and not jobs.get("first").ended
    jobs.cancel("first", "enough")
    assert (jobs.wait("first", SECONDS).status, jobs.get("first").error) == ("error", "enough")


def test_what_a_job_raises_is_kept(jobs: Jobs, caplog: pytest.LogCaptureFixture) -> None:
    def fail(job: Job) -> None:
        raise EngineError("it broke", hint="mend it")

    def stumble(job: Job) -> None:
        raise ZeroDivisionError("by zero")

    jobs.start(job("failed"), fail)
    assert jobs.wait("failed", SECONDS).error == "it broke (mend it)" and not caplog.records
    jobs.start(job("stumbled"), stumble)
    assert jobs.wait("stumbled", SECONDS).error == "a bug in MindSQL: ZeroDivisionError: by zero"
    assert "RETRAIN m failed" in caplog.text and "Traceback" in caplog.text


def test_a_job_tells_how_far_it_is(jobs: Jobs) -> None:
    told = []

    def call(job: Job) -> None:
        for done in (1, 2):  # at once: none is swallowed
            job.execution.report(f"step {done}", done, 4, "steps", 0.0)
            told.append((job.phase, job.done, job.total, job.progress))

    jobs.start(job("j"), call)
    jobs.wait("j", SECONDS)
    assert told == [("step 1", 1, 4, 0.25), ("step 2", 2, 4, 0.5)]


def test_wait_returns_what_has_not_ended(jobs: Jobs) -> None:
    jobs.start(job("j"), AuthMiddleware())
    assert jobs.wait("j", 0.0).status == "generating"
    with pytest.raises(UnknownNameError, match='there is no job "k"'):
        jobs.wait("k")


def test_close_waits_then_stops_and_takes_no_more(jobs: Jobs) -> None:
    gates = [AuthMiddleware() for _ in range(2)]
    for number, gate in enumerate(gates):
        jobs.start(job(str(number)), gate)
    assert gates[0].entered.wait(SECONDS)
    threading.Timer(0.1, gates[0].open.set).start()
    jobs.close(grace=SECONDS)
    assert [j.status for j in jobs.list()] == ["complete", "error"]
    assert jobs.get("1").error == "the training was interrupted: the database was closed"
    with pytest.raises(CatalogError, match="is being closed"):
        jobs.start(job("late"), gates[0])
