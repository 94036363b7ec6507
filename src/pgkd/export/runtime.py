"""Exported classifiers without torch: numpy, tokenizers and one engine are all it takes.

A `StaticStudent` does without the engine.

::

    model.onnx, or openvino_model.xml and .bin    from tokens to logits and probabilities
    model.npz                                     in their place: vectors of tokens, and a head
    tokenizer.json                                cuts texts as the student did
    pgkd.json                                     classes, temperature, threshold, parity
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgkd.exceptions import InvalidInputError, PersistenceError
from pgkd.export.document import TOKENIZER, read_document, read_tokenizer
from pgkd.export.engines import ENGINES, STATIC, list_choices
from pgkd.export.graph import GraphPredictor
from pgkd.export.static import open_static
from pgkd.export.withholding import check_abstain_label, find_unsure, withhold
from pgkd.inputs.columns import to_list
from pgkd.inputs.labels import decide, indicate, to_sets
from pgkd.inputs.text import check_stream, is_valid
from pgkd.system.artefacts import (
    TRIAL,
    check_probabilities,
    is_fault,
    read_classes,
    read_number,
    read_thresholds,
)

__all__ = ["ExportedClassifier", "load"]


def load(
    directory: str | os.PathLike[str],
    *,
    engine: str = "auto",
    precision: str = "float32",
    batch_size: int = 32,
    n_threads: int | None = None,
    verbose: bool | int = False,
) -> ExportedClassifier:
    """Open a directory that `export` wrote, on the CPU.

    Parameters
    ----------
    directory : str or path
    engine : {"auto", "onnxruntime", "openvino", "numpy"}, default="auto"
        OpenVINO runs both formats, ONNX Runtime its own, and numpy a `StaticStudent`. ``"auto"``:
        of those that are installed the fastest here, by a trial of a few batches; it takes up to a
        second or two.
    precision : {"auto", "float32", "bfloat16"}, default="float32"
        Bfloat16 is much faster on CPUs that have instructions for it (AVX512-BF16, AMX), takes
        OpenVINO, and changes probabilities in the third digit, which the parity measured by
        `export` does not cover. ``"auto"``: where it is there, and faster in the trial.
    batch_size : int, default=32
        Texts computed at once.
    n_threads : int, default=None
        Threads of the engine. ``None``: as many as it likes.
    verbose : bool, default=False
        Whether to show a progress bar while predicting.

    Returns
    -------
    classifier : ExportedClassifier

    Raises
    ------
    PersistenceError
        If the directory holds no exported classifier, a damaged one, one of a newer version, or one
        that `engine` cannot run.
    InvalidInputError
        If there is no such engine or precision, the CPU has no bfloat16, or a number is below 1.
    ImportError
        If the engine is not installed.

    Examples
    --------
    >>> import pgkd.runtime
    >>> clf = pgkd.runtime.load("model-onnx")  # doctest: +SKIP
    >>> clf.predict(["my card has not arrived"])  # doctest: +SKIP
    array(['card'], dtype='<U4')
    """
    path = Path(directory)
    document = read_document(path)
    return ExportedClassifier(
        path,
        document,
        engine=engine,
        precision=precision,
        batch_size=batch_size,
        n_threads=n_threads,
        verbose=verbose,
    )


class ExportedClassifier:
    """A classifier that `load` opened. Threads may share it; a pickle names its directory.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
        The student's, in the order of the columns of `predict_proba`.
    engine, precision : str
        What computes, and in which numbers.
    temperature_ : float
        By which the logits were divided, in the graph itself.
    threshold_ : float or None
        The least probability of a label for `abstain_label`; ``None`` if there was none to export.
    label_thresholds_ : array of shape (n_classes,) or None
        With several labels a text, the probabilities above which each is given.
    document : dict
        What ``pgkd.json`` says: versions, the longest text in tokens, the measured parity.
    """

    def __init__(
        self,
        directory: Path,
        document: dict[str, Any],
        *,
        engine: str = "auto",
        precision: str = "float32",
        batch_size: int = 32,
        n_threads: int | None = None,
        verbose: bool | int = False,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("n_threads", n_threads)):
            if value is not None and not (isinstance(value, Integral) and value >= 1):
                raise InvalidInputError(f"`{name}` must be an int of 1 or more. Got {value!r}.")
        file = str(document.get("model"))
        if file not in ENGINES:
            raise PersistenceError(
                f"The export in {str(directory)!r} is damaged: its model is {file!r}. Export it "
                "again."
            )
        path = directory / file
        self._batch_size = batch_size
        try:
            self.classes_ = read_classes(document)
            self.label_thresholds_ = read_thresholds(document)
            self.temperature_ = read_number(document.get("temperature", 1.0), "temperature", 0, 1e3)
            self.threshold_: float | None = document.get("threshold")
            if self.threshold_ is not None:
                read_number(self.threshold_, "threshold", 0, 1 + 1e-6)
            tokenizer = read_tokenizer(directory / TOKENIZER)
            self._predict_window: Callable[[list[str]], NDArray[np.float64]]
            if file == STATIC:
                ((self.engine, self.precision),) = list_choices(path, engine, precision)
                self._predict_window = open_static(
                    path, tokenizer, document["max_length"], multilabel=self.multilabel_
                )
            else:
                self._graph = GraphPredictor(
                    path,
                    tokenizer,
                    engine,
                    precision,
                    n_classes=len(self.classes_),
                    batch_size=batch_size,
                    n_threads=n_threads,
                )
                self.engine, self.precision = self._graph.engine.name, self._graph.engine.precision
                self._predict_window = self._run_graph
            found = self._predict_window([TRIAL])  # whether it can answer is found out now
            check_probabilities(found, len(self.classes_), multilabel=self.multilabel_)
        except BaseException as error:
            expected = (ImportError, InvalidInputError, PersistenceError)
            if isinstance(error, expected) or not is_fault(error):
                raise
            raise PersistenceError(
                f"The export in {str(directory)!r} is damaged, or made for another version of "
                f"its engine ({type(error).__name__}: {error}): export it again."
            ) from error
        self.document = document
        self._directory = os.path.abspath(directory)
        self._n_threads = n_threads
        self._verbose = verbose

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle where it was opened: another process opens the directory again."""
        options: dict[str, Any] = {
            "engine": self.engine,
            "precision": self.precision,
            "batch_size": self._batch_size,
            "n_threads": self._n_threads,
            "verbose": self._verbose,
        }
        return partial(load, **options), (self._directory,)

    def __repr__(self) -> str:
        return (
            f"ExportedClassifier({len(self.classes_)} classes, {self.document['model']!r}, "
            f"{self.engine}, {self.precision})"
        )

    @property
    def multilabel_(self) -> bool:
        """Whether texts have several labels each."""
        return self.label_thresholds_ is not None

    def predict_proba(self, texts: Iterable[str]) -> NDArray[np.float64]:
        """Return class probabilities.

        Parameters
        ----------
        texts : iterable of str

        Returns
        -------
        probabilities : array of shape (n_texts, n_classes)
            Columns in the order of ``classes_``; each row sums to 1, but with several labels a
            text.

        Raises
        ------
        InvalidInputError
            If a text is no str.
        """
        windows = list(self._stream(texts, 64 * self._batch_size))
        return np.concatenate([np.empty((0, len(self.classes_))), *windows])

    def predict(self, texts: Iterable[str], abstain_label: str | int | bool | None = None) -> Any:
        """Return the most probable class of each text.

        Parameters
        ----------
        texts : iterable of str
        abstain_label : str, int or bool, default=None
            For texts that the student is less sure of than ``threshold_``; none of the classes.
            ``None``: every text gets a class.

        Returns
        -------
        labels : array of shape (n_texts,)
            With several labels a text, what the student's `predict` returns: an indicator matrix of
            shape (n_texts, n_classes), or a list of tuples.

        Raises
        ------
        InvalidInputError
            If a text is no str, or for an `abstain_label` without a threshold.
        """
        size = 64 * self._batch_size
        if self.multilabel_:
            windows = self._label(texts, abstain_label, size)
            sets = [own for window in windows for own in window]
            is_list = self.document["target_kind"] == "sets"
            return sets if is_list else indicate(sets, self.classes_)
        self._check_abstention(abstain_label)
        # Names take many times the memory of columns, which is needed twice.
        columns, unsure = [np.empty(0, dtype=np.int32)], [np.empty(0, dtype=bool)]
        for rows in self._stream(texts, size):
            columns.append(rows.argmax(axis=1).astype(np.int32))
            if abstain_label is not None:
                unsure.append(find_unsure(rows, self.threshold_))
        labels = self.classes_[np.concatenate(columns)]
        if abstain_label is None:
            return labels
        return withhold(labels, np.concatenate(unsure), abstain_label)

    def abstains(self, texts: Iterable[str]) -> NDArray[np.bool_]:
        """Return which texts the student is less sure of than ``threshold_``.

        Parameters
        ----------
        texts : iterable of str

        Returns
        -------
        unsure : array of bool of shape (n_texts,)

        Raises
        ------
        InvalidInputError
            If a text is no str, or there was no threshold to export.
        """
        return find_unsure(self.predict_proba(texts), self.threshold_)

    def predict_proba_iter(
        self, texts: Iterable[str], *, window_size: int = 2048
    ) -> Iterator[NDArray[np.float64]]:
        """Yield the probabilities of each text, shape (n_classes,), in the order of the texts.

        Any number of texts takes the same memory: they are read a window at a time, as the answers
        are asked for.

        Parameters
        ----------
        texts : iterable of str
            A generator, lines of a file, rows of a database.
        window_size : int, default=2048
            Texts that are read before the first answer, and sorted by length together, so that
            little of a batch is padding.

        Yields
        ------
        probabilities : array of shape (n_classes,)

        Raises
        ------
        InvalidInputError
            If a text is no str: after the answers of all windows before it.
        """
        return (row for rows in self._stream(texts, window_size) for row in rows)

    def predict_iter(
        self,
        texts: Iterable[str],
        *,
        window_size: int = 2048,
        abstain_label: str | int | bool | None = None,
    ) -> Iterator[Any]:
        """Yield the label of each text, as `predict_proba_iter` yields its probabilities.

        In Python's own types, which e.g. JSON takes; `abstain_label` is that of `predict`. With
        several labels a text, the tuple of them.
        """
        windows = self._label(texts, abstain_label, window_size)
        if self.multilabel_:
            return (own for sets in windows for own in sets)
        return (label for labels in windows for label in labels.tolist())

    def _label(self, texts: Iterable[str], abstain_label: Any, size: int) -> Iterator[Any]:
        """Label window by window, so that probabilities of all texts are never held."""
        windows = self._stream(texts, size)
        if abstain_label is None and self.multilabel_:
            thresholds = self.label_thresholds_
            return (to_sets(decide(rows, thresholds), self.classes_) for rows in windows)
        if abstain_label is None:
            return (self.classes_[rows.argmax(axis=1)] for rows in windows)
        self._check_abstention(abstain_label)
        return (
            withhold(
                self.classes_[rows.argmax(axis=1)],
                find_unsure(rows, self.threshold_),
                abstain_label,
            )
            for rows in windows
        )

    def _check_abstention(self, abstain_label: Any) -> None:
        """Check that labels can be withheld, before the work."""
        if abstain_label is not None:
            check_abstain_label(abstain_label, self.classes_)
            find_unsure(np.empty((0, 1)), self.threshold_)

    def _stream(self, texts: Iterable[str], size: int) -> Iterator[NDArray[np.float64]]:
        check_stream(texts, "Texts", size)
        return self._predict_windows(self._show_progress(texts), size)

    def _show_progress(self, texts: Iterable[str]) -> Iterator[str]:
        if not self._verbose:
            return iter(texts)
        try:
            from tqdm.auto import tqdm
        except ImportError as error:
            raise ImportError("`verbose=True` needs tqdm: pip install tqdm.") from error
        return iter(tqdm(texts, unit=" texts"))

    def _predict_windows(self, texts: Iterator[str], size: int) -> Iterator[NDArray[np.float64]]:
        n_done = 0
        while window := to_list(islice(texts, size)):
            _check(window, n_done)
            yield self._predict_window(window)
            n_done += len(window)

    def _run_graph(self, texts: list[str]) -> NDArray[np.float64]:
        found = self._graph.predict(texts)
        return found if self.multilabel_ else found / found.sum(axis=1, keepdims=True)


def _check(texts: Sequence[Any], n_before: int) -> None:
    for i, text in enumerate(texts, n_before):
        if not isinstance(text, str):
            raise InvalidInputError(
                f"Texts must be str. Got {text!r} at position {i} instead: leave it out, or "
                "convert it with str."
            )
        if not is_valid(text):
            raise InvalidInputError(
                f"Texts must be valid Unicode. Got {text!r} at position {i}: drop its surrogates, "
                "e.g. text.encode(errors='ignore').decode()."
            )
