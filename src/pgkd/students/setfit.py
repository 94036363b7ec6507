"""SetFit: the encoder of an `EmbeddingStudent` learns which texts are alike."""

from __future__ import annotations

import math
import os
from importlib.util import find_spec
from numbers import Integral, Real
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _check_sample_weight

from pgkd.exceptions import StudentError
from pgkd.inputs.labels import has_sets
from pgkd.inputs.validation import check_classes
from pgkd.records import LabelArray
from pgkd.students._encoder import Encoder, make_encoder
from pgkd.students.embedding import EmbeddingStudent
from pgkd.system.pretrained import preserve_globals


class SetFitStudent(EmbeddingStudent):
    """A linear classifier over an encoder that the setfit package has tuned with pairs of texts.

    Embeddings of texts of one class are drawn together, those of different classes apart; then a
    linear head is trained, as of an `EmbeddingStudent`. It is meant for few texts a class. `fit`
    needs ``pip install "pgkd[setfit]"``; what is saved or exported does not.

    Parameters
    ----------
    model : str or path, default="sentence-transformers/all-MiniLM-L6-v2"
        An encoder: an id on the Hugging Face hub, or a directory.
    pairs_per_text : int, default=20
        For each text, so many pairs are made and learnt from in an epoch, half of them of texts of
        the same class. setfit's ``num_iterations`` is half of it.
    n_epochs : int, default=1
    learning_rate : float, default=2e-5
    head : classifier, default=None
        Any scikit-learn classifier with `predict_proba`. ``None``:
        ``LogisticRegression(C=100, tol=1e-5, max_iter=1000)``.
    max_length : int, default=128
        Tokens of a text that are read, or the model's own limit if that is less.
    batch_size : int, default=16
        Pairs learnt from at once, and texts embedded at once.
    random_state : int, RandomState instance or None, default=None
        Chooses the pairs, their order and what dropout drops.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
    head_ : classifier
        The trained head.
    encoder_ : Encoder
        The tuned encoder.

    Notes
    -----
    A weight of 0 leaves a text out; other sample weights only concern the head, since a pair has
    none. Memory grows with the square of the number of texts, because setfit numbers all pairs:
    about 20 MB for 1,000 texts, 2 GB for 10,000.

    References
    ----------
    Tunstall et al. (2022), "Efficient few-shot learning without prompts",
    https://arxiv.org/abs/2209.11055

    Examples
    --------
    >>> from pgkd.students import SetFitStudent
    >>> student = SetFitStudent(random_state=0)
    >>> student = student.fit(["good film", "dull plot"], ["pos", "neg"])  # doctest: +SKIP
    >>> student.predict_proba(["a great film"]).shape  # doctest: +SKIP
    (1, 2)
    """

    _parameter_constraints = {  # noqa: RUF012
        **EmbeddingStudent._parameter_constraints,
        "pairs_per_text": [Interval(Integral, 2, None, closed="left")],
        "n_epochs": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        model: str | os.PathLike[str] = "sentence-transformers/all-MiniLM-L6-v2",
        *,
        pairs_per_text: int = 20,
        n_epochs: int = 1,
        learning_rate: float = 2e-5,
        head: Any = None,
        max_length: int = 128,
        batch_size: int = 16,
        random_state: Any = None,
    ) -> None:
        self.model = model
        self.pairs_per_text = pairs_per_text
        self.n_epochs = n_epochs
        self.learning_rate = learning_rate
        self.head = head
        self.max_length = max_length
        self.batch_size = batch_size
        self.random_state = random_state

    _has_frozen_encoder = False

    def _get_encoder(self, texts: list[str], labels: LabelArray, sample_weight: Any) -> Encoder:
        """Tune a copy of the encoder."""
        if not find_spec("setfit"):
            raise ImportError('setfit is not installed: pip install "pgkd[setfit]".')
        if has_sets(labels):
            raise StudentError(
                "SetFitStudent learns one label a text, and `y` has several: use EmbeddingStudent, "
                "StaticStudent or TransformerStudent."
            )
        rng = check_random_state(self.random_state)
        kept = np.arange(len(texts))
        if sample_weight is not None:
            kept = np.flatnonzero(_check_sample_weight(sample_weight, texts))
        classes = check_classes(labels[kept])
        order = rng.permutation(kept)  # the pairs that setfit chooses depend on it alone
        numbers = np.searchsorted(classes, labels[order]).tolist()
        with TemporaryDirectory() as directory:
            pretrained, tuned = Path(directory, "pretrained"), Path(directory, "tuned")
            make_encoder(self.model, self.max_length).save(pretrained)
            with preserve_globals():
                self._tune(
                    pretrained,
                    tuned,
                    [texts[i] for i in order],
                    numbers,
                    int(rng.randint(np.iinfo(np.int32).max)),
                )
            return make_encoder(tuned, self.max_length)

    def _tune(
        self, pretrained: Path, tuned: Path, texts: list[str], labels: list[int], seed: int
    ) -> None:
        import setfit
        from sentence_transformers import SentenceTransformer
        from transformers import PrinterCallback

        setfit.logging.set_verbosity_error()
        body = SentenceTransformer(str(pretrained))
        body.max_seq_length = min(self.max_length, body.max_seq_length or self.max_length)
        n_iterations = max(1, self.pairs_per_text // 2)
        n_steps = math.ceil(2 * n_iterations * len(texts) / self.batch_size) * self.n_epochs
        arguments = setfit.TrainingArguments(
            output_dir=str(tuned.with_name("checkpoints")),
            batch_size=self.batch_size,
            num_epochs=self.n_epochs,
            num_iterations=n_iterations,
            max_steps=n_steps,  # without it, setfit first lists all pairs of the texts
            body_learning_rate=float(self.learning_rate),
            seed=seed,
            show_progress_bar=False,
            report_to="none",
            logging_strategy="no",
            save_strategy="no",
        )
        trainer = setfit.Trainer(setfit.SetFitModel(body), arguments)
        trainer.pop_callback(PrinterCallback)
        trainer.st_trainer.args.dataloader_pin_memory = torch.cuda.is_available()  # it warns
        trainer.train_embeddings(texts, labels)
        body.save(str(tuned), create_model_card=False)
