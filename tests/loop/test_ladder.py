"""What is free: names, logs, unlabelled texts; and how few labelled texts there may be."""

import random
from collections import Counter

import numpy as np
import pytest
from annotators import Labelling
from conftest import WORDS, WordTeacher, write_hard, write_text
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MultiLabelBinarizer

from pgkd import Evidence, Logs, PGKDClassifier
from pgkd.exceptions import InvalidInputError
from pgkd.loop.self_training import pseudo_label
from pgkd.records import Example, Generation
from pgkd.samplers import UnguidedSampler

#: Texts of 12 classes, each of which mentions its class's name in one text of two.
CLASSES = [
    f"topic_{word}"
    for word in [
        "alder",
        "birch",
        "cedar",
        "elm",
        "fir",
        "hazel",
        "larch",
        "maple",
        "oak",
        "pine",
        "yew",
        "ash",
    ]
]


def write_named(label, i):
    rng = random.Random(f"{label}{i}")
    tree = label.split("_")[1]
    about = tree if rng.random() < 0.7 else f"{tree[:2]}{rng.randrange(40)}"
    return f"{rng.choice(['my', 'the', 'a'])} {about} {tree[0]}{rng.randrange(40)} x{i}{tree[-1]}"


def draw(per_class, first=0):
    rows = [(write_named(c, i), c) for i in range(first, first + per_class) for c in CLASSES]
    return [text for text, _ in rows], [label for _, label in rows]


TEST = draw(30, first=1000)


def texts_of(clf):
    return {(text.text, text.label) for text in clf.synthetic_}


def free(**params):
    student = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10))
    return PGKDClassifier(student=student, **{"random_state": 0, **params})


@pytest.mark.parametrize("per_class", [1, 2])
def test_names_lift_a_student_of_few_texts(per_class):
    X, y = draw(per_class)
    clf = free(routes=("names",)).fit(X, y)
    alone = clone(clf.student).fit(X, y).score(*TEST)
    assert clf.score(*TEST) > alone + (0.15 if per_class == 1 else 0.03)
    assert clf.history_[1].taken
    assert clf.comparison_.gain > 0
    assert {t.source for t in clf.synthetic_} == {"name"}
    assert {t.cost for t in clf.synthetic_} == {0.0}
    assert clf.stop_reason_ == "no_teacher"
    assert "names of the classes" in str(clf.report())


@pytest.mark.parametrize("per_class", [1, 2, 4])
@pytest.mark.parametrize(
    "codes", [[f"A{i}" for i in range(12)], list(range(12)), [f"k{i}" for i in range(12)]]
)
def test_names_that_say_nothing_do_no_harm(per_class, codes):
    X, y = draw(per_class)
    code_of = dict(zip(CLASSES, codes))
    labels = [code_of[label] for label in y]
    clf = free(routes=("names",)).fit(X, labels)
    truth = [code_of[label] for label in TEST[1]]
    alone = clone(clf.student).fit(X, labels).score(TEST[0], truth)
    assert clf.score(TEST[0], truth) >= alone - 0.01
    assert not clf.history_[1].taken  # though a second text of each class is all that is learnt


def test_two_classes_that_are_bools():
    X, y = draw(2)
    clf = free().fit(X, [label < "topic_f" for label in y])
    assert clf.classes_.tolist() == [False, True]
    assert clf.synthetic_ == []  # a bool has no name


def test_a_name_that_is_a_text_of_another_class_is_left_out():
    X, y = draw(2)
    clf = free(routes=("names",)).fit([*X, "topic oak"], [*y, "topic_elm"])
    assert ("topic oak", "topic_oak") not in texts_of(clf)
    assert ("topic elm", "topic_elm") in texts_of(clf)


