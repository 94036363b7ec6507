import re

import pytest

pytest.importorskip("simple_icd_10_cm")
import simple_icd_10_cm as icd

from pgkd.datasets import load_icd10
from pgkd.datasets.icd10 import _texts_by_class


def key(text):
    return " ".join(re.findall(r"\w+", text.casefold()))


def everything(level, **kwargs):
    """Load the whole of both sides."""
    with pytest.raises(ValueError, match="n_train") as error:
        load_icd10(level, n_train=10**6, **kwargs)
    n_train = int(re.search(r", (\d+)\]", str(error.value))[1])
    n_texts = sum(len(texts) for c in _texts_by_class(level).values() for texts in c)
    return load_icd10(level, n_train=n_train, n_test=n_texts - n_train, **kwargs)


@pytest.mark.parametrize(("level", "n_classes"), [("chapter", 22), ("block", 246)])
def test_sides_share_no_text_and_no_category(level, n_classes):
    X_train, y_train, X_test, y_test = everything(level)
    keys = [key(text) for text in X_train + X_test]
    assert len(keys) == len(set(keys)) > 14_000
    assert len(set(y_train)) == len(set(y_test)) == n_classes
    assert 0.4 < len(X_test) / len(keys) < 0.55
    train, test = set(X_train), set(X_test)
    for categories in _texts_by_class(level).values():
        for texts in categories:
            assert train.issuperset(texts) or test.issuperset(texts)


def test_labels_are_titles_without_codes():
    _, y_train, _, y_test = everything("block")
    blocks = filter(icd.is_block, icd.get_all_codes())
    titles = {icd.get_description(code, prioritize_blocks=True) for code in blocks}
    for label in {*y_train, *y_test}:
        assert not re.search(r"\([A-Z]\d", label)
        assert any(title == label or title.startswith(f"{label} (") for title in titles)


def test_texts_are_terms_not_instructions():
    X_train, y_train, X_test, y_test = everything("chapter")
    pairs = dict(zip(X_train + X_test, y_train + y_test))
    assert pairs["Classical cholera"] == "Certain infectious and parasitic diseases"
    assert pairs["Cholera"] == "Certain infectious and parasitic diseases"
    assert not [text for text in pairs if "category is" in text or "  " in text]


def test_training_texts_cover_all_classes_and_are_nested():
    small = load_icd10("chapter", n_train=22, n_test=50)
    large = load_icd10("chapter", n_train=400, n_test=100)
    assert len(set(small[1])) == 22
    for few, many in zip(small, large):
        assert many[: len(few)] == few


def test_random_state():
    first, same, other = (load_icd10("block", n_train=700, random_state=s) for s in (1, 1, 2))
    assert first == same
    assert first[0] != other[0]
    assert first[2] != other[2]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"level": "code"}, "`level` must be 'chapter' or 'block'. Got 'code'"),
        ({"n_train": 21}, r"`n_train` must be in \[22, \d+\] at level='chapter'. Got 21"),
        ({"n_test": 0}, r"`n_test` must be in \[1, \d+\]"),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        load_icd10(**kwargs)
