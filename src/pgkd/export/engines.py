"""What runs an exported graph on the CPU, and which of it is fastest here. Needs numpy alone."""

from __future__ import annotations

import functools
import mmap
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgkd.exceptions import InvalidInputError, PersistenceError, did_you_mean

ONNX, OPENVINO, STATIC = "model.onnx", "openvino_model.xml", "model.npz"
#: What can run which file. The last is no graph, and opened by `open_static`.
ENGINES = {ONNX: ("onnxruntime", "openvino"), OPENVINO: ("openvino",), STATIC: ("numpy",)}
#: The names in the graph.
OUTPUTS = ("logits", "probabilities")
PRECISIONS = ("float32", "bfloat16")
#: Times that each engine is tried; the fastest counts, since all else is other work.
N_TRIALS = 5
#: Since this version, onnxruntime reads no weights from outside of the graph's folder.
STAYS_INSIDE = (1, 24)

Batch = Mapping[str, NDArray[np.int64]]


@dataclass(frozen=True)
class Engine:
    """An opened graph.

    Attributes
    ----------
    name : {"onnxruntime", "openvino"}
    precision : {"float32", "bfloat16"}
    inputs : list of str
        The names of the graph's inputs.
    run : callable
        From these, each of shape (n_texts, n_tokens), to probabilities of shape
        (n_texts, n_classes). Threads may share it.
    """

    name: str
    precision: str
    inputs: list[str]
    run: Callable[[Batch], NDArray[np.float32]]


def open_engine(
    path: Path,
    engine: str,
    precision: str,
    n_threads: int | None,
    make_batch: Callable[[Engine], Batch],
) -> Engine:
    """Open a graph with the engine asked for, or with the fastest.

    Parameters
    ----------
    path : Path
        Of a file that `ENGINES` names.
    engine : {"auto", "onnxruntime", "openvino"}
    precision : {"auto", "float32", "bfloat16"}
    n_threads : int or None
    make_batch : callable
        Makes what the engines are timed with, if there is a choice.

    Returns
    -------
    engine : Engine
    """
    choices = list_choices(path, engine, precision)
    opened, errors = [], []
    for name, its_precision in choices:
        try:
            opened.append(_OPEN[name](path, its_precision, n_threads))
        except Exception as error:
            errors.append(error)
    if len(opened) == 1:
        return opened[0]
    timed = []
    for one in opened:
        try:
            timed.append((_time(one, make_batch(one)), one))
        except Exception as error:  # it opens the graph, and cannot run it
            errors.append(error)
    if not timed:
        raise errors[0]
    return min(timed, key=lambda pair: pair[0])[1]


def list_choices(path: Path, engine: str, precision: str) -> list[tuple[str, str]]:
    """Return the engines that are here, and the precisions that they can compute in."""
    for what, value, known in (
        ("engine", engine, (*ENGINES[ONNX], *ENGINES[STATIC])),
        ("precision", precision, PRECISIONS),
    ):
        if value not in ("auto", *known):
            raise InvalidInputError(
                f"`{what}` must be one of {['auto', *known]}. Got {value!r}."
                f"{did_you_mean(value, known)}"
            )
    names: Sequence[str] = ENGINES[path.name]
    if engine == "auto":
        names = [name for name in names if find_spec(name)] or names[:1]
    elif engine not in names:
        raise PersistenceError(
            f"{str(path.parent)!r} holds {path.name}, which {engine} cannot run: pass engine="
            f"{' or '.join(map(repr, ('auto', *names)))}."
        )
    else:
        names = [engine]
    for name in names:
        require(name, extra="onnx" if name == "onnxruntime" else name)
    wanted = PRECISIONS if precision == "auto" else (precision,)
    choices = [(n, p) for n in names for p in wanted if p == "float32" or _has_bfloat16(n)]
    if not choices:
        raise InvalidInputError(
            f"`precision={precision!r}` takes OpenVINO, and a CPU with instructions for it "
            f"(AVX512-BF16 or AMX), where {' and '.join(names)} would only imitate it. Pass "
            'precision="auto", which takes it where it is fastest.'
        )
    return choices


def _has_bfloat16(name: str) -> bool:
    if name != "openvino":
        return False
    # It names what the CPU has instructions for, and not what it can imitate.
    return "BF16" in get_openvino().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _time(engine: Engine, batch: Batch) -> float:
    """Return the seconds that a batch takes, once the engine is warm."""
    engine.run(batch)
    seconds = []
    for _ in range(N_TRIALS):
        start = time.perf_counter()
        engine.run(batch)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def require(package: str, extra: str) -> None:
    """Explain what to install.

    Raises
    ------
    ImportError
    """
    if not find_spec(package):
        raise ImportError(f'{package} is not installed: pip install "pgkd[{extra}]".')


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry, which tells its makers of each import."""
    missing: Any = None  # makes an import of it fail, and OpenVINO then does without
    is_hidden = sys.modules.setdefault("openvino_telemetry", missing) is None
    try:
        import openvino
    finally:
        if is_hidden:
            sys.modules.pop("openvino_telemetry", None)
    return openvino


def _open_onnxruntime(path: Path, precision: str, n_threads: int | None) -> Engine:
    import onnxruntime

    version = onnxruntime.__version__
    if tuple(map(int, version.split(".")[:2])) < STAYS_INSIDE and _has_weights_elsewhere(path):
        raise PersistenceError(
            f"{str(path)!r} has weights in other files, which onnxruntime {version} reads from "
            f"wherever the graph says: install onnxruntime {'.'.join(map(str, STAYS_INSIDE))}."
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    if n_threads is not None:
        options.intra_op_num_threads = n_threads
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])

    def run(batch: Batch) -> NDArray[np.float32]:
        (probabilities,) = session.run([OUTPUTS[1]], dict(batch))
        return np.asarray(probabilities)

    return Engine("onnxruntime", precision, [node.name for node in session.get_inputs()], run)


def _has_weights_elsewhere(path: Path) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as graph:
        return graph.find(b"location") >= 0  # ONNX's key for it


@functools.cache
def get_openvino() -> Any:
    """Return OpenVINO, one for the process.

    Each gives the thread a stack for signals, and takes it away when it ends. If the first ends
    before the second, the thread is left with one that is gone, and Ctrl-C ends the process.
    """
    return import_openvino().Core()


def _open_openvino(path: Path, precision: str, n_threads: int | None) -> Engine:
    # Where the CPU has bfloat16, it would be the default.
    hint = {"float32": "f32", "bfloat16": "bf16"}[precision]
    options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": hint}
    if n_threads is not None:
        options["INFERENCE_NUM_THREADS"] = n_threads
    core = get_openvino()
    model = core.compile_model(core.read_model(str(path)), "CPU", options)

    def run(batch: Batch) -> NDArray[np.float32]:
        found = model.create_infer_request().infer(dict(batch))  # one a thread
        return np.asarray(found[OUTPUTS[1]])

    return Engine("openvino", precision, [node.get_any_name() for node in model.inputs], run)


_OPEN: dict[str, Callable[[Path, str, int | None], Engine]] = {
    "onnxruntime": _open_onnxruntime,
    "openvino": _open_openvino,
}