@pytest.mark.parametrize(
    ("name", "learnt"),
    [
        ("x" * 10_000, {"topic elm"}),  # it is too long for a text
        ("", {"topic elm"}),
        ("!?", {"topic elm"}),
        ("otherTree", {"topic elm", "other tree"}),
        ("topicElm", set()),  # the same words as another one's
        ("TOPIC elm", set()),
    ],
)
def test_odd_names(name, learnt):
    X, y = draw(3)
    labels = [name if label == CLASSES[0] else label for label in y]
    clf = free(routes=("names",)).fit(X, labels)
    assert {t.text for t in clf.synthetic_ if t.label in (name, "topic_elm")} == learnt
    assert len(clf.synthetic_) == 10 + len(learnt)
    assert name in clf.predict(X).tolist()


def test_the_order_of_classes_is_that_of_before():
    X, y = draw(2)
    clf = free().fit(X, y)
    plain = clone(clf.student).fit(X, y)
    assert clf.classes_.tolist() == plain.classes_.tolist() == clf.student_.classes_.tolist()
    assert clf.predict_proba(X).shape == (len(X), 12)


def test_several_labels_a_text():
    """A name is a text of its class alone, and the order of columns and labels stays."""
    X, y = draw(2)
    sets = [{y[i], y[i - 1]} if i % 3 == 0 else {y[i]} for i in range(len(y))]
    student = make_pipeline(TfidfVectorizer(), OneVsRestClassifier(LogisticRegression(C=10)))
    order = [*reversed(CLASSES)]
    Y = MultiLabelBinarizer(classes=order).fit_transform(sets)
    clf = PGKDClassifier(student=student, routes=("names",), class_names=order, random_state=0)
    clf.fit(X, Y)
    assert clf.classes_.tolist() == order
    assert texts_of(clf) == {(label.replace("_", " "), (label,)) for label in CLASSES}
    truth = MultiLabelBinarizer(classes=order).fit_transform([{label} for label in TEST[1]])
    alone = clone(student).fit(X, Y)
    assert f1_score(truth, clf.predict(TEST[0]), average="micro") > (
        f1_score(truth, alone.predict(TEST[0]), average="micro") + 0.1
    )
    assert clf.history_[1].taken


# None at all


@pytest.mark.parametrize(
    "params",
    [{"class_names": CLASSES}, {"class_descriptions": {c: f"all about {c[6:]}" for c in CLASSES}}],
)
@pytest.mark.parametrize("pool", [None, draw(20, first=300)[0]])
@pytest.mark.parametrize("empty", [(), ([], [])])
def test_no_labelled_text_at_all(params, pool, empty):
    clf = free(**params).fit(*empty, X_unlabeled=pool)
    assert clf.classes_.tolist() == sorted(CLASSES)
    assert clf.score(*TEST) > 0.5
    assert clf.comparison_ is None
    assert clf.history_[-1].score is None
    assert "**Nothing vouches for this student**" in str(clf.report())


def test_no_labelled_text_and_a_teacher():
    class Knows(Labelling):
        def __init__(self):
            super().__init__(lambda text, shortlist: text.split()[-1].rstrip("0123456789"))

    pool = [write_text(label, i) for i in range(100, 120) for label in WORDS]
    teacher = Knows()
    student = make_pipeline(TfidfVectorizer(), LogisticRegression())
    clf = PGKDClassifier(
        teacher, student, class_names=list(WORDS), max_cycles=3, samples_per_cycle=12
    ).fit(X_unlabeled=pool)
    assert [step.route for step in clf.history_[1:]] == ["names", "describe", "label", "write"]
    assert all(step.taken for step in clf.history_[1:])
    assert clf.probe_ is None
    X = [write_text(label, i) for i in range(20) for label in WORDS]
    assert clf.score(X, list(WORDS) * 20) > 0.9
    assert "**Nothing vouches for this student**" in str(clf.report())


