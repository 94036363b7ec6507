"""The README.md of a classifier: an exported one, or one on the hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pgkd.evaluation.estimates import estimate_share
from pgkd.inputs.text import as_code

#: Classes named on the card; config.json names all.
N_CLASSES = 50
_SETS = (
    " A text has several of them, or none: those whose probability is above their threshold, which "
    "is in `pgkd.json`."
)


def make_card(document: dict[str, Any], classifier: Any) -> str:
    """Return the card, in Markdown with the front matter that the Hugging Face hub reads.

    Parameters
    ----------
    document : dict
        What ``pgkd.json`` says.
    classifier : PGKDClassifier or student
        Fitted. Of its run the card has scores and counts, and no text.
    """
    return "\n".join(
        [
            *begin("pgkd", _name_engine(document).removesuffix("runtime")),
            *_describe(document),
            "",
            "## Use",
            "",
            *_explain(document),
            "",
            "## Measured",
            "",
            *_measure(document, classifier),
            "",
        ]
    )


def begin(*tags: str) -> Iterator[str]:
    """Yield what the hub files a model by, and the title."""
    yield from ("---", "library_name: pgkd", "pipeline_tag: text-classification")
    yield from (f"tags: [{', '.join(tags)}]", "---", "", "# A text classifier", "")


def quote(value: Any) -> str:
    """Return a value as code, so that nothing of it is taken for Markdown or HTML."""
    return as_code(json.dumps(value, ensure_ascii=False, default=str), limit=None)


def name_classes(classes: list[Any]) -> str:
    """Say how many classes there are, and name the first ones."""
    more = f" and {len(classes) - N_CLASSES} more" if len(classes) > N_CLASSES else ""
    return f"{len(classes)} classes: {', '.join(map(quote, classes[:N_CLASSES]))}{more}"


def write_score(report: Any) -> str:
    """Return the scores of a report, and how sure they are."""
    share = estimate_share(round(report.accuracy * report.n_texts), report.n_texts, 0.95)
    return (
        f"on {report.n_texts} labelled texts that the student had not learnt: accuracy "
        f"{report.accuracy:.3f}, macro F1 {report.f1_macro:.3f} (95 % interval of the accuracy: "
        f"{share.low:.3f} to {share.high:.3f}). They helped to choose what it learns, so test it "
        "on other texts."
    )


def _describe(document: dict[str, Any]) -> Iterator[str]:
    yield (
        f"{document['student']} of pgkd {document['pgkd']}, exported as `{document['model']}`"
        f"{', quantised to int8' if document['quantize'] else ''}. It reads the first "
        f"{document['max_length']} tokens of a text, and knows "
        f"{name_classes(document['classes'])}."
        f"{_SETS if document.get('label_thresholds') else ''}"
    )


def _name_engine(document: dict[str, Any]) -> str:
    return {".onnx": "onnxruntime", ".xml": "openvino", ".npz": "numpy"}[
        Path(document["model"]).suffix
    ]


def _explain(document: dict[str, Any]) -> Iterator[str]:
    engine = _name_engine(document)
    yield f"With {' and '.join(dict.fromkeys(['numpy', 'tokenizers', engine]))}, no torch:"
    yield from _code("import pgkd.runtime", 'pgkd.runtime.load(".").predict(["..."])')
    yield ""
    if document["student"] == "TransformerStudent" and not document["quantize"]:
        yield "With transformers and torch, from `model.safetensors`, which nothing else needs:"
        yield from _code(
            "from transformers import pipeline",
            'classify = pipeline("text-classification", ".")',
            'classify(["..."], truncation=True)',
        )
        yield ""
    if engine == "onnxruntime":
        yield "With Optimum (`optimum-onnx`):"
        yield from _code(
            "from optimum.onnxruntime import ORTModelForSequenceClassification",
            "from transformers import AutoTokenizer, pipeline",
            'model = ORTModelForSequenceClassification.from_pretrained(".")',
            'tokenizer = AutoTokenizer.from_pretrained(".")',
            'classify = pipeline("text-classification", model, tokenizer=tokenizer)',
            'classify(["..."], truncation=True)',
        )
        yield ""
        yield (
            "With Text Embeddings Inference: pass this directory as `--model-id`, with "
            "`--auto-truncate`, and ask its `/predict`."
        )


def _code(*lines: str) -> Iterator[str]:
    yield from ("", "```python", *lines, "```")


def _measure(document: dict[str, Any], classifier: Any) -> Iterator[str]:
    parity = document["parity"]
    yield (
        f"- Beside the student that was exported, on {parity['n_texts']} texts: the same class in "
        f"{parity['agreement']:.2%}, probabilities that differ by up to "
        f"{parity['max_difference']:.2g}."
    )
    history = getattr(classifier, "history_", None)  # a student by itself has none
    report = history[-1].report if history else None
    if report is not None and classifier.refit_mask_ is None:
        yield f"- Before the export, {write_score(report)}"
        calibration = classifier.calibration_
        if calibration is not None and document["temperature"] != 1:
            yield (
                f"- The model's probabilities are calibrated, with temperature "
                f"{calibration.temperature:.3g}. On these texts, with "
                f"temperatures that were fitted on other ones: log loss "
                f"{calibration.log_loss_after:.3f}, expected calibration error "
                f"{calibration.ece_after:.3f}, of which {calibration.ece_by_chance:.3f} would be "
                "chance."
            )
    if document["threshold"] is not None:
        yield f"- With `predict(texts, abstain_label=...)`: {classifier.abstention_}"
