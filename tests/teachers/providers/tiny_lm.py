"""A random chat model of a few thousand weights, with a token for each character."""

import string

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed

TEMPLATE = (
    "{% for message in messages %}<|{{ message.role[0] }}|>{{ message.content }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<|a|>{% endif %}"
)
WITHOUT_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    + TEMPLATE
)


def write_tiny_lm(directory, *, template=TEMPLATE, max_length=4096, seed=0):
    """Save model and tokenizer to `directory`."""
    tokens = ["<pad>", "<end>", "<unk>", "<|s|>", "<|u|>", "<|a|>", *string.printable, "é", "…"]
    tokenizer = Tokenizer(
        models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<end>",
        unk_token="<unk>",
        additional_special_tokens=["<|s|>", "<|u|>", "<|a|>"],
        chat_template=template,
    ).save_pretrained(directory)
    set_seed(seed)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokens),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=max_length,
            initializer_range=0.5,  # else all tokens are equally likely, whatever the prompt
            eos_token_id=1,
            pad_token_id=0,
            bos_token_id=None,
        )
    ).save_pretrained(directory)
    return str(directory)