@pytest.mark.parametrize("teacher", [WordTeacher(), Labelling()])
def test_no_text_but_those_of_a_teacher(teacher):
    student = make_pipeline(TfidfVectorizer(), LogisticRegression())
    clf = PGKDClassifier(
        teacher, student, class_names=list(WORDS), max_cycles=2, samples_per_cycle=30
    ).fit()
    assert [step.route for step in clf.history_[1:]] == ["names", "describe", "write"]
    X = [write_text(label, i) for i in range(20) for label in WORDS]
    names = PGKDClassifier(student=student, class_names=list(WORDS)).fit()
    assert clf.score(X, list(WORDS) * 20) > names.score(X, list(WORDS) * 20)
    assert "**Nothing vouches for this student**" in str(clf.report())


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "must be told the classes"),
        ({"class_names": ["one"]}, "must be told the classes"),
        ({"class_names": ["card", "17"]}, "nothing is known of 1 of the 2 classes, e.g. '17'"),
        ({"class_names": ["card_late", "cardLate"]}, "nothing is known of 2 of the 2 classes"),
        ({"class_names": [1, 2]}, "nothing is known of 2 of the 2 classes"),
        ({"class_names": CLASSES, "routes": ("write",)}, "begins with the names of the classes"),
    ],
)
def test_classes_of_which_nothing_is_known(params, message):
    with pytest.raises(InvalidInputError, match=message):
        free(**params).fit()


def test_a_gate_without_labelled_texts():
    X, y = draw(2)
    with pytest.raises(InvalidInputError, match="pass these texts as `X` and `y`"):
        free(class_names=CLASSES).fit(X_val=X, y_val=y)


def test_texts_without_labels_are_no_labelled_texts():
    with pytest.raises(InvalidInputError, match="y to be passed.*`X_unlabeled`"):
        free(class_names=CLASSES).fit(draw(2)[0])


# Few


@pytest.mark.parametrize("n", [2, 3, 4])
def test_fewer_texts_than_folds(n):
    X = [write_text(label, i) for i in range(2) for label in WORDS][:n]
    y = (list(WORDS) * 2)[:n]
    clf = free().fit(X, y, X_unlabeled=[write_text("pin", i) for i in range(50, 60)])
    assert clf.comparison_.n_texts == n  # each is judged once
    assert clf.classes_.tolist() == sorted(set(y))
    assert clf.score(X, y) == 1


def test_copies_of_one_text_decide_nothing():
    clf = free().fit(["my card"] * 6, ["card", "pin"] * 3)
    assert clf.comparison_ is None
    assert clf.predict(["card"]).shape == (1,)


def test_a_class_without_a_labelled_text_does_not_outweigh_the_others():
    class Wrong(WordTeacher):
        """Writes of cards, whatever it is asked for."""

        def generate(self, requests):
            for g in super().generate(requests):
                pairs = [(f"my card {e.text}", e.label) for e in g.examples]
                yield Generation(g.request, tuple(map(Example, *zip(*pairs))), usage=g.usage)

    X = [write_hard(label, i) for i in range(8) for label in ("card", "pin")]
    student = make_pipeline(TfidfVectorizer(), LogisticRegression())
    sampler = UnguidedSampler()
    clf = PGKDClassifier(
        Wrong(write=write_hard), student, sampler, class_names=list(WORDS), max_cycles=3
    ).fit(X, ["card", "pin"] * 8)
    weights = Counter({"card": 8.0, "pin": 8.0})
    for text in clf.synthetic_:
        weights[text.label] += text.weight
    own = sum(t.label == "rate" and t.weight > 0 for t in clf.synthetic_)
    assert own > 20
    assert weights["rate"] <= (weights["card"] + weights["pin"]) / 2 + 1e-9


@pytest.mark.parametrize("per_class", [1, 2])
def test_a_teacher_that_only_writes_and_few_texts(per_class):
    """It has no `annotate`: there is no probe, and no labels are asked of it."""
    X = [write_hard(label, i) for i in range(per_class) for label in WORDS]
    student = make_pipeline(TfidfVectorizer(), LogisticRegression())
    teacher = WordTeacher(write=write_hard)
    clf = PGKDClassifier(teacher, student, max_cycles=2, samples_per_cycle=30, random_state=0)
    clf.fit(X, list(WORDS) * per_class, X_unlabeled=[write_hard("pin", i) for i in range(50, 60)])
    assert [s.route for s in clf.history_ if s.usage.n_requests] == ["describe", "write"]
    assert clf.probe_ is None
    assert clf.comparison_.n_texts == len(X)  # all of them decide
    assert set(clf.predict(X).tolist()) <= set(WORDS)


