"""The progress bar: on terminals only, late, and gone at the end."""

from __future__ import annotations

import io
import time

from mindsql.progress import SHOW_AFTER, ProgressBar, ProgressEvent, describe


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def long_ago(done: float) -> ProgressEvent:
    return ProgressEvent("predicting", done, 20_000, started=time.monotonic() - 10)


def test_nothing_is_written_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    bar = ProgressBar(stream)
    bar.update(long_ago(100))
    bar.finish()
    assert stream.getvalue() == ""


def test_quick_statements_show_no_bar() -> None:
    stream = Screen()
    bar = ProgressBar(stream)
    bar.update(ProgressEvent("predicting", 100, started=time.monotonic() + SHOW_AFTER))
    bar.finish()
    assert stream.getvalue() == ""


def test_long_ones_show_rows_and_rate_and_the_bar_goes() -> None:
    stream = Screen()
    bar = ProgressBar(stream)
    bar.update(long_ago(10_000))
    bar.finish()
    bar.finish()
    shown = stream.getvalue()
    assert "predicting" in shown and "10,000 / 20,000 rows, " in shown
    assert shown.endswith("\x1b[2K")


def test_a_muted_bar_comes_back_with_the_next_statement() -> None:
    stream = Screen()
    bar = ProgressBar(stream)
    bar.mute()
    bar.update(long_ago(1))
    assert stream.getvalue() == ""
    bar.finish()
    bar.update(long_ago(2))
    bar.finish()
    assert "2 / 20,000 rows" in stream.getvalue()


def test_a_closed_bar_stays_away() -> None:
    stream = Screen()
    bar = ProgressBar(stream)
    bar.close()
    bar.finish()
    bar.update(long_ago(1))
    assert stream.getvalue() == ""


def test_what_is_said() -> None:
    assert describe(ProgressEvent("fitting", 0, None, "steps")) == ""
    assert describe(ProgressEvent("fitting", 2, 5, "folds")) == "2 / 5 folds"
