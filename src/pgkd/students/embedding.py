"""A frozen encoder and a linear head: trained in seconds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier, _ConstantPredictor
from sklearn.utils._param_validation import HasMethods, Interval

from pgkd.exceptions import ExportError, PersistenceError
from pgkd.inputs.targets import check_target
from pgkd.inputs.validation import check_texts
from pgkd.records import FloatArray, LabelArray
from pgkd.students._encoder import Encoder, get_encoder, make_encoder, pool, read_encoder
from pgkd.students._text_classifier import TextClassifier
from pgkd.students.any_student import (
    check_takes_several,
    check_takes_weights,
    fit_quietly,
    predict_label_proba,
    weight_parameter,
)
from pgkd.system.pretrained import Graph

#: The logit of a label that all texts have, of which the sigmoid is 1 to float32.
SURE = 30.0


class EmbeddingStudent(TextClassifier):
    """A linear classifier over the text embeddings of a frozen, pretrained encoder.

    The embedding is the mean of the token vectors, scaled to length 1, as sentence-transformers'
    models are made for. In one process, each text is embedded once for all students with the same
    `model` and `max_length`: the cycles and folds of a distillation only pay for new texts.

    Parameters
    ----------
    model : str or path, default="sentence-transformers/all-MiniLM-L6-v2"
        An encoder: an id on the Hugging Face hub, or a directory.
    head : classifier, default=None
        Any scikit-learn classifier with `predict_proba`. ``None``:
        ``LogisticRegression(C=100, tol=1e-5, max_iter=1000)``, one for each label where texts have
        several.
    max_length : int, default=128
        Tokens of a text that are read, or the model's own limit if that is less.
    batch_size : int, default=64
        Texts embedded at once.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
    head_ : classifier
        The trained head.
    encoder_ : Encoder
        The shared encoder.

    References
    ----------
    https://www.sbert.net/docs/package_reference/sentence_transformer/models.html

    Examples
    --------
    >>> from pgkd.students import EmbeddingStudent
    >>> student = EmbeddingStudent()
    >>> student = student.fit(["good film", "dull plot"], ["pos", "neg"])  # doctest: +SKIP
    >>> student.predict_proba(["a great film"]).shape  # doctest: +SKIP
    (1, 2)
    """

    _parameter_constraints = {  # noqa: RUF012
        "model": [str, os.PathLike],
        "head": [HasMethods(["fit", "predict_proba"]), None],
        "max_length": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
    }

    _make_encoder = staticmethod(make_encoder)
    _has_frozen_encoder = True  # so that it is found where `fit` found it
    _read_encoder = staticmethod(read_encoder)

    def __init__(
        self,
        model: str | os.PathLike[str] = "sentence-transformers/all-MiniLM-L6-v2",
        *,
        head: Any = None,
        max_length: int = 128,
        batch_size: int = 64,
    ) -> None:
        self.model = model
        self.head = head
        self.max_length = max_length
        self.batch_size = batch_size

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> EmbeddingStudent:
        """Embed the texts and train the head.

        Parameters
        ----------
        X : list, 1-D array or Series of str, of shape (n_texts,)
        y : array-like of shape (n_texts,)
            Labels: str, int or bool. For several labels a text: a list of labels for each, or an
            indicator matrix of shape (n_texts, n_classes).
        sample_weight : array-like of shape (n_texts,), default=None
            Passed to the head.

        Returns
        -------
        self : EmbeddingStudent

        Raises
        ------
        ModelNotFoundError
            If `model` is neither a directory nor reachable on the hub.
        InvalidInputError
            If texts or labels cannot work, or the head takes no weights.
        """
        self._validate_params()
        texts = check_texts(X)
        target = check_target(y, len(texts))
        # The tolerance bounds each class's gradient, which the number of classes makes small.
        head = LogisticRegression(C=100, tol=1e-5, max_iter=1000)
        if target.multilabel:
            head = OneVsRestClassifier(head)
        if self.head is not None:
            head = clone(self.head)
        if target.multilabel:
            check_takes_several(head)
        params = {}
        if sample_weight is not None:
            check_takes_weights(head)
            params = {str(weight_parameter(head)): sample_weight}
        encoder = self._get_encoder(texts, target.y, sample_weight)
        embeddings = encoder.encode(texts, self.batch_size)
        fit_quietly(head, embeddings, target.for_fit, params)

        self.classes_ = target.classes
        self._target_kind = target.kind
        self.head_ = head
        self.encoder_ = encoder
        return self

    def embed(self, X: Any) -> NDArray[np.float32]:
        """Embed texts; the student need not be fitted.

        Parameters
        ----------
        X : list, 1-D array or Series of str, of shape (n_texts,)

        Returns
        -------
        embeddings : array of shape (n_texts, n_dimensions)
            Rows of length 1: their products are cosine similarities.
        """
        encoder = getattr(self, "encoder_", None)
        if encoder is None:
            encoder = get_encoder(self.model, self.max_length, self._make_encoder)
        embeddings: NDArray[np.float32] = encoder.encode(check_texts(X), self.batch_size)
        return embeddings

    def _get_encoder(self, texts: list[str], labels: LabelArray, sample_weight: Any) -> Encoder:
        """Return the encoder that `fit` uses, which here has nothing to learn."""
        return get_encoder(self.model, self.max_length, self._make_encoder)

    def _predict_proba(self, texts: list[str]) -> FloatArray:
        embeddings = self.encoder_.encode(texts, self.batch_size)
        if self.multilabel_:
            return predict_label_proba(self.head_, embeddings, len(self.classes_))
        found = np.asarray(self.head_.predict_proba(embeddings), dtype=np.float64)
        probabilities: FloatArray = found / found.sum(axis=1, keepdims=True)
        return probabilities

    def _make_graph(self) -> Graph:
        weights, bias = map(torch.tensor, self._get_weights())
        encoder = self.encoder_

        def compute(model: Any, batch: Any) -> torch.Tensor:
            return torch.nn.functional.linear(pool(model, batch), weights, bias)

        return Graph(
            compute, encoder.model, encoder.tokenizer, encoder.max_length, self.multilabel_
        )

    def _get_weights(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the head's, of shape (n_classes, n_dimensions) and (n_classes,)."""
        heads = [self.head_]
        if self.multilabel_:  # one for each label
            heads = getattr(self.head_, "estimators_", heads)
        known = (LogisticRegression, _ConstantPredictor) if self.multilabel_ else LogisticRegression
        if not all(isinstance(head, known) for head in heads):
            raise ExportError(
                f"The head {self.head_!r} cannot be exported: only LogisticRegression can, which "
                "is the default. Train the student with that one, or use `save` and `load`."
            )
        if self.multilabel_:
            weights, bias = _stack(heads)
        else:
            weights, bias = self.head_.coef_, self.head_.intercept_
            if len(weights) == 1:  # of two classes, only the second has weights
                weights, bias = (np.concatenate([np.zeros_like(x), x]) for x in (weights, bias))
        return weights.astype(np.float32), bias.astype(np.float32)

    def _save(self, directory: Path, *, is_whole: bool) -> None:
        from pgkd.students import _skops

        unknown = _skops.dump(self.head_, directory / "head.skops")
        if unknown:
            (directory / "head.skops").unlink()
            raise PersistenceError(
                f"The head {self.head_!r} has types that are not trusted by default: "
                f"{unknown}. Use a head of scikit-learn's own, e.g. LogisticRegression(), or "
                "pickle the student."
            )
        if is_whole or not self._has_frozen_encoder:
            self.encoder_.save(directory / "encoder")

    def _load(self, directory: Path, document: dict[str, Any]) -> None:
        from pgkd.students import _skops

        self.head_ = _skops.load(directory / "head.skops")
        if "head" not in document["params"]:  # it was not the default
            self.head = clone(self.head_)
        if document.get("is_whole", True) or not self._has_frozen_encoder:
            self.encoder_ = self._read_encoder(directory / "encoder", self.max_length)
        else:
            self.encoder_ = get_encoder(self.model, self.max_length, self._make_encoder)


def _stack(heads: Sequence[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return weights and bias of one head for each label."""
    n_dimensions = max(getattr(head, "n_features_in_", 0) for head in heads)
    weights, bias = np.zeros((len(heads), n_dimensions)), np.zeros(len(heads))
    for i, head in enumerate(heads):
        if isinstance(head, LogisticRegression):
            weights[i], bias[i] = head.coef_[0], head.intercept_[0]
        else:  # all texts had the label, or none
            bias[i] = SURE if head.y_[0] else -SURE
    return weights, bias
