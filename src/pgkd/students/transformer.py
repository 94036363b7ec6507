"""A pretrained transformer, fine-tuned whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit, softmax
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight
from transformers import AutoModelForSequenceClassification, set_seed

from pgkd.evaluation import make_report
from pgkd.exceptions import InvalidInputError
from pgkd.records import FloatArray, LabelArray
from pgkd.students._pretrained import (
    Graph,
    available_devices,
    load_pretrained,
    pick_device,
    preserve_globals,
    run_in_batches,
    save_pretrained,
)
from pgkd.students._text_classifier import TextClassifier
from pgkd.students._training import fine_tune
from pgkd.targets import Target, check_target, check_validation
from pgkd.validation import check_texts


class TransformerStudent(TextClassifier):
    """A pretrained transformer with a classification head, fine-tuned whole.

    Parameters
    ----------
    model : str or path, default="bert-base-uncased"
        An id on the Hugging Face hub, or a directory.
    n_epochs : int, default=20
        Passes over the training texts.
    learning_rate : float, default=1e-4
        Peak of the rate, which then falls linearly to 0. Meant for BERT's size; a small model such
        as MiniLM learns better with 5e-4.
    batch_size : int, default=16
    max_length : int, default=128
        Tokens of a text that are read, or the model's own limit if that is less.
    weight_decay : float, default=0.01
    warmup_ratio : float, default=0.1
        Share of the training steps, in [0, 1], in which the rate rises.
    random_state : int, RandomState instance or None, default=None
        Seeds the head's first weights, the order of the texts and the dropout.
    device : {"cpu", "cuda", "mps"}, default=None
        ``None``: the fastest there is. One of several GPUs is chosen by ``CUDA_VISIBLE_DEVICES``.
    verbose : bool, default=False
        Whether to show a progress bar.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
    model_ : transformers.PreTrainedModel
    tokenizer_ : transformers.PreTrainedTokenizer
    validation_loss_ : list of float
        Loss on the validation texts after each epoch, in nats a text; empty without such texts.

    References
    ----------
    https://huggingface.co/docs/transformers/main_classes/trainer; for the many epochs and the
    warm-up: Mosbach et al., On the Stability of Fine-tuning BERT, https://arxiv.org/abs/2006.04884

    Examples
    --------
    >>> from pgkd.students import TransformerStudent
    >>> student = TransformerStudent("bert-base-uncased", random_state=0)
    >>> student = student.fit(["good film", "dull plot"], ["pos", "neg"])  # doctest: +SKIP
    >>> student.predict_proba(["a great film"]).shape  # doctest: +SKIP
    (1, 2)
    """

    _parameter_constraints = {  # noqa: RUF012
        "model": [str, os.PathLike],
        "n_epochs": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_length": [Interval(Integral, 1, None, closed="left")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "warmup_ratio": [Interval(Real, 0, 1, closed="both")],
        "random_state": ["random_state"],
        "device": [StrOptions({"cpu", "cuda", "mps"}), None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        model: str | os.PathLike[str] = "bert-base-uncased",
        *,
        n_epochs: int = 20,
        learning_rate: float = 1e-4,
        batch_size: int = 16,
        max_length: int = 128,
        weight_decay: float = 0.01,
        warmup_ratio: float = 0.1,
        random_state: Any = None,
        device: str | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.model = model
        self.n_epochs = n_epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_length = max_length
        self.weight_decay = weight_decay
        self.warmup_ratio = warmup_ratio
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
    ) -> TransformerStudent:
        """Fine-tune the model.

        Parameters
        ----------
        X : list, 1-D array or Series of str, of shape (n_texts,)
        y : array-like of shape (n_texts,)
            Labels: str, int or bool. For several labels a text: a list of labels for each, or an
            indicator matrix of shape (n_texts, n_classes).
        sample_weight : array-like of shape (n_texts,), default=None
            Weights of the texts in the loss; only their ratios count.
        X_val, y_val : default=None
            Validation texts and labels. If given, the weights of the epoch with the least loss on
            them are kept, instead of the last ones.

        Returns
        -------
        self : TransformerStudent

        Raises
        ------
        ModelNotFoundError
            If `model` is neither a directory nor reachable on the hub.
        StudentError
            If the model cannot be used.
        InvalidInputError
            If texts, labels or weights cannot work, or there is no such `device`.
        """
        self._validate_params()
        texts = check_texts(X)
        target = check_target(y, len(texts))
        classes = target.classes
        weights = _normalise_weights(sample_weight, target.y)
        validation = check_validation(X_val, y_val, target)
        if self.device not in (None, *available_devices()):
            raise InvalidInputError(
                f"The `device` parameter of TransformerStudent is {self.device!r}, and this "
                f"machine has {available_devices()}: pass one of these, or None for the first."
            )
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))

        with preserve_globals():
            set_seed(seed)  # for the new head
            model, tokenizer = load_pretrained(
                AutoModelForSequenceClassification,
                self.model,
                num_labels=len(classes),
                id2label={i: str(label) for i, label in enumerate(classes)},
                label2id={str(label): i for i, label in enumerate(classes)},
                ignore_mismatched_sizes=True,  # a head for other classes is replaced
            )
            if target.multilabel:  # for transformers' own pipeline
                model.config.problem_type = "multi_label_classification"
            encoded = tokenizer(
                texts,
                truncation=True,
                max_length=min(self.max_length, tokenizer.model_max_length),
            )
            codes = (
                target.for_fit.astype(np.float32)
                if target.multilabel
                else np.searchsorted(classes, target.y)
            )
            rows = [
                {**{name: encoded[name][i] for name in encoded}, "labels": code, "weight": weight}
                for i, (code, weight) in enumerate(zip(codes.tolist(), weights.tolist()))
            ]
            losses = fine_tune(
                model,
                tokenizer,
                rows,
                n_epochs=self.n_epochs,
                learning_rate=self.learning_rate,
                batch_size=self.batch_size,
                weight_decay=self.weight_decay,
                warmup_ratio=self.warmup_ratio,
                seed=seed,
                device=pick_device(self.device),
                verbose=bool(self.verbose),
                validation_loss=self._make_validation_loss(tokenizer, validation, target),
            )

        self.classes_ = classes
        self._target_kind = target.kind
        self.model_ = model
        self.tokenizer_ = tokenizer
        self.validation_loss_ = losses
        return self

    def _make_validation_loss(
        self, tokenizer: Any, validation: tuple[list[str], LabelArray] | None, target: Target
    ) -> Callable[[Any], float] | None:
        if validation is None:
            return None
        texts, labels = validation

        def validation_loss(model: Any) -> float:
            probabilities = self._apply(model, tokenizer, texts, target.multilabel)
            return make_report(labels, probabilities, target.classes).log_loss

        return validation_loss

    def _predict_proba(self, texts: list[str]) -> FloatArray:
        return self._apply(self.model_, self.tokenizer_, texts, self.multilabel_)

    def _apply(self, model: Any, tokenizer: Any, texts: list[str], multilabel: bool) -> FloatArray:
        logits = run_in_batches(
            _logits,
            model,
            tokenizer,
            texts,
            max_length=self.max_length,
            batch_size=4 * self.batch_size,  # without gradients, more fit into memory
            device=pick_device(self.device),
        )
        logits = logits.astype(np.float64)
        probabilities: FloatArray = expit(logits) if multilabel else softmax(logits, axis=1)
        return probabilities

    def _make_graph(self) -> Graph:
        return Graph(_logits, self.model_, self.tokenizer_, self.max_length, self.multilabel_)

    def _save(self, directory: Path) -> None:
        save_pretrained(self.model_, self.tokenizer_, directory)

    def _load(self, directory: Path, document: dict[str, Any]) -> None:
        self.model_, self.tokenizer_ = load_pretrained(
            AutoModelForSequenceClassification, directory
        )
        self.validation_loss_ = []

    def __getstate__(self) -> Any:
        """Pickle the weights on the CPU, for machines without this one's GPU."""
        if hasattr(self, "model_"):
            self.model_.to("cpu")
        return super().__getstate__()


def _logits(model: Any, batch: Any) -> Any:
    return model(**batch).logits


def _normalise_weights(sample_weight: Any, labels: LabelArray) -> FloatArray:
    """Return weights with mean 1, so that they do not change the learning rate."""
    weights = _check_sample_weight(
        sample_weight, labels, dtype=np.float64, ensure_non_negative=True
    )
    if not weights.any():
        raise InvalidInputError("sample_weight is 0 for every text: give some text a weight.")
    normalised: FloatArray = weights / weights.mean()
    return normalised
