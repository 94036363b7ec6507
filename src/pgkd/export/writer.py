"""Write a student as one graph, from tokens to probabilities, that `pgkd.runtime` opens.

::

    model.onnx, or openvino_model.xml and .bin, or model.npz of a StaticStudent
    tokenizer.json, tokenizer_config.json
    config.json                  as transformers writes it, with the classes as `id2label`
    sentence_bert_config.json    the longest text, where Text Embeddings Inference looks for it
    model.safetensors            of a TransformerStudent without `quantize`, for transformers
    pgkd.json, README.md         what `pgkd.runtime` and a reader need to know

A StaticStudent has no graph, and of the tokenizer's files only the first.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import shutil
import warnings
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.models.auto import modeling_auto

from pgkd._version import __version__
from pgkd.evaluation.calibration import apply_temperature
from pgkd.exceptions import ExportError, InvalidInputError, did_you_mean
from pgkd.export import engines
from pgkd.export.document import FORMAT, TOKENIZER
from pgkd.export.model_card import make_card
from pgkd.export.runtime import ExportedClassifier
from pgkd.inputs.labels import THRESHOLD, decide
from pgkd.inputs.text import is_valid
from pgkd.inputs.validation import check_texts
from pgkd.records import FloatArray, LabelArray
from pgkd.system.files import DOCUMENT, list_files, replacing
from pgkd.system.pretrained import Graph, preserve_globals, save_pretrained, save_tokenizer

__all__ = ["Parity", "export"]

#: The greatest difference of a probability that is taken for rounding.
TOLERANCE = 1e-3
#: Version of ONNX's operators: old enough for any engine of the last years.
OPSET = 17
ENGINES = {"onnx": "onnxruntime", "openvino": "openvino", "numpy": "numpy"}


@dataclass(frozen=True)
class Parity:
    """How the exported classifier's answers differ from the student's.

    Attributes
    ----------
    n_texts : int
        Texts compared.
    max_difference : float
        The greatest difference of a probability.
    agreement : float
        Share of the texts that get the same class, or one that the student finds less than 0.001
        less probable than its own. With several labels a text, that get the same labels, but for
        those whose probability is less than 0.001 from their threshold.
    """

    n_texts: int
    max_difference: float
    agreement: float


def export(
    classifier: Any,
    directory: str | os.PathLike[str],
    *,
    format: str | None = None,
    quantize: str | None = None,
    texts: Any = None,
    min_agreement: float = 0.99,
) -> Parity:
    """Export a fitted classifier or student: see `PGKDClassifier.export`."""
    student = getattr(classifier, "student_", classifier)
    is_static = hasattr(student, "_write_static")
    format = format or ("numpy" if is_static else "onnx")
    _check_parameters(format, quantize, min_agreement)
    if not is_static and not hasattr(student, "_make_graph"):
        raise ExportError(
            f"A student of class {type(student).__name__} cannot be exported: TransformerStudent, "
            "EmbeddingStudent and StaticStudent can. Keep this one with `save`, and open it with "
            "`load`."
        )
    if is_static != (format == "numpy") or (is_static and quantize):
        given = f"`quantize={quantize!r}`" if is_static and quantize else f"`format={format!r}`"
        raise ExportError(
            f"A {type(student).__name__} cannot be exported with {given}: a StaticStudent is "
            "written as numpy's arrays, any other as a graph. Leave it out."
        )
    graph = None if is_static else _make_graph(student)
    texts = _kept_texts(classifier) if texts is None else check_texts(texts, "texts")
    if not texts:
        raise InvalidInputError(
            "`export` compares the answers to some texts, and this student has kept none: pass "
            "`texts`, e.g. those it was trained on."
        )
    temperature = getattr(classifier, "temperature_", 1.0)
    multilabel = getattr(student, "multilabel_", False)
    expected = student.predict_proba(texts)
    if not multilabel:
        expected = apply_temperature(expected, temperature)
    is_transformer = type(student).__name__ == "TransformerStudent"
    with replacing(Path(directory), "export") as draft:
        classes = classifier.classes_ if multilabel else student.classes_
        thresholds = _find_thresholds(classifier, len(classes)) if multilabel else None
        if graph is None:
            parts = student._write_static(draft, temperature)
            packages = ["numpy", "tokenizers"]
        else:
            if temperature != 1:
                graph = _divide_logits(graph, temperature, has_head=is_transformer)
            if quantize is None and is_transformer:
                save_pretrained(graph.model, graph.tokenizer, draft)  # for transformers
            _write_config(graph, draft, classes)
            model = _write_model(graph, draft, format, quantize)
            parts = {"model": model, "max_length": _write_tokenizer(graph, draft)}
            packages = ["torch", "transformers", "tokenizers", ENGINES[format]]
        document = {
            "writer": "export",
            "format": FORMAT if multilabel else 1,
            "pgkd": __version__,
            "student": type(student).__name__,
            "quantize": quantize,
            **parts,
            "classes": classes.tolist(),
            "classes_dtype": classes.dtype.str,
            "target_kind": getattr(classifier, "_target_kind", "labels"),
            "label_thresholds": None if thresholds is None else thresholds.tolist(),
            "temperature": temperature,  # which is a part of the model
            "threshold": getattr(classifier, "threshold_", None),
            # Of the modules: "onnxruntime" is also what other distributions bring.
            "versions": {name: import_module(name).__version__ for name in packages},
        }
        found = ExportedClassifier(draft, document, engine=ENGINES[format])
        parity = measure_parity(expected, found.predict_proba(texts), thresholds)
        del found  # it may hold the files, which are now to be moved
        _check_parity(parity, quantize, min_agreement)
        document["parity"] = asdict(parity)
        _write(draft / "README.md", make_card(document, classifier))
        document["files"] = list_files(draft)
        _write(draft / DOCUMENT, json.dumps(document, ensure_ascii=False, indent=1))
    return parity


def _make_graph(student: Any) -> Graph:
    graph: Graph = student._make_graph()
    if not graph.tokenizer.is_fast:
        raise ExportError(
            f"The tokenizer {type(graph.tokenizer).__name__} has no tokenizer.json, without which "
            "no text can be read: use a model with a fast tokenizer."
        )
    return graph


def measure_parity(
    expected: FloatArray, found: FloatArray, label_thresholds: FloatArray | None = None
) -> Parity:
    """Compare probabilities, both of shape (n_texts, n_classes); with thresholds, of label sets."""
    if label_thresholds is None:
        chosen = np.take_along_axis(expected, found.argmax(axis=1)[:, None], axis=1)[:, 0]
        is_same = chosen > expected.max(axis=1) - TOLERANCE
    else:
        is_close = abs(expected - label_thresholds) < TOLERANCE
        decisions = (decide(p, label_thresholds) for p in (expected, found))
        is_same = (np.equal(*decisions) | is_close).all(axis=1)
    return Parity(
        n_texts=len(expected),
        max_difference=float(abs(found - expected).max()),
        agreement=float(np.mean(is_same)),
    )


def _find_thresholds(classifier: Any, n_classes: int) -> FloatArray:
    thresholds = getattr(classifier, "label_thresholds_", None)
    return np.full(n_classes, THRESHOLD) if thresholds is None else np.asarray(thresholds)


def _check_parity(parity: Parity, quantize: str | None, min_agreement: float) -> None:
    measured = (
        f"on {parity.n_texts} texts, its probabilities differ by up to "
        f"{parity.max_difference:.3g}, and the class is the same in {parity.agreement:.2%}"
    )
    if not np.isfinite(parity.max_difference):
        raise ExportError(f"The exported classifier answers with what is no number: {measured}.")
    if quantize is None and not (parity.max_difference <= TOLERANCE and parity.agreement == 1):
        raise ExportError(
            f"The exported classifier does not answer as the student does: {measured}. At most "
            f"{TOLERANCE} and all were to be. Nothing was written: use `save` for this model, or "
            "another `format`."
        )
    if not parity.agreement >= min_agreement:
        raise ExportError(
            f"`quantize={quantize!r}` changes too much: {measured}, less than `min_agreement="
            f"{min_agreement}`. Nothing was written: leave `quantize` out, or accept less."
        )


def _check_parameters(format: str, quantize: str | None, min_agreement: float) -> None:
    for name, value, possible in (
        ("format", format, list(ENGINES)),
        ("quantize", quantize, ["int8", None]),
    ):
        if value not in possible:
            raise InvalidInputError(
                f"`{name}` must be one of {possible}. Got {value!r}.{did_you_mean(value, possible)}"
            )
    if not 0 <= min_agreement <= 1:
        raise InvalidInputError(f"`min_agreement` must be in [0, 1]. Got {min_agreement!r}.")
    engines.require(ENGINES[format], extra=format)
    if quantize:
        engines.require("onnx", extra="onnx")
        engines.require("onnxruntime", extra="onnx")


def _kept_texts(classifier: Any) -> list[str]:
    """Return the labelled texts, which are not saved, or else those beside them."""
    labelled = getattr(classifier, "_labelled", None)
    if labelled is not None and len(labelled):
        return list(labelled.texts)
    return [t.text for t in getattr(classifier, "synthetic_", ()) if is_valid(t.text)]


def _divide_logits(graph: Graph, temperature: float, has_head: bool) -> Graph:
    """Calibrate the graph itself, so that whatever opens it answers with these probabilities."""
    if not has_head:
        return replace(graph, compute=lambda *given: graph.compute(*given) / temperature)
    model = copy.deepcopy(graph.model)  # whose weights are written for transformers as well
    head = [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear)][-1]
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.div_(temperature)
    return replace(graph, model=model)


class _Logits(torch.nn.Module):
    """A student's graph as torch's exporter wants it: tensors in, tensors out."""

    def __init__(self, graph: Graph, names: list[str]) -> None:
        super().__init__()
        self.model = graph.model
        self.compute = graph.compute
        self.multilabel = graph.multilabel
        self.names = names

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.compute(self.model, dict(zip(self.names, tensors)))
        return logits, logits.sigmoid() if self.multilabel else logits.softmax(dim=1)


def _write_model(graph: Graph, directory: Path, format: str, quantize: str | None) -> str:
    """Write the model in the format asked for, and name its file."""
    path = directory / engines.ONNX
    _write_onnx(graph, path)
    if quantize:
        _quantize(path)
    if format == "onnx":
        return path.name
    openvino = engines.import_openvino()
    # Not `convert_model`, which reports each conversion to OpenVINO's makers.
    model = engines.get_openvino().read_model(path)
    openvino.save_model(model, directory / engines.OPENVINO, compress_to_fp16=False)
    path.unlink()
    return engines.OPENVINO


def _write_onnx(graph: Graph, path: Path) -> None:
    # Two texts of different lengths, so that nothing is traced for a batch without padding.
    batch = graph.tokenizer(["a", "a b c d"], padding=True, return_tensors="pt")
    names = list(batch)
    module = _Logits(graph, names).to("cpu").eval()
    with torch.no_grad(), preserve_globals(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing: parity is measured
        # Not the newer exporter (`dynamo=True`): it takes ten times as long, and onnxscript.
        torch.onnx.export(
            module,
            tuple(batch.values()),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=names,
            output_names=list(engines.OUTPUTS),
            dynamic_axes={
                **{name: {0: "batch", 1: "sequence"} for name in names},
                **{name: {0: "batch"} for name in engines.OUTPUTS},
            },
        )


def _quantize(path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    draft = path.with_suffix(".float")
    shutil.move(path, draft)
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it recommends what the export has done
    try:
        # Unsigned: sums of signed products overflow on CPUs without VNNI, so that what is
        # measured on one machine would not hold on another.
        quantize_dynamic(draft, path, weight_type=QuantType.QUInt8, per_channel=True)
    finally:
        logging.disable(disabled)
    draft.unlink()


def _write_tokenizer(graph: Graph, directory: Path) -> int:
    """Write the tokenizer, which then cuts texts as the student does, and return where."""
    tokenizer = copy.deepcopy(graph.tokenizer)
    max_length = min(graph.max_length, tokenizer.model_max_length)
    tokenizer.model_max_length = max_length
    save_tokenizer(tokenizer, directory)
    file = directory / "tokenizer_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config["model_input_names"] = tokenizer.model_input_names
    _write(file, json.dumps(config, ensure_ascii=False, indent=1))
    # A call sets up the backend for good: how texts are cut, what they are padded with, and where.
    tokenizer(["a"], padding=True, truncation=True, max_length=max_length)
    tokenizer.backend_tokenizer.save(str(directory / TOKENIZER))
    _write(directory / "sentence_bert_config.json", json.dumps({"max_seq_length": max_length}))
    return int(max_length)


def _write_config(graph: Graph, directory: Path, classes: LabelArray) -> None:
    config = copy.deepcopy(graph.model.config)
    names = list(map(str, classes))
    config.id2label = dict(enumerate(names))
    config.label2id = {name: i for i, name in enumerate(names)}
    if graph.multilabel:
        config.problem_type = "multi_label_classification"  # a sigmoid, for whatever opens it
    # Servers tell a classifier by the name of its architecture.
    classifiers = modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES
    if config.model_type in classifiers:
        config.architectures = [classifiers[config.model_type]]
    config.save_pretrained(directory)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
