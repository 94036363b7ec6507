"""Conformance checks for components, in the manner of scikit-learn's ``check_estimator``.

Each raises AssertionError with what is wrong, or returns ``None``.
"""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
from sklearn.base import clone

from pgkd.evaluation.report import make_predictions, make_report
from pgkd.inputs.labels import indicate, to_array
from pgkd.records import (
    AnnotationRequest,
    Example,
    Feedback,
    GenerationRequest,
    Prediction,
    State,
)
from pgkd.students.any_student import (
    predict_label_proba,
    predict_proba,
    set_random_states,
    weight_parameter,
)
from pgkd.testing.fault_server import FaultServer
from pgkd.testing.teacher_checks import SCHEMA, check_faults, check_generations

TEXTS = [
    "my card has not arrived",
    "when will the new card come",
    "the card is still in the post",
    "où est ma carte, s'il vous plaît",
    "what is the exchange rate today",
    "how many euros for a dollar",
    "the rate you applied is wrong",
    "今日の為替レートはいくらですか",
    "I forgot my pin",
    "how do I change the pin",
    "the pin was blocked",
    "забыл пин-код",
]
LABELS = ["card"] * 4 + ["rate"] * 4 + ["pin"] * 4
EXAMPLES = tuple(map(Example, TEXTS, LABELS))
CLASSES = sorted(set(LABELS))
#: The same with several labels: some texts have a second one, and one has none.
SETS = [
    () if i == 5 else (label, "rate") if i % 4 == 0 and label < "rate" else (label,)
    for i, label in enumerate(LABELS)
]


def check_teacher(teacher: Any) -> None:
    """Check that a teacher keeps the contract of :class:`~pgkd.protocols.Teacher`.

    Asks it for a few texts, so it takes a few requests of a real LLM. How good the texts are is not
    checked.

    A teacher behind an HTTP API is checked more closely when it is given as a function of the base
    URL: on a :class:`FaultServer`, a good one first, then one that goes wrong. What passes when it
    is asked again (rate limits, which say how long to wait, server errors, broken connections) must
    not lose or double an answer; what concerns one request (a refusal, an answer that is cut off or
    has other labels) must not concern the others; what lasts (401, 403, 404) must end `generate` at
    once, with a :class:`~pgkd.exceptions.TeacherError` that does not show the key. It takes about
    ten seconds, and neither a key nor a network. Timeouts are not checked.

    Parameters
    ----------
    teacher : teacher, or callable
        It should know, or make up, texts of the classes ``"card"``, ``"rate"`` and ``"pin"``. Or
        ``teacher(base_url)`` makes it, for an API of OpenAI's or Anthropic's shape.

    Raises
    ------
    AssertionError

    Examples
    --------
    >>> from pgkd.testing import ScriptedTeacher, check_teacher
    >>> answer = '{"card": ["where is it"]}'
    >>> check_teacher(ScriptedTeacher([answer], repeat=True))

    >>> from pgkd.teachers import OpenAITeacher
    >>> check_teacher(lambda base_url: OpenAITeacher("any", base_url=base_url))
    """
    if hasattr(teacher, "generate") and not isinstance(teacher, type):
        _check_contract(teacher)
        return
    with FaultServer(schema=SCHEMA) as server:
        _check_contract(teacher(server.base_url))
    check_faults(teacher, EXAMPLES)


def _check_contract(teacher: Any) -> None:
    requests = [
        GenerationRequest("1-1", {"card": 1, "rate": 1}, examples=EXAMPLES),
        GenerationRequest("1-2", {"pin": 1, "card": 2}, examples=EXAMPLES),
    ]
    _check_component(teacher)
    before = copy.deepcopy(requests)
    assert list(teacher.generate([])) == [], "no request must give no generation"
    generations = list(teacher.generate(requests))
    assert requests == before, "generate must not change its requests"
    check_generations(generations, requests)
    assert any(g.examples for g in generations), (
        f"no request gave a text: {[g.error or dict(g.rejected) for g in generations]}"
    )
    _check_component(teacher)  # after use: no client, lock or loop may have stayed in it


