"""Fine-tuning by transformers' Trainer: soft targets, weights, adapters, early stopping."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from pgkd.students._lora import add_adapters
from pgkd.system.pretrained import has_fast_bf16
from pgkd.system.ranks import find_rank

#: transformers 5 has another name for it than 4.
GROUP_BY_LENGTH: dict[str, Any] = (
    {"train_sampling_strategy": "group_by_length"}
    if "train_sampling_strategy" in TrainingArguments.__dataclass_fields__
    else {"group_by_length": True}
)

#: Transformers' name for it, which its own pipeline goes by.
MULTILABEL = "multi_label_classification"


def fine_tune(
    model: Any,
    tokenizer: Any,
    rows: list[dict[str, Any]],
    *,
    n_epochs: int,
    learning_rate: float,
    batch_size: int,
    weight_decay: float,
    warmup_ratio: float,
    lora_rank: int | None,
    patience: int | None,
    seed: int,
    device: str,
    verbose: bool,
    validation_loss: Callable[[Any], float] | None,
) -> list[float]:
    """Train `model` in place.

    Parameters
    ----------
    model, tokenizer
        As `load_pretrained` returns them.
    rows : list of dict
        What the tokenizer made of a text, its target distribution "labels", and its "weight".
    n_epochs, learning_rate, batch_size, weight_decay, warmup_ratio, lora_rank, patience
        As in `TransformerStudent`.
    seed, device, verbose
    validation_loss : callable or None
        ``validation_loss(model)`` is called after each epoch; the weights with the least are kept.

    Returns
    -------
    losses : list of float
        What `validation_loss` gave.
    """
    n_steps = n_epochs * math.ceil(len(rows) / batch_size)
    keep_best = None if validation_loss is None else _KeepBest(validation_loss, patience)
    trained = model if lora_rank is None else add_adapters(model, lora_rank)
    with tempfile.TemporaryDirectory() as directory:  # must be given, and stays empty
        arguments = TrainingArguments(
            directory,
            num_train_epochs=n_epochs,
            learning_rate=learning_rate,
            per_device_train_batch_size=math.ceil(batch_size / find_rank()[1]),
            weight_decay=weight_decay,
            warmup_steps=int(warmup_ratio * n_steps),
            optim="adamw_torch" if device == "mps" else "adamw_torch_fused",
            bf16=has_fast_bf16(device),
            use_cpu=device == "cpu",
            seed=seed,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            log_level="error",
            disable_tqdm=not verbose,
            remove_unused_columns=False,
            **GROUP_BY_LENGTH,
        )
        arguments._n_gpu = min(arguments.n_gpu, 1)  # each further one would add to the batch size
        trainer = _WeightedTrainer(
            trained,
            arguments,
            data_collator=DataCollatorWithPadding(tokenizer),
            train_dataset=rows,
            processing_class=tokenizer,
            callbacks=[keep_best] if keep_best else [],
        )
        trainer.remove_callback(PrinterCallback)
        try:
            trainer.train()
            if keep_best is not None:
                keep_best.restore(trained)
        finally:  # also where `partial_fit` is interrupted, an ordinary model is left
            # Mixed precision has wrapped `forward`, and the wrapper cannot be pickled.
            trainer.accelerator.unwrap_model(trained, keep_fp32_wrapper=False)
            if trained is not model:
                trained.merge_and_unload()
                model.requires_grad_(True)
    return [] if keep_best is None else keep_best.losses


class _WeightedTrainer(Trainer):  # type: ignore[misc]
    """A trainer whose rows have a "weight"."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        labels, weights = inputs.pop("labels"), inputs.pop("weight")
        outputs = model(**inputs)
        losses = measure_losses(outputs.logits, labels, is_multilabel(self.model))
        loss = (losses * weights).mean()
        return (loss, outputs) if return_outputs else loss


def is_multilabel(model: Any) -> bool:
    """Whether a model gives each label a probability of its own."""
    return bool(model.config.problem_type == MULTILABEL)


def measure_losses(logits: torch.Tensor, labels: torch.Tensor, multilabel: bool) -> torch.Tensor:
    """Return the loss of each text; of several labels, the sum over them."""
    if not multilabel:
        return torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    return loss(logits.float(), labels.float(), reduction="none").sum(dim=1)


class _KeepBest(TrainerCallback):  # type: ignore[misc]
    """Measures the validation loss after each epoch, and keeps the weights with the least.

    After `patience` epochs without a lesser one, training ends.
    """

    def __init__(self, validation_loss: Callable[[Any], float], patience: int | None) -> None:
        self.validation_loss = validation_loss
        self.patience = patience
        self.losses: list[float] = []
        self.weights: dict[str, torch.Tensor] = {}

    def on_epoch_end(
        self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any
    ) -> None:
        loss = self.validation_loss(model)
        if not self.losses or loss < min(self.losses):
            frozen = {name for name, weight in model.named_parameters() if not weight.requires_grad}
            # Copies: a state_dict refers to the weights that training goes on to change.
            self.weights = {
                name: tensor.detach().to("cpu", copy=True)
                for name, tensor in model.state_dict().items()
                if name not in frozen
            }
        self.losses.append(loss)
        n_worse = len(self.losses) - 1 - self.losses.index(min(self.losses))
        if self.patience is not None and n_worse >= self.patience:
            control.should_training_stop = True

    def restore(self, model: Any) -> None:
        """Put the kept weights back."""
        model.load_state_dict(self.weights, strict=False)  # what was frozen is as it was
