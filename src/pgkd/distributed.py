"""Label texts on many machines: thin functions over Ray Data and Spark.

Each worker opens the model once. For a model that `export` wrote it needs numpy, tokenizers and an
engine, neither torch nor transformers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

import numpy as np

from pgkd.exceptions import InvalidInputError, did_you_mean
from pgkd.export.engines import require
from pgkd.opening import load, read_document

METHODS = ("predict", "predict_proba")
#: Models that a Python worker of Spark keeps.
MAX_OPENED = 2

__all__ = ["make_udf", "predict"]


def predict(
    dataset: Any,
    model: str | os.PathLike[str],
    *,
    text_column: str = "text",
    output_column: str = "prediction",
    method: str = "predict",
    concurrency: int | tuple[int, int] | None = None,
    batch_size: int = 2048,
    num_cpus: int = 1,
    num_gpus: float = 0,
    **options: Any,
) -> Any:
    """Label the texts of a Ray Dataset.

    Ray Data's actors hold the model; it starts a new one for one that dies, and does again what
    that one was at.

    Parameters
    ----------
    dataset : ray.data.Dataset
    model : str or path
        A directory that `export` or :meth:`PGKDClassifier.save` wrote, which each machine must be
        able to read at this path.
    text_column : str, default="text"
        Column of the texts.
    output_column : str, default="prediction"
        Column that is added.
    method : {"predict", "predict_proba"}, default="predict"
        ``"predict"``: the label. ``"predict_proba"``: a list of the probabilities of all classes,
        in the order of ``classes_``. A text that is null gets null.
    concurrency : int or tuple of (int, int), default=None
        Actors, or at least and at most so many. ``None``: as Ray Data sees fit. Leave cores of the
        cluster to what reads the texts: if the actors take all, Ray waits without end.
    batch_size : int, default=2048
        Rows given to an actor at once.
    num_cpus : int, default=1
        CPU cores, and threads of the engine, of an actor. Not used with `num_gpus`.
    num_gpus : float, default=0
        GPUs of an actor, for a saved classifier with a student on torch; an exported one runs on
        the CPU.
    **options
        Of :func:`pgkd.runtime.load`, e.g. `engine`, or of :meth:`PGKDClassifier.load`.

    Returns
    -------
    dataset : ray.data.Dataset
        With all columns and `output_column`. Lazy, as Ray Datasets are: it is computed when it is
        written or read.

    Raises
    ------
    InvalidInputError
        If there is no such `method`, a number is too small, or, when it is computed, if a column
        is missing or there already, or a text is no str.
    PersistenceError
        If `model` is no such directory.
    ImportError
        Without the package that ``pip install "pgkd[ray]"`` brings.

    References
    ----------
    https://docs.ray.io/en/latest/data/batch_inference.html

    Examples
    --------
    >>> import ray  # doctest: +SKIP
    >>> from pgkd.distributed import predict
    >>> dataset = ray.data.read_parquet("texts")  # doctest: +SKIP
    >>> predict(dataset, "model-onnx", concurrency=8).write_parquet("labels")  # doctest: +SKIP
    """
    require("ray", extra="ray")
    require("pyarrow", extra="ray")
    from ray.data import ActorPoolStrategy, Dataset

    if not isinstance(dataset, Dataset):
        raise InvalidInputError(
            f"`dataset` must be a ray.data.Dataset. Got {type(dataset).__name__} instead: make one "
            "e.g. with ray.data.from_items, from_pandas or read_parquet."
        )
    low, high = concurrency if isinstance(concurrency, tuple) else (concurrency, concurrency)
    numbers = {"batch_size": batch_size, "num_cpus": num_cpus, "concurrency": low}
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise InvalidInputError(f"`{name}` must be an int of 1 or more. Got {value}.")
    _check_method(method)
    kind = _find_kind(model, method)
    return dataset.map_batches(
        _Actor,
        fn_constructor_kwargs={
            "model": os.path.abspath(model),
            "method": method,
            "kind": kind,
            "text_column": text_column,
            "output_column": output_column,
            "options": {"n_threads": num_cpus, **options},
        },
        batch_format="pyarrow",
        batch_size=batch_size,
        compute=ActorPoolStrategy(min_size=low or 1, max_size=high),
        **({"num_gpus": num_gpus} if num_gpus else {"num_cpus": num_cpus}),
    )


def make_udf(
    model: str | os.PathLike[str], *, method: str = "predict", n_threads: int = 1, **options: Any
) -> Any:
    """Make a function of Spark that labels a column of texts.

    Parameters
    ----------
    model : str or path
        A directory that `export` or :meth:`PGKDClassifier.save` wrote, which each machine must be
        able to read at this path.
    method : {"predict", "predict_proba"}, default="predict"
        ``"predict"``: the label, a string, bigint, boolean or double as the labels are.
        ``"predict_proba"``: an array of the probabilities of all classes, in the order of
        ``classes_``. A text that is null gets null.
    n_threads : int, default=1
        Threads of the engine in each task; as many as ``spark.task.cpus``.
    **options
        Of :func:`pgkd.runtime.load`, e.g. `engine`, or of :meth:`PGKDClassifier.load`.

    Returns
    -------
    udf : pandas_udf
        From a column of strings to a column. Each Python worker of Spark opens the model once.

    Raises
    ------
    InvalidInputError
        If there is no such `method`, or `n_threads` is below 1.
    PersistenceError
        If `model` is no such directory.
    ImportError
        Without the packages that ``pip install "pgkd[spark]"`` brings.

    References
    ----------
    https://spark.apache.org/docs/latest/api/python/reference/pyspark.sql/api/\