def check_student(student: Any, *, multilabel: bool = False) -> None:
    """Check that a student keeps the contract of :class:`~pgkd.protocols.Student`.

    Parameters
    ----------
    student : classifier of texts
    multilabel : bool, default=False
        Check it with several labels a text, as an indicator matrix, instead of one.

    Raises
    ------
    AssertionError

    Examples
    --------
    >>> from sklearn.feature_extraction.text import TfidfVectorizer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from pgkd.testing import check_student
    >>> check_student(make_pipeline(TfidfVectorizer(), LogisticRegression()))
    """
    _check_component(student)
    if multilabel:
        _check_student_of_sets(student)
        return
    for labels in (LABELS, [{"card": 3, "rate": 1, "pin": 2}[label] for label in LABELS]):
        _check_student_with(student, np.asarray(labels))


def _check_student_with(student: Any, y: Any) -> None:
    texts, before = list(TEXTS), y.copy()
    fitted = _seeded(student).fit(texts, y)
    assert texts == TEXTS, "fit must not change its texts"
    assert (y == before).all(), "fit must not change its labels"
    classes = np.unique(y)
    assert np.array_equal(fitted.classes_, classes), (
        f"classes_ must be the sorted labels {classes}, got {fitted.classes_}"
    )
    probabilities = predict_proba(fitted, texts, classes)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-4), "probabilities must sum to 1"
    assert (probabilities >= 0).all(), "probabilities must not be negative"
    backwards = predict_proba(fitted, texts[::-1], classes)[::-1]
    assert np.allclose(backwards, probabilities, atol=1e-4), "predict_proba must keep the order"
    again = predict_proba(_seeded(student).fit(texts, y), texts, classes)
    assert np.allclose(again, probabilities, atol=1e-5), "the same seed must give the same student"
    restored = predict_proba(pickle.loads(pickle.dumps(fitted)), texts, classes)
    assert np.allclose(restored, probabilities, atol=1e-5), "a pickle must predict the same"
    _check_component(fitted)
    if (parameter := weight_parameter(student)) is not None:
        weights = np.where(y == classes[0], 5.0, 0.5)
        weighted = _seeded(student).fit(texts, y, **{parameter: weights})
        moved = predict_proba(weighted, texts, classes)
        assert not np.allclose(moved, probabilities, atol=1e-6), "sample_weight has no effect"


def _check_student_of_sets(student: Any) -> None:
    texts, y = list(TEXTS), indicate(SETS, CLASSES)
    before = y.copy()
    fitted = _seeded(student).fit(texts, y)
    assert texts == TEXTS, "fit must not change its texts"
    assert (y == before).all(), "fit must not change its labels"
    probabilities = predict_label_proba(fitted, texts, len(CLASSES))
    assert ((probabilities >= 0) & (probabilities <= 1)).all(), "probabilities are in [0, 1]"
    backwards = predict_label_proba(fitted, texts[::-1], len(CLASSES))[::-1]
    assert np.allclose(backwards, probabilities, atol=1e-4), "predict_proba must keep the order"
    again = predict_label_proba(_seeded(student).fit(texts, y), texts, len(CLASSES))
    assert np.allclose(again, probabilities, atol=1e-5), "the same seed must give the same student"
    restored = predict_label_proba(pickle.loads(pickle.dumps(fitted)), texts, len(CLASSES))
    assert np.allclose(restored, probabilities, atol=1e-5), "a pickle must predict the same"
    _check_component(fitted)


def _seeded(student: Any) -> Any:
    fresh = clone(student)
    set_random_states(fresh, 0)
    return fresh


