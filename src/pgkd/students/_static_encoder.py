"""Static embeddings from files: of model2vec, sentence-transformers and WordLlama."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import HfApi, snapshot_download
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from pgkd.exceptions import ModelNotFoundError, StudentError, did_you_mean
from pgkd.export.document import read_tokenizer
from pgkd.export.static import StaticEmbedding, check_vectors, shrink
from pgkd.students._encoder import Encoder
from pgkd.system.artefacts import read_shapes
from pgkd.system.pretrained import HUB_TIMEOUT, preserve_globals

#: The name of the model that comes with the package of the same name.
WORDLLAMA = "wordllama"
#: Where the vectors and the tokenizer are: model2vec, sentence-transformers, WordLlama.
LAYOUTS = (
    ("model.safetensors", "tokenizer.json"),
    ("0_StaticEmbedding/model.safetensors", "0_StaticEmbedding/tokenizer.json"),
    ("weights/l2_supercat_256.safetensors", "tokenizers/l2_supercat_tokenizer_config.json"),
)
#: What the vectors are called in the first of these, and in the others.
NAMES = ("embeddings", "embedding.weight")


class StaticEncoder(Encoder):
    """A `StaticEmbedding` that embeds each text once."""

    def __init__(self, model: StaticEmbedding) -> None:
        super().__init__(model, model.tokenizer, model.max_length)

    def _embed(self, texts: list[str], batch_size: int) -> NDArray[np.float32]:
        starts = range(0, len(texts), batch_size)
        return np.concatenate([self.model.embed(texts[i : i + batch_size]) for i in starts])

    def save(self, directory: Path) -> None:
        """Write the files that model2vec reads as well."""
        directory.mkdir(exist_ok=True)
        save_file({NAMES[0]: shrink(self.model.vectors)}, directory / LAYOUTS[0][0])
        self.tokenizer.save(str(directory / LAYOUTS[0][1]))
        config = {"normalize": True, "max_length": self.max_length}
        (directory / "config.json").write_text(json.dumps(config), encoding="utf-8")

    def __reduce__(self) -> tuple[Any, ...]:
        return StaticEncoder, (self.model,)


def make_static_encoder(name: str | os.PathLike[str], max_length: int) -> StaticEncoder:
    """Load static embeddings.

    Parameters
    ----------
    name : str or path
        ``"wordllama"``, a directory, or an id on the hub. What the hub's cache has is not
        downloaded again.
    max_length : int

    Raises
    ------
    ModelNotFoundError
        If there are no such files.
    StudentError
        If they hold no static embeddings.
    ImportError
        If `name` is ``"wordllama"``, and the package is not installed.
    """
    name = os.fspath(name)
    return _read(name, *_locate(name), max_length)


def read_static_encoder(directory: Path, max_length: int) -> StaticEncoder:
    """Load what `StaticEncoder.save` wrote; a name that is no directory is not looked for."""
    vectors, tokenizer = LAYOUTS[0]
    return _read(str(directory), directory / vectors, directory / tokenizer, max_length)


def _read(name: str, vectors_file: Path, tokenizer_file: Path, max_length: int) -> StaticEncoder:
    try:
        read_shapes(vectors_file)
        tensors = load_file(vectors_file)
        tokenizer = read_tokenizer(tokenizer_file)
    except Exception as error:
        raise StudentError(
            f"The static embeddings {name!r} cannot be read ({type(error).__name__}: {error}): "
            "save or download them again."
        ) from error
    vectors = _join(tensors, name)
    try:
        check_vectors(vectors, tokenizer)
    except ValueError as error:
        raise StudentError(
            f"The static embeddings {name!r} cannot be used ({error}): pass the tokenizer that "
            "belongs to them, as tokenizer.json."
        ) from error
    return StaticEncoder(StaticEmbedding(vectors, tokenizer, max_length))


def _locate(name: str) -> tuple[Path, Path]:
    """Return the files of the vectors and of the tokenizer."""
    folder = _find_wordllama() if name == WORDLLAMA else Path(name)
    if not folder.is_dir():
        with preserve_globals():
            folder = _download(name)
    files = _find_files(folder)
    if files is None:
        raise ModelNotFoundError(
            f"The model {name!r} has no static embeddings: model.safetensors or tokenizer.json is "
            "missing. Pass a directory that model2vec's `save_pretrained` wrote, or e.g. "
            "model='minishlab/potion-base-8M'."
        )
    return files


def _find_wordllama() -> Path:
    # Its files are all that is wanted: its import sets up the log of the whole process.
    spec = find_spec(WORDLLAMA)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError('wordllama is not installed: pip install "pgkd[wordllama]".')
    return Path(spec.submodule_search_locations[0])


def _find_files(folder: Path) -> tuple[Path, Path] | None:
    for vectors, tokenizer in LAYOUTS:
        if (folder / vectors).is_file() and (folder / tokenizer).is_file():
            return folder / vectors, folder / tokenizer
    return None


def _download(name: str) -> Path:
    wanted = [file for layout in LAYOUTS[:2] for file in layout]
    try:
        folder = Path(snapshot_download(name, allow_patterns=wanted, local_files_only=True))
        if _find_files(folder):
            return folder
    except Exception:  # it is not in the cache, or `name` is no id, which the hub will say
        pass
    try:
        # One request without retries, to know that the hub is there.
        HfApi().model_info(name, timeout=HUB_TIMEOUT)
        return Path(snapshot_download(name, allow_patterns=wanted))
    except Exception as error:
        raise ModelNotFoundError(
            f"The static embeddings {name!r} are no directory, are not in the hub's cache and "
            f"cannot be had from the hub ({type(error).__name__}: {str(error).strip()[:300]}). "
            "Pass a local directory, e.g. model='models/potion', or model='wordllama', which "
            'comes with pip install "pgkd[wordllama]"; or check the name and the network.'
            f"{did_you_mean(name, [WORDLLAMA])}"
        ) from None


def _join(tensors: dict[str, NDArray[Any]], name: str) -> NDArray[np.float32]:
    """Return a vector for each token, also where tokens share vectors and have a weight each."""
    found = [tensors[key] for key in NAMES if key in tensors]
    if not found or found[0].ndim != 2:
        raise StudentError(
            f"The model {name!r} has no static embeddings, but {sorted(tensors)[:3]}. If it is an "
            "encoder, pass it to EmbeddingStudent, or make static embeddings of it with model2vec: "
            f"model2vec.distill.distill({name!r}).save_pretrained(directory)."
        )
    vectors = found[0].astype(np.float32)
    if "mapping" in tensors:
        vectors = vectors[tensors["mapping"]]
    if "weights" in tensors:
        vectors = vectors * tensors["weights"].astype(np.float32)[:, None]
    return np.asarray(vectors, dtype=np.float32)