# Unlabelled texts


def write_about(words, cue, i):
    """A text of three of twelve words and, often, a cue."""
    rng = random.Random(f"{words}{cue}{i}")
    cues = [f"cue{cue}"] if words != cue or rng.random() < 0.75 else []
    return " ".join([*cues, *(f"c{words}w{k}" for k in rng.sample(range(12), 3))])


def draw_about(n, first=0, shift=0):
    rows = [
        (write_about((c + shift) % 4, c, i), f"class {c}")
        for i in range(first, n)
        for c in range(4)
    ]
    return [text for text, _ in rows], [label for _, label in rows]


def test_self_training_is_taken_where_it_helps():
    """Five of 40 words: texts without a label show which of them go together."""

    def write(label, i):
        return " ".join(f"{label}{k}" for k in random.Random(f"{label}-{i}").sample(range(40), 5))

    def draw_words(*numbers):
        return [write(label, i) for i in range(*numbers) for label in "abcd"]

    X, y = draw_words(2), list("abcd") * 2
    test = draw_words(5000, 5100), list("abcd") * 100
    clf = free(routes=("unlabelled",)).fit(X, y, X_unlabeled=draw_words(1000, 1060))
    assert [step.taken for step in clf.history_] == [True, True]
    assert clf.comparison_.gain > 0
    assert clf.score(*test) > clone(clf.student).fit(X, y).score(*test) + 0.1
    assert len(clf.synthetic_) == 240  # all of them, once
    sums = [sum(t.weight for t in clf.synthetic_ if t.label == c) for c in "abcd"]
    assert max(sums) < 1.2 * min(sums)  # as many of each class as there are
    assert "unlabelled" in {own.route for own in clf.report().routes}


def test_self_training_that_harms_is_turned_down():
    """In the pool, the cue of each class comes with the words of the next one."""
    X, y = draw_about(2)
    pool = draw_about(1060, first=1000, shift=1)[0]
    test = draw_about(5100, first=5000)
    alone = clone(free().student).fit(X, y).score(*test)
    blind = free(routes=("unlabelled",), evidence=Evidence(keep_all=True))
    assert blind.fit(X, y, X_unlabeled=pool).score(*test) < alone - 0.05
    assert blind.comparison_.gain < 0
    clf = free(routes=("unlabelled",)).fit(X, y, X_unlabeled=pool)
    assert [step.taken for step in clf.history_] == [True, False]
    assert clf.score(*test) == alone
    assert {(t.verdict, t.reason) for t in clf.synthetic_} == {("dropped", "no gain out of fold")}


