"""A statement that is stopped leaves the threads of engines as they were."""

from __future__ import annotations

import random
import time
from contextlib import suppress

from mindsql.errors import Cancelled
from mindsql.execution import ExecutionContext


def test_a_stop_never_hits_the_next_call_of_a_thread() -> None:
    chance = random.Random(0)
    for _ in range(300):
        execution = ExecutionContext()
        call = execution.submit(lambda: sum(range(chance.randrange(20000))))
        time.sleep(chance.random() / 2000)
        execution.stop()
        execution.stop()
        with suppress(Cancelled):
            call.result(10)
        assert ExecutionContext().submit(lambda: 1).result(10) == 1
