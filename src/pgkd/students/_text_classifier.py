"""What all students have in common: scikit-learn's contract for texts, and a JSON file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_is_fitted

from pgkd._version import __version__
from pgkd.exceptions import PersistenceError
from pgkd.inputs.labels import THRESHOLD, indicate, to_sets
from pgkd.inputs.targets import Target
from pgkd.inputs.text import check_stream
from pgkd.inputs.validation import check_labels, check_texts
from pgkd.records import FloatArray, Label, LabelArray
from pgkd.system.artefacts import (
    TRIAL,
    check_folder,
    check_probabilities,
    is_fault,
    read_classes,
    read_json,
    read_kind,
)
from pgkd.system.component import Component
from pgkd.system.files import jsonable, list_files, replacing

if TYPE_CHECKING:
    from typing_extensions import Self

    from pgkd.export.writer import Parity

FILE = "student.json"


class BaseTextClassifier(ClassifierMixin, Component):  # type: ignore[misc]
    """A scikit-learn classifier whose samples are texts.

    A subclass has `fit` and `_predict_proba`.
    """

    classes_: LabelArray
    _target_kind: str = "labels"  # what `fit` got, as in `Target.kind`

    def predict_proba(self, X: Any) -> FloatArray:
        """Return class probabilities.

        Parameters
        ----------
        X : list, 1-D array or Series of str, of shape (n_texts,)

        Returns
        -------
        probabilities : array of shape (n_texts, n_classes)
            Float64; columns in the order of ``classes_``; each row sums to 1, but with several
            labels a text, each of which has a probability by itself.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        InvalidInputError
            If `X` is no sequence of str.
        """
        check_is_fitted(self)
        texts = check_texts(X, allow_empty=True)
        if not texts:
            return np.empty((0, len(self.classes_)))
        return self._predict_proba(texts)

    def predict(self, X: Any) -> Any:
        """Return the most probable class of each text, shape (n_texts,).

        With several labels a text: those whose probability is above their threshold, as an
        indicator matrix of shape (n_texts, n_classes), or as a list of tuples if `fit` got lists of
        labels.
        """
        given = self._decide(self.predict_proba(X))
        return to_sets(given, self.classes_) if self._target_kind == "sets" else given

    @property
    def multilabel_(self) -> bool:
        """Whether texts have several labels each."""
        return self._target_kind != "labels"

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy: with several labels, the share of texts whose labels are all right.

        Parameters
        ----------
        X : list, 1-D array or Series of str, of shape (n_texts,)
        y
            True labels, in a form that `fit` takes.
        sample_weight : array-like of shape (n_texts,), default=None

        Returns
        -------
        score : float
        """
        if not self.multilabel_:
            given = self.predict(X)
            true = check_labels(y, len(given))
            return float(accuracy_score(true, given, sample_weight=sample_weight))
        texts = check_texts(X)
        true = indicate(self._target.check_more(y, len(texts), "y"), self.classes_)
        given = self._decide(self.predict_proba(texts))
        return float(accuracy_score(true, given, sample_weight=sample_weight))

    @property
    def _target(self) -> Target:
        """The form of the labels, without any."""
        return Target(np.empty(0), self.classes_, self._target_kind)

    def _decide(self, probabilities: FloatArray) -> Any:
        return self._target.predict(probabilities, getattr(self, "label_thresholds_", THRESHOLD))

    def predict_iter(
        self, X: Iterable[str], *, window_size: int = 2048, **params: Any
    ) -> Iterator[Label]:
        """Yield the label of each text, in the order of the texts.

        Any number of texts takes the same memory: they are read a window at a time, as the labels
        are asked for.

        Parameters
        ----------
        X : iterable of str
            A generator, lines of a file, rows of a database.
        window_size : int, default=2048
            Texts that are read before the first label, and predicted together.
        **params
            Passed to `predict`.

        Yields
        ------
        label : str, int or bool
            With several labels a text, the tuple of them.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        InvalidInputError
            If a text is no str: after the labels of all windows before it.
        """
        check_is_fitted(self)
        check_stream(X, "X", window_size)
        return self._predict_windows(iter(X), window_size, params)

    def _predict_windows(
        self, texts: Iterator[str], size: int, params: dict[str, Any]
    ) -> Iterator[Label]:
        n_done = 0
        while window := list(islice(texts, size)):
            checked = check_texts(window, f"X[{n_done}:{n_done + len(window)}]")
            labels = self.predict(checked, **params)
            yield from labels if isinstance(labels, list) else self._target.decode(labels)
            n_done += len(window)

    def _predict_proba(self, texts: list[str]) -> FloatArray:
        raise NotImplementedError

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags


