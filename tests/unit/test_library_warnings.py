"""Warnings of libraries, in threads that work at once."""

from __future__ import annotations

import threading
import warnings

import pytest

from mindsql.library_warnings import capture_warnings, suppress_warnings


def test_two_threads_do_not_end_each_others_silence() -> None:
    before, show = list(warnings.filters), warnings.showwarning
    entered, left = threading.Event(), threading.Event()
    raised: list[BaseException] = []

    def second() -> None:
        try:
            with suppress_warnings():
                entered.set()
                left.wait(20)
                warnings.warn("still quiet", UserWarning, stacklevel=1)
        except Warning as error:
            raised.append(error)

    thread = threading.Thread(target=second)
    with suppress_warnings():
        thread.start()
        assert entered.wait(20)
    left.set()
    thread.join()
    assert raised == []
    assert (list(warnings.filters), warnings.showwarning) == (before, show)
    with pytest.raises(UserWarning, match="heard again"):
        warnings.warn("heard again", UserWarning, stacklevel=1)


def test_each_thread_collects_its_own() -> None:
    both = threading.Barrier(2, timeout=20)
    found: dict[str, list[str]] = {}

    def execution(name: str) -> None:
        with capture_warnings() as caught:
            both.wait()
            for _ in range(3):
                warnings.warn(name, UserWarning, stacklevel=1)
            with suppress_warnings():
                warnings.warn("ignored inside", UserWarning, stacklevel=1)
            both.wait()
        found[name] = [str(warning) for warning in caught]

    threads = [threading.Thread(target=execution, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {"a": ["a"] * 3, "b": ["b"] * 3}


def test_a_helper_thread_is_heard_by_who_collects() -> None:
    with capture_warnings() as caught:
        helper = threading.Thread(target=lambda: warnings.warn("from below", UserWarning, stacklevel=1))
        helper.start()
        helper.join()
    assert [str(warning) for warning in caught] == ["from below"]


def test_the_old_names_are_known() -> None:
    import mindsql.engine

    with pytest.warns(DeprecationWarning, match="is now called suppress_warnings"):
        assert mindsql.engine.quiet is suppress_warnings
    with pytest.raises(AttributeError):
        _ = mindsql.engine.nothing
