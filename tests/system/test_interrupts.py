"""Ctrl-C that is handled inside, and nowhere else."""

import signal
import sys
import threading

import pytest

from pgkd.system.interrupts import on_interrupt

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGINT to itself")


@pytest.fixture(autouse=True)
def default():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt():
    signal.raise_signal(signal.SIGINT)


def test_the_innermost_counts():
    calls = []
    with on_interrupt(lambda: calls.append("outer")):
        interrupt()
        with on_interrupt(lambda: calls.append("inner")):
            interrupt()
        interrupt()
    assert calls == ["outer", "inner", "outer"]
    with pytest.raises(KeyboardInterrupt):
        interrupt()


def test_contexts_may_end_in_any_order():
    """Generators do, when they are left in the middle."""
    calls = []
    first, second = (on_interrupt(lambda name=name: calls.append(name)) for name in "ab")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    interrupt()
    second.__exit__(None, None, None)
    assert calls == ["b"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda number, frame: None])
def test_who_has_another_handler_keeps_it(handler):
    signal.signal(signal.SIGINT, handler)
    calls = []
    with on_interrupt(lambda: calls.append(1)):
        assert signal.getsignal(signal.SIGINT) is handler
        interrupt()
    assert not calls


def test_a_thread_changes_nothing():
    def enter():
        with on_interrupt(lambda: None):
            found.append(signal.getsignal(signal.SIGINT))

    found = []
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]