def check_sampler(sampler: Any, *, multilabel: bool = False) -> None:
    """Check that a sampler keeps the contract of :class:`~pgkd.protocols.Sampler`.

    Parameters
    ----------
    sampler : sampler
    multilabel : bool, default=False
        Check it with several labels a text instead of one.

    Raises
    ------
    AssertionError

    Examples
    --------
    >>> from pgkd.samplers import UnguidedSampler
    >>> from pgkd.testing import check_sampler
    >>> check_sampler(UnguidedSampler())
    """
    _check_component(sampler)
    state = _make_state(multilabel)
    before = copy.deepcopy(state)
    for n_samples in (1, 7, 100):
        requests = sampler.propose(state, n_samples, np.random.default_rng(0))
        assert state == before, "propose must not change the state"
        again = sampler.propose(state, n_samples, np.random.default_rng(0))
        assert requests == again, "the same generator must give the same requests"
        ids = [request.id for request in requests]
        assert len(set(ids)) == len(ids), f"request ids must be unique: {ids}"
        total = sum(request.n_texts for request in requests)
        wanted = n_samples
        if getattr(sampler, "needs_pool", False):  # no more than there are
            wanted = min(n_samples, len(state.pool))
        assert total == wanted, f"{wanted} texts wanted, but the requests ask for {total}"
        for request in requests:
            if isinstance(request, AnnotationRequest):
                _check_annotation_request(request, state)
                continue
            assert set(request.classes) <= set(state.classes), f"unknown class in {request.counts}"
            are_sets = {isinstance(label, tuple) for label in request.counts}
            assert are_sets <= {multilabel}, f"no labels as the state has them: {request.counts}"
            assert bool(request.choices) == multilabel, "`choices` are for several labels a text"
            assert all(n > 0 for n in request.counts.values()), f"empty order in {request.counts}"
            shown = [*request.examples, *request.hard_negatives, *request.correct, *request.wrong]
            strangers = {e.text for e in shown} - set(TEXTS)
            assert not strangers, f"texts that are not in the state are shown: {strangers}"
    _check_component(sampler)


def _check_annotation_request(request: AnnotationRequest, state: State) -> None:
    assert set(request.texts) <= set(state.pool), "a text that is not of the pool is asked about"
    assert len(request.shortlists) == len(request.texts), "each text needs a shortlist"
    for shortlist in request.shortlists:
        assert shortlist, "an empty shortlist"
        assert set(shortlist) <= set(state.classes), f"unknown class in {shortlist}"
    strangers = {e.text for e in request.examples} - set(TEXTS)
    assert not strangers, f"texts that are not in the state are shown: {strangers}"


def _make_state(multilabel: bool) -> State:
    classes = np.unique(LABELS)
    labels = SETS if multilabel else LABELS
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(len(classes)), size=len(TEXTS))
    y = to_array(labels, classes)
    report = make_report(y, probabilities, classes)
    predictions: tuple[Prediction, ...] = make_predictions(TEXTS, y, probabilities, classes)
    return State(
        cycle=2,
        classes=tuple(classes.tolist()),
        examples=tuple(map(Example, TEXTS, labels)),
        multilabel=multilabel,
        feedback=Feedback(predictions, report, previous=report),
        task_description="questions to a bank",
        class_descriptions={"card": "delivery", "pin": "pin codes", "rate": "exchange rates"},
        pool=("is the card in the mail", "rate of the yen", "a new pin, please"),
        pool_probabilities=rng.dirichlet(np.ones(len(classes)), size=3),
    )


def _check_component(component: Any) -> None:
    """Check what any component must bear: being cloned and pickled, fresh or used."""
    cloned = clone(component, safe=False)
    if hasattr(component, "get_params"):
        assert cloned.get_params().keys() == component.get_params().keys(), "clone lost parameters"
    try:
        pickle.loads(pickle.dumps(component))
    except Exception as error:
        raise AssertionError(f"{component!r} cannot be pickled: {error!r}") from error
