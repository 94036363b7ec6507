import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from pgkd.curation.curator import vectorize
from pgkd.curation.diversity import measure_diversity


def test_distinct_n_by_hand():
    # a: 5 words, 3 different; 3 pairs, 2 different. b: all 4 words and both pairs are different.
    texts = ["my card", "my card late", "change pin", "new code"]
    diversity = measure_diversity(texts, ["a", "a", "b", "b"])
    assert diversity.distinct_1 == pytest.approx((3 / 5 + 1) / 2)
    assert diversity.distinct_2 == pytest.approx((2 / 3 + 1) / 2)
    assert diversity.classes["a"][:3] == (2, 3 / 5, 2 / 3)


def test_similarity_is_the_mean_over_the_pairs():
    texts = ["my card is late", "my card is lost", "change the pin", ""]
    pairs = cosine_similarity(vectorize(texts))[np.triu_indices(4, k=1)]
    assert measure_diversity(texts, ["a"] * 4).similarity == pytest.approx(pairs.mean())


def test_copies_and_strangers():
    assert measure_diversity(["my card", "My card!"], [0, 0]).similarity == pytest.approx(1)
    assert measure_diversity(["aaaa", "bbbb"], [0, 0]).similarity == pytest.approx(0)


def test_classes_do_not_mix():
    """Two classes with the same texts are each as diverse as they are alone."""
    texts = ["my card", "new card"]
    alone = measure_diversity(texts, [0, 0])
    both = measure_diversity(texts * 2, ["a", "a", "b", "b"])
    assert both.classes == {"a": alone.classes[0], "b": alone.classes[0]}
    assert (both.distinct_1, both.similarity) == (alone.distinct_1, alone.similarity)


@pytest.mark.parametrize("labels", [[], ["a"], ["a", "b"]])
def test_no_class_with_two_texts(labels):
    assert measure_diversity(["x y"] * len(labels), labels) is None


def test_a_class_with_one_text_does_not_count():
    alone = measure_diversity(["my card", "my pin"], ["a", "a"])
    assert measure_diversity(["my card", "my pin", "x x x x"], ["a", "a", "b"]) == alone


@pytest.mark.parametrize(
    ("texts", "distinct"),
    [
        (["カードが届かない", "カードが来ない"], 9 / 15),  # no spaces: characters
        (["Где карта?", "где пин-код"], 3 / 4),  # case and outer punctuation do not count
        (["क्या मेरा कार्ड", "मेरा कार्ड"], 3 / 5),  # vowel signs do not cut a word
    ],
)
def test_scripts(texts, distinct):
    assert measure_diversity(texts, [0, 0]).distinct_1 == pytest.approx(distinct)


def test_texts_without_a_word():
    diversity = measure_diversity(["?!", "..."], [0, 0])
    assert (diversity.distinct_1, diversity.distinct_2, diversity.similarity) == (1, 1, 0)
