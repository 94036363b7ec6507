"""Random static embeddings, as model2vec writes them."""

import json

import numpy as np
from safetensors.numpy import save_file
from students.tiny_bert import make_tokenizer


def write_tiny_static(directory, *, seed=0, tokenizer=None, **tensors):
    """Save vectors and tokenizer to `directory`; `tensors` take the place of the vectors."""
    tokenizer = tokenizer or make_tokenizer()
    shape = (tokenizer.get_vocab_size(), 16)
    vectors = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    directory.mkdir(parents=True, exist_ok=True)
    save_file(tensors or {"embeddings": vectors}, directory / "model.safetensors")
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "config.json").write_text(json.dumps({"normalize": True}))
    return directory
