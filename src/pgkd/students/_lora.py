"""Low-rank adapters: what is trained is a small part of the weights."""

from __future__ import annotations

from typing import Any


def check_peft() -> None:
    """Fail before anything is loaded if the package is missing.

    Raises
    ------
    ImportError
    """
    try:
        import peft  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "The `lora_rank` parameter of TransformerStudent needs peft, which is not installed: "
            'pip install "pgkd[lora]", or leave `lora_rank` out.'
        ) from error


def add_adapters(model: Any, rank: int) -> Any:
    """Freeze the model, but for its new head, and add an adapter to every linear layer below.

    Its `merge_and_unload` makes `model` an ordinary one again.

    References
    ----------
    Hu et al., LoRA, https://arxiv.org/abs/2106.09685; on every layer and not on attention alone:
    Dettmers et al., QLoRA, https://arxiv.org/abs/2305.14314, section 4.
    """
    from peft import LoraConfig, get_peft_model

    heads = {
        name: child
        for name, child in model.named_children()
        if child is not model.base_model and next(child.parameters(), None) is not None
    }
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules="all-linear",
        exclude_modules=list(heads),
    )
    if hasattr(model, "peft_config"):  # left behind by adapters that peft < 0.19 has merged
        del model.peft_config
    # The weights are float32 as it is, and peft 0.19 and 0.20 cannot cast beside torch 2.6.
    adapted = get_peft_model(model, config, autocast_adapter_dtype=False)
    for head in heads.values():
        head.requires_grad_(True)
    return adapted
