"""A pretrained transformer, fine-tuned whole."""

from __future__ import annotations

import os
from dataclasses import replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit, softmax
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from transformers import AutoModelForSequenceClassification, set_seed

from pgkd.exceptions import InvalidInputError
from pgkd.inputs.targets import Target, check_target, check_validation, find_kind
from pgkd.inputs.validation import check_labels, check_texts
from pgkd.records import FloatArray
from pgkd.students._lesson import (
    Lesson,
    check_known,
    check_soft_labels,
    make_lesson,
    weigh_classes,
)
from pgkd.students._lora import check_peft
from pgkd.students._text_classifier import TextClassifier
from pgkd.students._tokens import TextReader, get_reader
from pgkd.students._training import MULTILABEL, fine_tune, is_multilabel
from pgkd.system.pretrained import (
    Graph,
    available_devices,
    load_pretrained,
    load_saved,
    pick_device,
    preserve_globals,
    run_in_batches,
    save_pretrained,
)
from pgkd.system.ranks import broadcast


class TransformerStudent(TextClassifier):
    """A pretrained transformer with a classification head, fine-tuned whole.

    In one process, each text is tokenised once for all students with the same `model` and
    `max_length`.

    Parameters
    ----------
    model : str or path, default="bert-base-uncased"
        An id on the Hugging Face hub, or a directory.
    n_epochs : int, default=20
        Passes over the training texts, at most.
    n_epochs_partial : int, default=5
        Passes over the texts of a `partial_fit`.
    learning_rate : float, default=1e-4
        Peak of the rate, which then falls linearly to 0. Meant for BERT's size; a small model such
        as MiniLM learns better with 5e-4.
    batch_size : int, default=16
        Texts of a training step; several processes (``torchrun``) share them out.
    max_length : int, default=128
        Tokens of a text that are read, or the model's own limit if that is less.
    weight_decay : float, default=0.01
    warmup_ratio : float, default=0.1
        Share of the training steps, in [0, 1], in which the rate rises.
    class_weight : {"balanced"} or dict of label to float, default=None
        Factors of what each class adds to the loss; a label that is not in the dict has 1.
        ``"balanced"``: the sample weights of each class add up to the same.
    lora_rank : int, default=None
        Train low-rank adapters of this rank (8 is common) and the head instead of all weights: less
        memory for a large model, but a larger `learning_rate` is needed, about 5 times. They are
        merged into the weights at the end, so that nothing else changes. Needs
        ``pip install "pgkd[lora]"``.
    validation_fraction : float, default=None
        Share of the texts of `fit`, in (0, 1), that is not learnt but used as validation texts, if
        `fit` gets none. Every class keeps a text that is learnt.
    patience : int, default=3
        Stop when the validation loss has not been less for so many epochs. ``None``: train all
        `n_epochs`. Without validation texts it has no effect.
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
        Loss on the validation texts after each epoch of `fit`, in nats a text; empty without such
        texts.

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

    validation_loss_: list[float]
    _reader: TextReader

    _parameter_constraints = {  # noqa: RUF012
        "model": [str, os.PathLike],
        "n_epochs": [Interval(Integral, 1, None, closed="left")],
        "n_epochs_partial": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_length": [Interval(Integral, 1, None, closed="left")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "warmup_ratio": [Interval(Real, 0, 1, closed="both")],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "lora_rank": [Interval(Integral, 1, None, closed="left"), None],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "patience": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
        "device": [StrOptions({"cpu", "cuda", "mps"}), None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        model: str | os.PathLike[str] = "bert-base-uncased",
        *,
        n_epochs: int = 20,
        n_epochs_partial: int = 5,
        learning_rate: float = 1e-4,
        batch_size: int = 16,
        max_length: int = 128,
        weight_decay: float = 0.01,
        warmup_ratio: float = 0.1,
        class_weight: Any = None,
        lora_rank: int | None = None,
        validation_fraction: float | None = None,
        patience: int | None = 3,
        random_state: Any = None,
        device: str | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.model = model
        self.n_epochs = n_epochs
        self.n_epochs_partial = n_epochs_partial
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_length = max_length
        self.weight_decay = weight_decay
        self.warmup_ratio = warmup_ratio
        self.class_weight = class_weight
        self.lora_rank = lora_rank
        self.validation_fraction = validation_fraction
        self.patience = patience
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
        soft_labels: Any = None,
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
            them are kept, instead of the last ones, and training stops early (`patience`).
        soft_labels : array-like of shape (n_texts, n_classes), default=None
            Probabilities that are learnt in place of `y`; columns in the sorted order of the labels
            in `y`, which has each of them at least once.

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
        ImportError
            If `lora_rank` is given and peft is not installed.
        """
        self._check()
        texts = check_texts(X)
        target = check_target(y, len(texts))
        if target.multilabel and not (soft_labels is None and self.class_weight is None):
            raise InvalidInputError(
                "`soft_labels` and `class_weight` of TransformerStudent are for one label a text, "
                "and y has several: leave them out, or weigh texts by `sample_weight`."
            )
        lesson = make_lesson(texts, target, sample_weight)
        if soft_labels is not None:
            targets = check_soft_labels(soft_labels, target.y, target.classes)
            lesson = replace(lesson, targets=targets)
        validation = None
        if (given := check_validation(X_val, y_val, target)) is not None:
            validation = make_lesson(given[0], replace(target, y=given[1]))
        seed = self._draw_seed()
        if validation is None and self.validation_fraction is not None:
            lesson, validation = lesson.hold_out(target.y, self.validation_fraction, seed)
        return self._fit(lesson, validation, target, seed)

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> TransformerStudent:
        """Go on from the weights that the model has, for `n_epochs_partial` passes over the texts.

        What it has learnt before fades: give it the former texts again beside the new ones.

        Parameters
        ----------
        X : list, 1-D array or Series of str, of shape (n_texts,)
        y : array-like of shape (n_texts,)
            Labels. A student that is not fitted yet is trained as by `fit`.
        classes : array-like of shape (n_classes,), default=None
            All labels that there are. ``None``: those of the first `y`.
        sample_weight : array-like of shape (n_texts,), default=None
            As in `fit`.

        Returns
        -------
        self : TransformerStudent

        Raises
        ------
        InvalidInputError
            If there is a label which is none of ``classes_``, or anything else that `fit` refuses.
        """
        self._check()
        texts = check_texts(X)
        is_first = not hasattr(self, "classes_")
        if find_kind(y) != "labels" or (self.multilabel_ and not is_first):
            if is_first:
                return self.fit(texts, y, sample_weight)
            target = replace(self._target, y=self._target.check_more(y, len(texts), "y"))
        else:
            labels = check_labels(y, len(texts))
            target = Target(labels, check_known(labels, classes, getattr(self, "classes_", None)))
        lesson = make_lesson(texts, target, sample_weight)
        seed = self._draw_seed()
        if is_first:
            return self._fit(lesson, None, target, seed)
        if not target.multilabel:
            lesson = weigh_classes(lesson, self.class_weight, target.classes)
        with preserve_globals():
            self._train(self.model_, self._reader, lesson, None, self.n_epochs_partial, seed)
        self.validation_loss_ = []
        return self

    def _fit(
        self, lesson: Lesson, validation: Lesson | None, target: Target, seed: int
    ) -> TransformerStudent:
        """Train a new model."""
        classes = target.classes
        lesson = weigh_classes(lesson, self.class_weight, classes)
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
            model.config.problem_type = MULTILABEL if lesson.multilabel else None
            reader = get_reader(self.model, tokenizer, self.max_length)
            losses = self._train(model, reader, lesson, validation, self.n_epochs, seed)

        self.classes_ = classes
        self._target_kind = target.kind
        self.model_ = model
        self.tokenizer_ = tokenizer
        self.validation_loss_ = losses
        self._reader = reader
        return self

    def _check(self) -> None:
        self._validate_params()
        if self.device not in (None, *available_devices()):
            raise InvalidInputError(
                f"The `device` parameter of TransformerStudent is {self.device!r}, and this "
                f"machine has {available_devices()}: pass one of these, or None for the first."
            )
        if self.lora_rank is not None:
            check_peft()

    def _draw_seed(self) -> int:
        rng = check_random_state(self.random_state)
        return broadcast(int(rng.randint(np.iinfo(np.int32).max)))

    def _train(
        self,
        model: Any,
        reader: TextReader,
        lesson: Lesson,
        validation: Lesson | None,
        n_epochs: int,
        seed: int,
    ) -> list[float]:
        """Train `model` in place, and return the validation losses."""

        def validation_loss(model: Any) -> float:
            assert validation is not None
            probabilities = self._apply(model, reader, validation.texts)
            return broadcast(validation.measure_loss(probabilities))  # all stop at the same epoch

        return fine_tune(
            model,
            reader.tokenizer,
            lesson.make_rows(reader.read(lesson.texts)),
            n_epochs=n_epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            weight_decay=self.weight_decay,
            warmup_ratio=self.warmup_ratio,
            lora_rank=self.lora_rank,
            patience=self.patience,
            seed=seed,
            device=pick_device(self.device),
            verbose=bool(self.verbose),
            validation_loss=None if validation is None else validation_loss,
        )

    def _predict_proba(self, texts: list[str]) -> FloatArray:
        return self._apply(self.model_, self._reader, texts)

    def _apply(self, model: Any, reader: TextReader, texts: list[str]) -> FloatArray:
        logits = run_in_batches(
            _logits,
            model,
            reader.read_batch,
            texts,
            batch_size=4 * self.batch_size,  # without gradients, more fit into memory
            device=pick_device(self.device),
        )
        logits = logits.astype(np.float64)
        probabilities: FloatArray = (
            expit(logits) if is_multilabel(model) else softmax(logits, axis=1)
        )
        return probabilities

    def _make_graph(self) -> Graph:
        return Graph(
            _logits, self.model_, self.tokenizer_, self._reader.max_length, self.multilabel_
        )

    def _save(self, directory: Path, *, is_whole: bool) -> None:
        save_pretrained(self.model_, self.tokenizer_, directory)

    def _load(self, directory: Path, document: dict[str, Any]) -> None:
        self.model_, self.tokenizer_ = load_saved(AutoModelForSequenceClassification, directory)
        self.validation_loss_ = []
        self._reader = TextReader(self.tokenizer_, self.max_length)

    def __getstate__(self) -> Any:
        """Pickle the weights on the CPU, for machines without this one's GPU."""
        if hasattr(self, "model_"):
            self.model_.to("cpu")
        return super().__getstate__()


def _logits(model: Any, batch: Any) -> Any:
    return model(**batch).logits