class TextClassifier(BaseTextClassifier):
    """A text classifier that can be saved without pickle.

    A subclass has `fit`, `_predict_proba`, `_save` and `_load`.
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Save the fitted student to a directory, pretrained weights included, without pickle.

        Parameters
        ----------
        directory : str or path
            Created if need be; must be empty or hold a saved student and nothing else, which is
            replaced.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        PersistenceError
            If the directory holds anything else or cannot be replaced, or a part cannot be saved
            without pickle; nothing is changed then.
        """
        self._write(Path(directory), is_whole=True)

    def _save_trained(self, directory: Path) -> None:
        """Save what training has changed; `load` finds the rest where `fit` did."""
        self._write(directory, is_whole=False)

    def _write(self, path: Path, *, is_whole: bool) -> None:
        check_is_fitted(self)
        with replacing(path, "save", FILE) as draft:
            self._save(draft, is_whole=is_whole)
            params = self.get_params(deep=False)
            document = {
                "class": type(self).__name__,
                "pgkd": __version__,
                "files": list_files(draft),
                "is_whole": is_whole,
                "params": jsonable(params) | _list_items(params),
                "classes": self.classes_.tolist(),
                "classes_dtype": self.classes_.dtype.str,
                "target_kind": self._target_kind,
            }
            text = json.dumps(document, ensure_ascii=False, indent=1)
            (draft / FILE).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> Self:
        """Load a student that `save` wrote; needs neither the hub nor the original model.

        Parameters
        ----------
        directory : str or path

        Returns
        -------
        student
            Fitted; it predicts the same probabilities as before.

        Raises
        ------
        PersistenceError
            If `directory` holds no student of this class, or a damaged one.
        """
        return cls._read(Path(directory))

    @classmethod
    def _load_trained(cls, directory: Path) -> Self:
        """Load what `_save_trained` wrote; a stranger's could name any model."""
        return cls._read(directory, is_whole=False)

    @classmethod
    def _read(cls, path: Path, *, is_whole: bool = True) -> Self:
        if not (path / FILE).is_file():
            raise PersistenceError(
                f"{str(path)!r} is no saved student: it has no {FILE}. Pass the directory "
                "given to `save`."
            )
        try:
            check_folder(path)
            document = read_json(path / FILE)
            if document["class"] != cls.__name__:
                raise PersistenceError(
                    f"{str(path)!r} holds a student of class {document['class']}: use "
                    f"{document['class']}.load."
                )
            if is_whole and not document.get("is_whole", True):
                raise PersistenceError(
                    f"{str(path)!r} was kept for a run, without the weights of its encoder: pass "
                    "the directory given to `save`."
                )
            params = document["params"]
            student = cls(**{k: dict(v) if isinstance(v, list) else v for k, v in params.items()})
            student._validate_params()
            student._target_kind = read_kind(document)
            student.classes_ = read_classes(document)
            student._load(path, document)
            found = student.predict_proba([TRIAL])  # whether it can answer is found out now
            check_probabilities(found, len(student.classes_), multilabel=student.multilabel_)
        except BaseException as error:
            if isinstance(error, PersistenceError) or not is_fault(error):
                raise
            raise PersistenceError(
                f"The student in {str(path)!r} is damaged ({type(error).__name__}: {error}): save "
                "it again."
            ) from error
        return student

    def export(
        self,
        directory: str | os.PathLike[str],
        *,
        format: str | None = None,
        quantize: str | None = None,
        texts: Any = None,
        min_agreement: float = 0.99,
    ) -> Parity:
        """Write a directory that predicts without torch, transformers and scikit-learn.

        :func:`pgkd.runtime.load` opens it. What it answers to `texts` is compared with what this
        one answers, before the directory is in its place.

        Parameters
        ----------
        directory : str or path
            Created if need be; must be empty or hold an export and nothing else, which is replaced.
        format : {"onnx", "openvino", "numpy"}, default=None
            ``None``: ``"numpy"`` for a `StaticStudent`, which has no other, else ``"onnx"``.
        quantize : "int8" or None, default=None
            ``"int8"``: a quarter of the size, and answers that differ a little; whether it is
            faster depends on the CPU.
        texts : list, 1-D array or Series of str, default=None
            Texts like those to come, for the comparison. ``None``: the labelled ones that `fit`
            got, or after `load` the generated ones; a student by itself has none.
        min_agreement : float, default=0.99
            With `quantize`, the share of `texts` that must get the same class. Without, all must,
            and no probability may differ by more than 0.001.

        Returns
        -------
        parity : Parity
            What was measured; it is in the directory's ``pgkd.json`` and ``README.md`` as well.

        Raises
        ------
        sklearn.exceptions.NotFittedError
        ExportError
            If the student is neither a `TransformerStudent` nor an `EmbeddingStudent` or
            `StaticStudent` with a logistic regression, or the export does not answer as it should.
        InvalidInputError
            If a parameter cannot work.
        ImportError
            Without the packages that ``pip install "pgkd[onnx]"`` or ``"pgkd[openvino]"`` bring.
        PersistenceError
            If the directory holds anything else or cannot be replaced.

        Notes
        -----
        Nothing is left in `directory`, or changed, if it fails.
        """
        from pgkd.export.writer import export

        check_is_fitted(self)
        return export(
            self,
            directory,
            format=format,
            quantize=quantize,
            texts=texts,
            min_agreement=min_agreement,
        )

    def _save(self, directory: Path, *, is_whole: bool) -> None:
        raise NotImplementedError

    def _load(self, directory: Path, document: dict[str, Any]) -> None:
        raise NotImplementedError


def _list_items(values: Mapping[str, Any]) -> dict[str, Any]:
    """Make lists of pairs of the dicts, because JSON would turn each key into a str."""
    return {
        name: [
            [part.item() if isinstance(part, np.generic) else part for part in pair]
            for pair in value.items()
        ]
        for name, value in values.items()
        if isinstance(value, dict)
    }
