"""Tokens and vectors of static embeddings, beside those that the tokenizer itself gives."""

import pickle
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from students.tiny_bert import make_tokenizer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from pgkd.export import static
from pgkd.export.static import StaticEmbedding, shrink

WORDS = ["card", "cards", "the", "pin", "é", "日本", "a", "b", "'s", ",", "\u0301", "\x00", "\n"]


def make_llama(tokens=()):
    """Byte-pair encoding that writes a space as a part of the word behind it."""
    letters = ["<unk>", *"▁abcdrsthepinw,'", *"é日本"]
    merges = [("▁", "c"), ("a", "r"), ("▁c", "ar"), ("▁", "▁"), ("t", "h"), ("▁", "th")]
    vocabulary = dict.fromkeys([*letters, *map("".join, merges), *tokens])
    tokenizer = Tokenizer(
        models.BPE({token: i for i, token in enumerate(vocabulary)}, merges, unk_token="<unk>")
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>"])
    return tokenizer


def make_unigram():
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0), ("▁", -1), ("▁c", -1), ("a", -1)], 0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


def make_embedding(tokenizer, max_length=20):
    vectors = np.random.default_rng(0).normal(size=(tokenizer.get_vocab_size(), 8))
    return StaticEmbedding(vectors, tokenizer, max_length)


TOKENIZERS = {"bert": make_tokenizer, "llama": make_llama, "unigram": make_unigram}
EMBEDDINGS = {name: make_embedding(make()) for name, make in TOKENIZERS.items()}


@pytest.mark.parametrize("name", TOKENIZERS)
@given(
    texts=st.lists(
        st.lists(
            st.sampled_from([*WORDS, " ", "  ", "\t", "▁", "<s>", "[UNK]", "\u3000"])
            | st.text(max_size=3),
            max_size=30,
        ).map("".join)
    )
)
def test_tokens_are_the_tokenizers_own(name, texts):
    """Word by word, as it is done for two of them, or not."""
    reference = TOKENIZERS[name]()
    reference.enable_truncation(20)
    unknown = 1 if name == "bert" else 0
    expected = [
        [i for i in reference.encode(text, add_special_tokens=False).ids if i != unknown]
        for text in texts
    ]
    assert EMBEDDINGS[name].tokenize(texts) == expected


def test_known_tokenizers_are_read_by_words():
    assert EMBEDDINGS["bert"]._whole is not None
    assert EMBEDDINGS["llama"]._whole is not None
    assert EMBEDDINGS["unigram"]._whole is None
    # A token that goes on behind a word, or is added with a space in it.
    assert make_embedding(make_llama(["c▁a"]))._whole is None
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["my card"])
    (row,) = make_embedding(tokenizer).tokenize(["my card"])
    assert row == [tokenizer.token_to_id("my card")]


def test_each_word_is_tokenized_once(monkeypatch):
    embedding = make_embedding(make_tokenizer())
    asked = []
    encode = embedding._encode
    monkeypatch.setattr(embedding, "_encode", lambda words: asked.extend(words) or encode(words))
    embedding.tokenize(["my card", "the card my card"])
    embedding.tokenize(["the pin"])
    assert sorted(asked) == ["card", "my", "pin", "the"]
    monkeypatch.setattr(static, "MEMORY", 3)
    embedding.tokenize(["the pin"])
    assert set(embedding._words) == {"the", "pin"}


def test_mean_of_vectors():
    embedding = make_embedding(make_tokenizer())
    ids = [embedding.tokenizer.token_to_id(word) for word in ("my", "card", "card")]
    mean = embedding.vectors[ids].mean(axis=0)
    found = embedding.embed(["My card ω card", "", "\x00", "ωω"])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], mean / np.linalg.norm(mean), atol=1e-6)
    assert not found[1:].any()
    assert embedding.embed([]).shape == (0, 8)


def test_texts_are_cut():
    embedding = make_embedding(make_tokenizer(), max_length=3)
    long = ["card my pin " + "rate " * 10_000, "rate" * 10_000, "cardmypinrate"]
    assert [len(row) for row in embedding.tokenize(long)] == [3, 3, 3]
    assert (embedding.embed(long[:1]) == embedding.embed(["card my pin"])).all()


def test_alone_or_among_others():
    """To the last bit."""
    embedding = make_embedding(make_tokenizer())
    texts = ["my card", "the exchange rate of the euro", "pin"]
    alone = np.concatenate([embedding.embed([text]) for text in texts])
    assert (embedding.embed(texts) == alone).all()


def test_threads_and_pickles(monkeypatch):
    monkeypatch.setattr(static, "MEMORY", 10)  # words are forgotten all the time
    embedding = make_embedding(make_tokenizer())
    texts = [f"{word} {i}" for i in range(200) for word in ("card", "pin", "rate")]
    expected, found = embedding.embed(texts), []

    def work():
        found.append(all((embedding.embed([t])[0] == e).all() for t, e in zip(texts, expected)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4
    assert (pickle.loads(pickle.dumps(embedding)).embed(texts) == expected).all()


def test_shrink():
    exact = np.array([[0.5, 1.0]], dtype=np.float32)
    assert shrink(exact).dtype == np.float16
    for vectors in (exact / 3, exact * 1e6):
        assert shrink(vectors) is vectors
