import threading

from pgkd.records import Completion, GenerationRequest, Usage
from pgkd.system.store import RunStore
from pgkd.teachers import BudgetedTeacher, CachedTeacher, LLMTeacher
from pgkd.testing import check_teacher

ANSWER = '{"card": ["one"], "rate": ["two"], "pin": ["three"]}'
REQUESTS = [GenerationRequest(f"1-{i}", {"card": 1}) for i in range(1, 51)]


class Dear(LLMTeacher):
    """A dollar for 1,000 output tokens; an answer takes 100 of them, and 200 are allowed."""

    price = (0.0, 1000.0)
    max_tokens = 200
    max_concurrency = 8

    def __init__(self, n_tokens=100):
        self.n_tokens = n_tokens

    def complete(self, messages, *, schema):
        return Completion(ANSWER, Usage(1, 10, self.n_tokens, cost=None))


def spend(path, requests=REQUESTS, n_tokens=100, **budget):
    generations = list(BudgetedTeacher(Dear(n_tokens), path, **budget).generate(requests))
    assert all((g.error is not None) == g.unsent for g in generations)
    return sum((g.usage for g in generations), Usage())


def test_concurrent_requests_cannot_overshoot(tmp_path):
    usage = spend(tmp_path / "a.sqlite", max_cost=1.05)
    # Between what a request may take (0.2) short of the budget and the budget.
    assert 0.85 < usage.cost <= 1.05


def test_tokens(tmp_path):
    usage = spend(tmp_path / "a.sqlite", max_tokens=1_500)
    assert 900 < usage.input_tokens + usage.output_tokens <= 1_500


def test_an_answer_longer_than_expected_overshoots_by_itself_only(tmp_path):
    usage = spend(tmp_path / "a.sqlite", n_tokens=1_000, max_cost=1.5)
    assert usage.cost <= 1.5 + 8 * 0.8  # those under way had reserved 0.2 each


def test_shared_by_those_with_the_same_file(tmp_path):
    costs = []

    def run():
        costs.append(spend(tmp_path / "a.sqlite", max_cost=1.05).cost)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0.85 < sum(costs) <= 1.05
    assert spend(tmp_path / "a.sqlite", max_cost=1.05).n_requests == 0
    assert spend(tmp_path / "a.sqlite", max_cost=2).n_requests > 0


def test_a_reservation_that_was_never_settled_counts(tmp_path):
    path = tmp_path / "a.sqlite"
    assert RunStore(path).reserve(Usage(1, 0, 0, cost=0.9), 1.05, None)
    assert spend(path, max_cost=1.05).n_requests == 0


def test_what_is_kept_costs_nothing(tmp_path):
    path = tmp_path / "a.sqlite"
    teacher = CachedTeacher(BudgetedTeacher(Dear(), path, max_cost=0.35), path)
    first = [g for g in teacher.generate(REQUESTS[:2]) if not g.unsent]
    assert len(first) == 2
    again = list(teacher.generate(REQUESTS[:2]))
    assert [g.usage for g in again] == [Usage(), Usage()]


def test_conforms(tmp_path):
    check_teacher(BudgetedTeacher(Dear(), tmp_path / "a.sqlite", max_cost=100))
