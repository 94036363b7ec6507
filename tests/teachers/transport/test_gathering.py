import anyio
import pytest

from pgkd.exceptions import TeacherError, TeacherRequestError
from pgkd.teachers.transport.gathering import Gatherer

MOMENT = 0.1


def gather(items, serve, max_size=3, pause=0.0):
    """Ask for all items; return their results, errors among them, in order."""
    results = {}

    async def ask(gatherer, item):
        try:
            results[item] = await gatherer.ask(item)
        except TeacherError as error:
            results[item] = error

    async def main():
        gatherer = Gatherer(serve, max_size, MOMENT)
        async with anyio.create_task_group() as tasks:
            for item in items:
                tasks.start_soon(ask, gatherer, item)
                await anyio.sleep(pause)

    anyio.run(main)
    return [results[item] for item in items]


class Upper:
    def __init__(self):
        self.batches = []

    async def __call__(self, items):
        self.batches.append(list(items))
        return [item.upper() for item in items]


def test_each_gets_its_own_result():
    serve = Upper()
    assert gather("abcdefg", serve) == list("ABCDEFG")
    assert sorted(map(len, serve.batches)) == [1, 3, 3]


def test_what_comes_within_a_moment_is_served_together():
    serve = Upper()
    gather("abcd", serve, max_size=9, pause=MOMENT / 4)  # longer than a moment, all in all
    assert serve.batches == [list("abcd")]


def test_what_comes_later_is_not_waited_for():
    serve = Upper()
    gather("ab", serve, max_size=9, pause=3 * MOMENT)
    assert serve.batches == [["a"], ["b"]]


def test_an_error_of_one_item():
    async def serve(items):
        return [TeacherRequestError("too long") if item == "b" else item for item in items]

    a, b, c = gather("abc", serve)
    assert (a, c) == ("a", "c")
    assert str(b) == "too long"


def test_an_error_of_all_items():
    async def serve(items):
        raise TeacherError("no memory")

    a, b = gather("ab", serve)
    assert str(a) == str(b) == "no memory"
    assert a is not b  # what one caller writes into it is not the other's


def test_a_bug_is_no_answer():
    async def serve(items):
        return 1 / 0

    with pytest.raises(BaseException, match="unhandled errors") as caught:
        gather("ab", serve)
    assert caught.group_contains(ZeroDivisionError)
