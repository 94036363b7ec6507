"""Exported classifiers without torch: numpy, tokenizers and one engine are all it takes.

::

    model.onnx, or openvino_model.xml and .bin    from tokens to logits and probabilities
    tokenizer.json                                cuts texts as the student did
    pgkd.json                                     classes, versions, the measured parity
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgkd.exceptions import InvalidInputError, PersistenceError
from pgkd.label_sets import decide, to_sets

#: 2: several labels a text.
FORMAT = 2
DOCUMENT, ONNX, OPENVINO, TOKENIZER = (
    "pgkd.json",
    "model.onnx",
    "openvino_model.xml",
    "tokenizer.json",
)
#: What can run which file, the first choice first.
ENGINES = {ONNX: ("onnxruntime", "openvino"), OPENVINO: ("openvino",)}
#: The names in the graph.
OUTPUTS = ("logits", "probabilities")

_Run = Callable[[Mapping[str, NDArray[np.int64]]], NDArray[np.float32]]

__all__ = ["ExportedClassifier", "load"]


def load(
    directory: str | os.PathLike[str],
    *,
    engine: str = "auto",
    batch_size: int = 32,
    n_threads: int | None = None,
) -> ExportedClassifier:
    """Open a directory that `export` wrote, on the CPU.

    Parameters
    ----------
    directory : str or path
    engine : {"auto", "onnxruntime", "openvino"}, default="auto"
        OpenVINO runs both formats, ONNX Runtime its own. ``"auto"``: ONNX Runtime, where it can.
    batch_size : int, default=32
        Texts computed at once.
    n_threads : int, default=None
        Threads of the engine. ``None``: as many as it likes.

    Returns
    -------
    classifier : ExportedClassifier

    Raises
    ------
    PersistenceError
        If the directory holds no exported classifier, a damaged one, one of a newer version, or one
        that `engine` cannot run.
    InvalidInputError
        If there is no such engine, or a number is below 1.
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
    document = _read_document(path)
    return ExportedClassifier(
        path, document, engine=engine, batch_size=batch_size, n_threads=n_threads
    )


class ExportedClassifier:
    """A classifier that `load` opened. Threads may share it.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
        The student's, in the order of the columns of `predict_proba`.
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
        batch_size: int = 32,
        n_threads: int | None = None,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("n_threads", n_threads)):
            if value is not None and value < 1:
                raise InvalidInputError(f"`{name}` must be an int of 1 or more. Got {value}.")
        file = str(document.get("model"))
        engine = _choose(directory, file, engine)
        try:
            self.classes_ = np.array(document["classes"], dtype=document["classes_dtype"])
            self._tokenizer, self._padding = _open_tokenizer(directory / TOKENIZER)
            self._inputs, self._run = _OPEN[engine](directory / file, n_threads)
        except Exception as error:
            if isinstance(error, ImportError):
                raise
            raise PersistenceError(
                f"The export in {str(directory)!r} is damaged, or made for another version of "
                f"{engine} ({type(error).__name__}: {error}): export it again."
            ) from error
        thresholds = document.get("label_thresholds")
        self.label_thresholds_ = None if thresholds is None else np.array(thresholds)
        self.document = document
        self._batch_size = batch_size

    def __repr__(self) -> str:
        return f"ExportedClassifier({len(self.classes_)} classes, {self.document['model']!r})"

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

    def predict(self, texts: Iterable[str]) -> Any:
        """Return the most probable class of each text, shape (n_texts,).

        With several labels a text, what the student's `predict` returns: an indicator matrix, or a
        list of tuples.
        """
        if self.multilabel_:
            given = decide(self.predict_proba(texts), self.label_thresholds_)
            is_list = self.document["target_kind"] == "sets"
            return to_sets(given, self.classes_) if is_list else given
        labels: NDArray[Any] = self.classes_[self.predict_proba(texts).argmax(axis=1)]
        return labels

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

    def predict_iter(self, texts: Iterable[str], *, window_size: int = 2048) -> Iterator[Any]:
        """Yield the label of each text, as `predict_proba_iter` yields its probabilities.

        With several labels a text, the tuple of them.
        """
        if self.multilabel_:
            return (
                to_sets([decide(row, self.label_thresholds_)], self.classes_)[0]
                for row in self.predict_proba_iter(texts, window_size=window_size)
            )
        labels = self.classes_.tolist()  # Python's own types, which e.g. JSON takes
        return (
            labels[row.argmax()] for row in self.predict_proba_iter(texts, window_size=window_size)
        )

    def _stream(self, texts: Iterable[str], size: int) -> Iterator[NDArray[np.float64]]:
        if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
            raise InvalidInputError(
                f"Texts must be an iterable of str. Got a single {type(texts).__name__} instead: "
                "pass [text]."
            )
        if size < 1:
            raise InvalidInputError(f"`window_size` must be an int of 1 or more. Got {size}.")
        return self._predict_windows(iter(texts), size)

    def _predict_windows(self, texts: Iterator[str], size: int) -> Iterator[NDArray[np.float64]]:
        n_done = 0
        while window := list(islice(texts, size)):
            _check(window, n_done)
            yield self._predict_window(window)
            n_done += len(window)

    def _predict_window(self, texts: list[str]) -> NDArray[np.float64]:
        """Compute the longest first: if memory is too small, it shows at once."""
        encodings = self._tokenizer.encode_batch(texts)
        order = np.argsort([-len(encoding) for encoding in encodings], kind="stable")
        found = np.empty((len(texts), len(self.classes_)))
        for start in range(0, len(order), self._batch_size):
            rows = order[start : start + self._batch_size]
            found[rows] = self._run(self._pad([encodings[i] for i in rows]))
        if self.multilabel_:
            return found
        probabilities: NDArray[np.float64] = found / found.sum(axis=1, keepdims=True)
        return probabilities

    def _pad(self, encodings: Sequence[Any]) -> dict[str, NDArray[np.int64]]:
        """Make the graph's inputs, each of shape (n_texts, n_tokens of the longest)."""
        shape = (len(encodings), max(1, *map(len, encodings)))
        fillings = {
            "input_ids": self._padding["pad_id"],
            "attention_mask": 0,
            "token_type_ids": self._padding["pad_type_id"],
        }
        batch = {name: np.full(shape, fillings[name], dtype=np.int64) for name in self._inputs}
        for i, encoding in enumerate(encodings):
            n = len(encoding)
            place = slice(shape[1] - n, None) if self._padding["direction"] == "left" else slice(n)
            values = {
                "input_ids": encoding.ids,
                "attention_mask": encoding.attention_mask,
                "token_type_ids": encoding.type_ids,
            }
            for name in self._inputs:
                batch[name][i, place] = values[name]
        return batch