pyspark.sql.functions.pandas_udf.html

    Examples
    --------
    >>> from pgkd.distributed import make_udf
    >>> classify = make_udf("model-onnx")  # doctest: +SKIP
    >>> frame.withColumn("label", classify("text")).write.parquet("labels")  # doctest: +SKIP
    """
    for package in ("pyspark", "pandas", "pyarrow"):
        require(package, extra="spark")
    import pandas as pd
    from pyspark.sql import types
    from pyspark.sql.functions import pandas_udf

    if n_threads < 1:
        raise InvalidInputError(f"`n_threads` must be an int of 1 or more. Got {n_threads}.")
    _check_method(method)
    label_type = {
        "U": types.StringType(),
        "i": types.LongType(),
        "b": types.BooleanType(),
        "f": types.DoubleType(),
    }[_find_kind(model, method)]
    name = uuid4().hex  # another export may take the same path
    arguments = os.path.abspath(model), method, {"n_threads": n_threads, **options}

    def classify(batches: Any) -> Any:
        predictor = _open_once(name, *arguments)
        for texts in batches:
            given = texts.astype(object).where(texts.notna(), None)
            yield pd.Series(predictor(given.tolist()), dtype=object)

    # Spark reads what it is to do from these.
    series = Iterator[pd.Series]
    classify.__annotations__ = {"batches": series, "return": series}
    is_label = method == "predict"
    return pandas_udf(classify, label_type if is_label else types.ArrayType(types.DoubleType()))


class _Predictor:
    """A model, and what is asked of it."""

    def __init__(self, model: str, method: str, options: Mapping[str, Any]) -> None:
        self.classifier = load(model, **options)
        self.method = method

    def __call__(self, texts: Sequence[str | None]) -> list[Any]:
        """Return what the texts get, in Python's own types; null where there is no text."""
        found: list[Any] = [None] * len(texts)
        rows = [i for i, text in enumerate(texts) if text is not None]
        answers = getattr(self.classifier, self.method)([texts[i] for i in rows])
        for i, answer in zip(rows, answers.tolist()):
            found[i] = answer
        return found


_opened: dict[str, _Predictor] = {}


def _open_once(name: str, *arguments: Any) -> _Predictor:
    """Keep the models of the last functions for the next task: Spark keeps its Python workers."""
    if name not in _opened:
        if len(_opened) == MAX_OPENED:
            del _opened[next(iter(_opened))]
        _opened[name] = _Predictor(*arguments)
    return _opened[name]


class _Actor:
    """What Ray Data makes in each actor."""

    def __init__(
        self,
        model: str,
        method: str,
        kind: str,
        text_column: str,
        output_column: str,
        options: Mapping[str, Any],
    ) -> None:
        import pyarrow as pa

        self.predictor = _Predictor(model, method, options)
        self.type = pa.list_(pa.float64())
        if method == "predict":
            label_types = {"U": pa.string(), "i": pa.int64(), "b": pa.bool_(), "f": pa.float64()}
            self.type = label_types[kind]
        self.text_column = text_column
        self.output_column = output_column

    def __call__(self, table: Any) -> Any:
        import pyarrow as pa

        if self.text_column not in table.column_names or self.output_column in table.column_names:
            raise InvalidInputError(
                f"The dataset must have the column {self.text_column!r} and not yet "
                f"{self.output_column!r}. It has {table.column_names}: pass `text_column` and "
                f"`output_column`.{did_you_mean(self.text_column, table.column_names)}"
            )
        found = self.predictor(table.column(self.text_column).to_pylist())
        return table.append_column(self.output_column, pa.array(found, self.type))


def _check_method(method: str) -> None:
    if method not in METHODS:
        raise InvalidInputError(
            f"`method` must be one of {list(METHODS)}. Got {method!r}."
            f"{did_you_mean(method, METHODS)}"
        )


def _find_kind(model: str | os.PathLike[str], method: str) -> str:
    """Return the kind of a model's labels: U(nicode), i(nteger), b(ool) or f(loat)."""
    document = read_document(model)
    if method == "predict" and document.get("target_kind", "labels") != "labels":
        raise InvalidInputError(
            f"{str(model)!r} gives a text several labels, which no column of labels holds: pass "
            '`method="predict_proba"`; `label_thresholds` of pgkd.json say above which probability '
            "each label is given."
        )
    kind = np.array(document["classes"]).dtype.kind  # whose own may be object, as of pandas' str
    return "i" if kind == "u" else kind
