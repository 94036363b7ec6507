import threading

import pytest

from pgkd.exceptions import InvalidInputError
from pgkd.records import Completion, GenerationRequest, Usage
from pgkd.system.store import RunStore
from pgkd.teachers import (
    AnthropicTeacher,
    BudgetedTeacher,
    CachedTeacher,
    FunctionTeacher,
    LLMTeacher,
    OpenAITeacher,
    RecordedTeacher,
)
from pgkd.testing import Fault, FaultServer, check_teacher

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


# Servers and functions that do not count


@pytest.mark.parametrize("make", [OpenAITeacher, AnthropicTeacher])
@pytest.mark.parametrize("budget", [{"max_cost": 0.05}, {"max_tokens": 6_000}])
@pytest.mark.parametrize("usage", [None, {}, -1])
def test_a_budget_holds_where_tokens_are_not_counted(make, budget, usage, tmp_path):
    """The cost of each answer is what was reserved for it; tokens are estimated."""
    with FaultServer([Fault.wrong_usage(usage)]) as server:
        teacher = make("m", base_url=server.base_url, price=(1.0, 2.0), max_tokens=4_000)
        budgeted = BudgetedTeacher(teacher, tmp_path / "a.sqlite", **budget)
        with pytest.warns(UserWarning, match="does not tell how many tokens") as caught:
            generations = [g for _ in range(2) for g in budgeted.generate(REQUESTS)]
    assert len(caught) == 1
    assert 3 < server.n_requests < 15
    served = [g for g in generations if not g.unsent]
    assert len(served) == server.n_requests
    assert all(g.usage.cost is None and g.usage.input_tokens for g in served)


@pytest.mark.parametrize("wrap", [False, True])
def test_a_budget_holds_for_a_function_that_returns_a_str(wrap, tmp_path):
    n_calls = []
    teacher = FunctionTeacher(lambda messages: n_calls.append(1) or ANSWER, price=(1.0, 2.0))
    if wrap:
        teacher = RecordedTeacher(tmp_path / "answers.jsonl", teacher)
    with pytest.warns(UserWarning, match="FunctionTeacher does not tell how many tokens"):
        list(BudgetedTeacher(teacher, tmp_path / "a.sqlite", max_cost=0.05).generate(REQUESTS))
    assert len(n_calls) == 5  # 4,096 tokens may be written each time


def test_whole_floats_and_digits_are_counts(tmp_path):
    usage = {"prompt_tokens": 1000.0, "completion_tokens": "20", "total_tokens": "1020"}
    with FaultServer([Fault.wrong_usage(usage)]) as server:
        teacher = OpenAITeacher("m", base_url=server.base_url, price=(1.0, 2.0))
        [generation] = teacher.generate(REQUESTS[:1])
    assert generation.usage == Usage(1, 1000, 20, cost=pytest.approx(0.00104))


def test_what_is_free_costs_nothing_without_counts(recwarn):
    teacher = FunctionTeacher(lambda messages: ANSWER, price=(0.0, 0.0))
    assert next(teacher.generate(REQUESTS)).usage.cost == 0
    assert not recwarn


def test_cached_tokens_never_cost_less_than_nothing():
    body = {
        "choices": [{"message": {"content": ANSWER}}],
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 10_000},
        },
    }
    with FaultServer([body]) as server:
        teacher = OpenAITeacher("m", base_url=server.base_url, price=(1.0, 1.0, 0.0))
        [generation] = teacher.generate(REQUESTS[:1])
    assert generation.usage.cost == pytest.approx(5e-6)


def test_a_refusal_without_counts_keeps_its_reservation(tmp_path):
    body = {"choices": [{"message": {"content": None, "refusal": "no"}}], "usage": None}
    with FaultServer([body]) as server:
        teacher = OpenAITeacher("m", base_url=server.base_url, price=(1.0, 2.0), max_tokens=4_000)
        budgeted = BudgetedTeacher(teacher, tmp_path / "a.sqlite", max_cost=0.05)
        with pytest.warns(UserWarning, match="does not tell"):
            generations = list(budgeted.generate(REQUESTS))
    assert server.n_requests < 10
    assert generations[0].usage.cost is None


@pytest.mark.parametrize("budget", [{"max_cost": 0}, {"max_cost": -1.0}, {"max_tokens": "9"}])
def test_budgets_that_are_none(budget, tmp_path):
    [name] = budget
    with pytest.raises(InvalidInputError, match=f"`{name}` parameter of BudgetedTeacher must be"):
        next(BudgetedTeacher(Dear(), tmp_path / "a.sqlite", **budget).generate(REQUESTS))


def test_a_budget_in_dollars_needs_a_price(tmp_path):
    teacher = FunctionTeacher(lambda messages: ANSWER)
    budgeted = BudgetedTeacher(teacher, tmp_path / "a.sqlite", max_cost=1.0)
    with pytest.raises(InvalidInputError, match="the price of FunctionTeacher.* is not known"):
        next(budgeted.generate(REQUESTS))