def _check(texts: Sequence[Any], n_before: int) -> None:
    for i, text in enumerate(texts, n_before):
        if not isinstance(text, str):
            raise InvalidInputError(
                f"Texts must be str. Got {text!r} at position {i} instead: leave it out, or "
                "convert it with str."
            )
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidInputError(
                f"Texts must be valid Unicode. Got {text!r} at position {i}: drop its surrogates, "
                "e.g. text.encode(errors='ignore').decode()."
            ) from error


def _read_document(directory: Path) -> dict[str, Any]:
    if not (directory / DOCUMENT).is_file():
        found = sorted(path.name for path in directory.glob("*"))[:5]
        raise PersistenceError(
            f"{str(directory)!r} is no exported classifier: it has no {DOCUMENT}, but {found}. "
            "Pass the directory given to `export`."
        )
    try:
        document: dict[str, Any] = json.loads((directory / DOCUMENT).read_text(encoding="utf-8"))
        exported = document.get("writer") == "export"
    except (AttributeError, OSError, ValueError) as error:
        raise PersistenceError(
            f"The export in {str(directory)!r} is damaged ({error}): export it again."
        ) from error
    if not exported:
        raise PersistenceError(
            f"{str(directory)!r} was written by `save`, which needs torch or scikit-learn: open it "
            "with PGKDClassifier.load, and `export` it to another directory."
        )
    if document["format"] > FORMAT:
        raise PersistenceError(
            f"{str(directory)!r} was exported by pgkd {document['pgkd']} in format "
            f"{document['format']}, and this one reads up to {FORMAT}: upgrade pgkd."
        )
    return document


def _choose(directory: Path, file: str, engine: str) -> str:
    """Return the engine that runs the model's file."""
    if engine not in ("auto", *ENGINES[ONNX]):
        raise InvalidInputError(
            f"`engine` must be one of {['auto', *ENGINES[ONNX]]}. Got {engine!r}."
        )
    if file not in ENGINES:
        raise PersistenceError(
            f"The export in {str(directory)!r} is damaged: its model is {file!r}. Export it again."
        )
    if engine == "auto":
        installed = [name for name in ENGINES[file] if find_spec(name)]
        return (installed or ENGINES[file])[0]
    if engine not in ENGINES[file]:
        raise PersistenceError(
            f'{str(directory)!r} holds {file}, which {engine} cannot run: pass engine="auto", or '
            'export it with format="onnx".'
        )
    return engine


def _open_tokenizer(path: Path) -> tuple[Any, dict[str, Any]]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    padding: dict[str, Any] = dict(tokenizer.padding or {})
    tokenizer.no_padding()  # a window is encoded at once, and padded batch by batch
    return tokenizer, padding


def require(package: str, extra: str) -> None:
    """Explain what to install.

    Raises
    ------
    ImportError
    """
    if not find_spec(package):
        raise ImportError(
            f"{package} is not installed: pip install {package}, which is a part of "
            f'"pgkd[{extra}]".'
        )


def _open_onnxruntime(path: Path, n_threads: int | None) -> tuple[list[str], _Run]:
    require("onnxruntime", extra="onnx")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    if n_threads is not None:
        options.intra_op_num_threads = n_threads
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])

    def run(batch: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        (probabilities,) = session.run([OUTPUTS[1]], dict(batch))
        return np.asarray(probabilities)

    return [node.name for node in session.get_inputs()], run


def _open_openvino(path: Path, n_threads: int | None) -> tuple[list[str], _Run]:
    require("openvino", extra="openvino")
    import openvino

    options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}  # bf16 where the CPU has it
    if n_threads is not None:
        options["INFERENCE_NUM_THREADS"] = n_threads
    core = openvino.Core()
    model = core.compile_model(core.read_model(str(path)), "CPU", options)

    def run(batch: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        found = model.create_infer_request().infer(dict(batch))  # one a thread
        return np.asarray(found[OUTPUTS[1]])

    return [node.get_any_name() for node in model.inputs], run


_OPEN: dict[str, Callable[[Path, int | None], tuple[list[str], _Run]]] = {
    "onnxruntime": _open_onnxruntime,
    "openvino": _open_openvino,
}