def test_what_the_student_teaches_itself_weighs_as_much_as_it_is_sure():
    """Squares, a third on average; what a class weighs lies half the way to an equal share."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([2.0, 1.0, 1.0], size=900)
    texts = pseudo_label([str(i) for i in range(900)], probabilities, np.array(["a", "b", "c"]))
    weights = np.array([text.weight for text in texts])
    given = probabilities.argmax(axis=1)
    assert [text.label for text in texts] == list(np.array(["a", "b", "c"])[given])
    of_a = given == 0
    ratio = probabilities.max(axis=1)[of_a] ** 2 / weights[of_a]
    np.testing.assert_allclose(ratio[weights[of_a] < 1], ratio[weights[of_a] < 1][0])
    shares = np.bincount(given, weights) / weights.sum()
    wanted = np.sqrt(probabilities.mean(axis=0))
    np.testing.assert_allclose(shares, wanted / wanted.sum(), atol=0.05)  # but for weights over 1
    squares = probabilities.max(axis=1) ** 2
    assert shares[0] < squares[of_a].sum() / squares.sum() - 0.1
    assert weights.mean() == pytest.approx(1 / 3, abs=0.01)
    # A student that is less sure of all texts says the same.
    unsure = np.full_like(probabilities, 1 / 3) + 0.01 * (probabilities - 1 / 3)
    again = pseudo_label([str(i) for i in range(900)], unsure, np.array(["a", "b", "c"]))
    assert np.mean([text.weight for text in again]) == pytest.approx(1 / 3, abs=0.01)
    assert weights.max() <= 1


def test_a_student_without_weights_learns_what_it_is_surest_of():
    X, y = draw(4)
    student = make_pipeline(TfidfVectorizer(), KNeighborsClassifier(3))
    pool = draw(30, first=300)[0]
    keep = Evidence(keep_all=True)
    clf = free(routes=("unlabelled",), evidence=keep).set_params(student=student)
    clf.fit(X, y, X_unlabeled=pool)
    assert 0 < len(clf.synthetic_) < len(pool)
    assert min(text.weight for text in clf.synthetic_) >= 0.5


@pytest.mark.parametrize("pool", [["a text"] * 50, draw(2)[0] * 5])
def test_a_pool_of_copies(pool):
    """Of one text, or of labelled ones, which are none to learn."""
    clf = free(routes=("unlabelled",)).fit(*draw(2), X_unlabeled=pool)
    assert len({text.text for text in clf.synthetic_}) == (1 if len(set(pool)) == 1 else 0)


def test_without_evidence_there_is_no_self_training():
    pool = draw(20, first=300)[0]
    clf = free(class_names=CLASSES).fit(X_unlabeled=pool)
    assert [step.route for step in clf.history_] == ["labelled", "names"]


# Logs


def test_logs_are_trusted_as_far_as_the_labelled_texts_say():
    X, y = draw(3)
    texts, labels = draw(20, first=400)
    good = free(routes=()).fit(X, y, logs=Logs(tuple(texts), tuple(labels)))
    assert good.history_[1].route == "logs"
    assert good.history_[1].taken
    assert good.score(*TEST) > clone(good.student).fit(X, y).score(*TEST) + 0.1
    assert {t.source for t in good.synthetic_} == {"log"}
    wrong = tuple(CLASSES[CLASSES.index(label) - 1] for label in labels)
    bad = free(routes=()).fit(X, y, logs=Logs(tuple(texts), wrong))
    assert not bad.history_[1].taken
    assert bad.score(*TEST) == clone(bad.student).fit(X, y).score(*TEST)


def test_logs_with_labels_that_are_no_class():
    X, y = draw(3)
    logs = Logs(("a text on oak trees", "a bird"), ("topic_oak", "birds"))
    with pytest.warns(UserWarning, match="1 of 2 texts of the logs have labels that are no class"):
        clf = free(routes=()).fit(X, y, logs=logs)
    assert {t.label: t.reason for t in clf.synthetic_}["birds"] == "unknown label"
    assert "birds" not in clf.classes_


def test_logs_alone():
    texts, labels = draw(10, first=400)
    clf = free().fit(logs=Logs(tuple(texts), tuple(labels)))
    assert clf.classes_.tolist() == sorted(CLASSES)
    assert clf.score(*TEST) > 0.6
    with pytest.raises(InvalidInputError, match="what `pgkd.read_logs` returns"):
        free().fit(logs=[("a", "b")])


def test_same_seed_same_student():
    X, y = draw(2)
    pool = draw(20, first=300)[0]
    first, second = (free().fit(X, y, X_unlabeled=pool) for _ in range(2))
    assert first.synthetic_ == second.synthetic_
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))


def test_a_weight_is_chosen_for_each_route():
    X, y = draw(2)
    clf = free(evidence=Evidence(synthetic_weight=0.5)).fit(X, y)
    assert {t.weight for t in clf.synthetic_ if t.verdict == "accepted"} == {0.5}
