"""What people say to an assistant, downloaded from where its authors keep it."""

from __future__ import annotations

import csv
import io
import json
import os
import tarfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.datasets import get_data_home

from pgkd.datasets.drawing import Pairs, Sides, draw
from pgkd.datasets.remote import RemoteFile, fetch
from pgkd.exceptions import InvalidInputError, did_you_mean


def fetch_intents(
    name: str = "banking77",
    *,
    n_train: int | None = None,
    n_test: int | None = None,
    random_state: int = 0,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
    n_retries: int = 3,
    delay: float = 1.0,
) -> Sides:
    """Load what people say to an assistant, and what they want: the usual sets of intents.

    ============= ======= ============== =========== ============= ============================
    name          classes training texts test texts  download      licence
    ============= ======= ============== =========== ============= ============================
    `"banking77"` 77      10,003         3,080       1.1 MB        CC BY 4.0, PolyAI [1]_
    `"clinc150"`  150     15,000         4,500       2.5 MB        CC BY 3.0, Clinc [2]_
    `"massive"`   60      11,514         2,974       39.5 MB       CC BY 4.0, Amazon [3]_
    ============= ======= ============== =========== ============= ============================

    The first call downloads a set from where its authors keep it; later ones read it from
    `data_home` and need no network.

    Parameters
    ----------
    name : {"banking77", "clinc150", "massive"}, default="banking77"
        Questions to a bank; an assistant for many domains; commands to a speaker, in English.
    n_train, n_test : int, default=None
        Numbers of texts, or None for all. The training texts start with one of each class; all
        others, and the test texts, are drawn uniformly from the sides that the authors published.
        A smaller number gives the first texts of a larger one.
    random_state : int, default=0
        Seeds the draw.
    data_home : str or path, default=None
        The files are kept in its folder ``pgkd``. By default it is scikit-learn's:
        ``SCIKIT_LEARN_DATA``, or ``~/scikit_learn_data``.
    download_if_missing : bool, default=True
        If False, a set that is not in `data_home` is an error, and no connection is made.
    n_retries : int, default=3
        How often a download is tried again if the server cannot be reached or is overloaded.
    delay : float, default=1.0
        Seconds between the tries.

    Returns
    -------
    X_train, y_train, X_test, y_test : list of str
        Texts and intents, as `load_icd10` returns them.

    Raises
    ------
    InvalidInputError
        If `name` is unknown, or `n_train` or `n_test` is out of range.
    DatasetNotFoundError
        If a file is not in `data_home` and cannot be downloaded, or is not the one that is
        expected. It names the address, so that you can bring the file by hand.

    Notes
    -----
    A file is used only if its SHA-256 is that of the version pinned here, whoever brought it. The
    sides are the authors' own, so that results compare with published ones: a few test texts are
    among the training texts as well, apart from case and punctuation. What authors keep for
    validation, and the texts of clinc150 that are out of scope, are left out.

    Addresses and hashes are those that others have published. The tests of pgkd need no network:
    they ask a server of their own for small files in the same formats.

    References
    ----------
    .. [1] Casanueva et al., "Efficient Intent Detection with Dual Sentence Encoders", 2020.
       https://github.com/PolyAI-LDN/task-specific-datasets
    .. [2] Larson et al., "An Evaluation Dataset for Intent Classification and Out-of-Scope
       Prediction", 2019. https://github.com/clinc/oos-eval
    .. [3] FitzGerald et al., "MASSIVE: A 1M-Example Multilingual Natural Language Understanding
       Dataset with 51 Typologically-Diverse Languages", 2022. https://github.com/alexa/massive

    Examples
    --------
    >>> from pgkd.datasets import fetch_intents
    >>> X, y, X_test, y_test = fetch_intents("banking77", n_train=800)  # doctest: +SKIP
    >>> len(set(y)), len(X_test)  # doctest: +SKIP
    (77, 3080)
    """
    if name not in _SOURCES:
        raise InvalidInputError(
            f"`name` must be one of {list(_SOURCES)}. Got {name!r}.{did_you_mean(name, _SOURCES)}"
        )
    source = _SOURCES[name]
    folder = Path(get_data_home(data_home)) / "pgkd"
    contents = [fetch(f, folder, download_if_missing, n_retries, delay) for f in source.files]
    train, test = source.parse(*contents)
    rng = np.random.default_rng(random_state)
    of_class = defaultdict(list)
    for i, (_, label) in enumerate(train):
        of_class[label].append(i)
    first = [int(rng.choice(of_class[label])) for label in sorted(of_class)]
    n_train = len(train) if n_train is None else n_train
    n_test = len(test) if n_test is None else n_test
    return draw(train, test, first, rng, n_train, n_test, f"name={name!r}")


@dataclass(frozen=True)
class _Source:
    """`parse` makes pairs of text and intent of the files' contents: for training, for testing."""

    files: tuple[RemoteFile, ...]
    parse: Callable[..., tuple[Pairs, Pairs]]


def _parse_banking77(*sides: bytes) -> tuple[Pairs, Pairs]:
    train, test = (
        [(row["text"], row["category"]) for row in csv.DictReader(io.StringIO(side.decode()))]
        for side in sides
    )
    return train, test


def _parse_clinc150(content: bytes) -> tuple[Pairs, Pairs]:
    document = json.loads(content)
    train, test = ([(text, label) for text, label in document[k]] for k in ("train", "test"))
    return train, test


def _parse_massive(archive: bytes) -> tuple[Pairs, Pairs]:
    sides: dict[str, list[tuple[str, str]]] = defaultdict(list)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        member = tar.extractfile("1.0/data/en-US.jsonl")
        assert member is not None
        for row in map(json.loads, member):
            sides[row["partition"]].append((row["utt"], row["intent"]))
    return sides["train"], sides["test"]


_POLYAI = (
    "https://raw.githubusercontent.com/PolyAI-LDN/task-specific-datasets/"
    "57ec275d8078af65b7731c2a98be812d844a6d6b/banking_data"
)
_CLINC = (
    "https://raw.githubusercontent.com/clinc/oos-eval/828f8093932c8fe6ca7936c3d2e52903b1c523de/data"
)
_SOURCES = {
    "banking77": _Source(
        (
            RemoteFile(
                "banking77-train.csv",
                f"{_POLYAI}/train.csv",
                "b06e26ac675513959a63135f11b94ea7786ed02da65db93a5650d8838cbc664b",
            ),
            RemoteFile(
                "banking77-test.csv",
                f"{_POLYAI}/test.csv",
                "d12d6e3bc4c3103966ae786dc435913c0c563dfa328f5a3646d0e62cfeeb474d",
            ),
        ),
        _parse_banking77,
    ),
    "clinc150": _Source(
        (
            RemoteFile(
                "clinc150.json",
                f"{_CLINC}/data_full.json",
                "36923c3705a59e08fe9c3883d8bc2dd966ef93e22cb78ac41171782a698d56e0",
            ),
        ),
        _parse_clinc150,
    ),
    "massive": _Source(
        (
            RemoteFile(
                "massive-1.0.tar.gz",
                "https://amazon-massive-nlu-dataset.s3.amazonaws.com/"
                "amazon-massive-dataset-1.0.tar.gz",
                "7df623fd2d300a4d235d6ee5bd396c9a28258d3a0ccb29abdb054506eba153f8",
            ),
        ),
        _parse_massive,
    ),
}
