"""Static embeddings and a linear head: trained in less than a second."""

from __future__ import annotations

import os
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils._param_validation import HasMethods, Interval

from pgkd.export.document import TOKENIZER
from pgkd.export.engines import STATIC
from pgkd.export.static import write_static
from pgkd.students._static_encoder import make_static_encoder, read_static_encoder
from pgkd.students.embedding import EmbeddingStudent


class StaticStudent(EmbeddingStudent):
    """A linear classifier over static embeddings: tens of thousands of texts a second on a CPU.

    Each token has one vector, whatever is beside it, and a text's embedding is their mean, scaled
    to length 1. Word order is lost, and with it some accuracy. Like `EmbeddingStudent`, it embeds
    each text once in a process.

    Parameters
    ----------
    model : str or path, default="minishlab/potion-base-8M"
        Static embeddings: an id on the Hugging Face hub or a directory, as model2vec or
        sentence-transformers write them; or ``"wordllama"``, which comes with
        ``pip install "pgkd[wordllama]"`` and needs no hub.
    head : classifier, default=None
        Any scikit-learn classifier with `predict_proba`. ``None``:
        ``LogisticRegression(C=100, tol=1e-5, max_iter=1000)``.
    max_length : int, default=512
        Tokens of a text that are read.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
    head_ : classifier
        The trained head.
    encoder_ : StaticEncoder
        The shared embeddings.

    References
    ----------
    https://github.com/MinishLab/model2vec

    https://github.com/dleemiller/WordLlama

    Examples
    --------
    >>> from pgkd.students import StaticStudent
    >>> student = StaticStudent("wordllama")
    >>> student = student.fit(["good film", "dull plot"], ["pos", "neg"])  # doctest: +SKIP
    >>> student.predict_proba(["a great film"]).shape  # doctest: +SKIP
    (1, 2)
    """

    _parameter_constraints = {  # noqa: RUF012
        "model": [str, os.PathLike],
        "head": [HasMethods(["fit", "predict_proba"]), None],
        "max_length": [Interval(Integral, 1, None, closed="left")],
    }

    _make_encoder = staticmethod(make_static_encoder)
    _read_encoder = staticmethod(read_static_encoder)
    batch_size = 1024  # changes neither speed nor memory much, hence no parameter

    def __init__(
        self,
        model: str | os.PathLike[str] = "minishlab/potion-base-8M",
        *,
        head: Any = None,
        max_length: int = 512,
    ) -> None:
        self.model = model
        self.head = head
        self.max_length = max_length

    def _write_static(self, directory: Path, temperature: float) -> dict[str, Any]:
        """Write the export's files, and return what it takes to open them."""
        weights, bias = (part / np.float32(temperature) for part in self._get_weights())
        write_static(directory / STATIC, self.encoder_.model, weights, bias)
        self.encoder_.tokenizer.save(str(directory / TOKENIZER))
        return {"model": STATIC, "max_length": self.max_length}
