"""A chat model that transformers runs, in batches."""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from typing import Any

import torch
from jinja2 import TemplateError
from transformers import (
    AutoModelForCausalLM,
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from pgkd.exceptions import StudentError, TeacherError, TeacherRequestError
from pgkd.records import Completion, Message, Usage
from pgkd.system.pretrained import has_fast_bf16, load_pretrained, pick_device


class CausalLM:
    """A causal language model and its tokenizer, on the fastest device there is.

    Parameters
    ----------
    name : str
        A directory, or an id on the hub.
    device : str or None
    context_length : int
        Tokens that a prompt and its answer may have together, if the model has no lower limit.
    """

    def __init__(self, name: str, device: str | None, context_length: int) -> None:
        self.device = pick_device(device)
        dtype = torch.bfloat16 if has_fast_bf16(self.device) else torch.float32
        try:
            model, tokenizer = load_pretrained(
                AutoModelForCausalLM, name, without_hub="pass a GGUF file's path", torch_dtype=dtype
            )
        except StudentError as error:
            raise TeacherError(f"LocalTeacher has no model: {error}") from error
        if tokenizer.chat_template is None:
            raise TeacherError(
                f"The model {name!r} has no chat template, so it was not trained to follow "
                "instructions: pass one that was, e.g. model='Qwen/Qwen2.5-1.5B-Instruct'."
            )
        tokenizer.padding_side = "left"  # an answer goes on where its prompt ends
        self.model, self.tokenizer = model.to(self.device).eval(), tokenizer
        self.max_length = min(context_length, tokenizer.model_max_length)
        end = model.generation_config.eos_token_id
        end = tokenizer.eos_token_id if end is None else end
        self.end_tokens = set(end if isinstance(end, list) else [end])
        self._lock = threading.Lock()

    def answer(
        self,
        chats: Sequence[Sequence[Message]],
        seeds: Sequence[int],
        *,
        temperature: float | None,
        max_tokens: int,
    ) -> list[Completion | TeacherError]:
        """Answer some chats together; one that is too long has an error in its place."""
        answers: list[Any] = [None] * len(chats)
        prompts = [self._render(chat) for chat in chats]
        tokens = self.tokenizer(prompts, add_special_tokens=False)["input_ids"]
        fit = []
        for i, n_tokens in enumerate(map(len, tokens)):
            if n_tokens + max_tokens <= self.max_length:
                fit.append(i)
                continue
            answers[i] = TeacherRequestError(
                f"The prompt has {n_tokens} tokens and its answer may have {max_tokens}, but the "
                f"model takes {self.max_length} in all: lower `max_tokens`, raise `context_length` "
                "if the model allows it, or shorten the texts."
            )
        if fit:
            with self._lock:
                rows = self._generate(
                    [tokens[i] for i in fit], [seeds[i] for i in fit], temperature, max_tokens
                )
            for i, row in zip(fit, rows):
                answers[i] = self._read(row, len(tokens[i]))
        return answers

    def _render(self, chat: Sequence[Message]) -> str:
        def render(messages: Sequence[Message]) -> str:
            # Models that think by default would use up `max_tokens` on it.
            text: str = self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
            return text

        try:
            return render(chat)
        except TemplateError:  # some models know no system prompt
            content = "\n\n".join(message["content"] for message in chat)
            return render([{"role": "user", "content": content}])

    def _generate(
        self,
        prompts: list[list[int]],
        seeds: list[int],
        temperature: float | None,
        max_tokens: int,
    ) -> list[list[int]]:
        batch = self.tokenizer.pad({"input_ids": prompts}, return_tensors="pt").to(self.device)
        config = copy.deepcopy(self.model.generation_config)
        processors = _make_processors(config, seeds, temperature, self.device)
        # The drawing is done by `_Draw`, after which the likeliest token is the drawn one.
        config.update(do_sample=False, temperature=1.0, top_k=50, top_p=1.0)
        config.update(max_new_tokens=max_tokens, max_length=None)
        config.pad_token_id = self.tokenizer.pad_token_id
        try:
            with torch.inference_mode():
                tokens = self.model.generate(
                    **batch, generation_config=config, logits_processor=processors
                )
        except torch.cuda.OutOfMemoryError as error:
            raise TeacherError(
                f"The memory of {self.device!r} is too small for {len(prompts)} requests at once: "
                "lower `batch_size` or `max_tokens`."
            ) from error
        answers: list[list[int]] = tokens[:, batch["input_ids"].shape[1] :].tolist()
        return answers

    def _read(self, tokens: list[int], n_prompt: int) -> Completion:
        """Cut off what is behind the end of an answer: the padding to the longest of its batch."""
        n = next((i for i, token in enumerate(tokens, start=1) if token in self.end_tokens), None)
        text = self.tokenizer.decode(tokens[:n], skip_special_tokens=True)
        usage = Usage(1, n_prompt, n or len(tokens), cost=None)
        return Completion(text, usage, truncated=n is None)


def _make_processors(
    config: Any, seeds: list[int], temperature: float | None, device: str
) -> LogitsProcessorList:
    """Draw as the model's authors recommend it, if no other temperature is wanted."""
    if temperature is None:
        temperature = config.temperature or 1.0
    processors = LogitsProcessorList()
    if temperature == 0:
        return processors
    if temperature != 1:
        processors.append(TemperatureLogitsWarper(float(temperature)))
    if config.top_k:
        processors.append(TopKLogitsWarper(config.top_k))
    if config.top_p is not None and config.top_p < 1:
        processors.append(TopPLogitsWarper(config.top_p))
    processors.append(_Draw(seeds, device))
    return processors


class _Draw(LogitsProcessor):  # type: ignore[misc]
    """Make the likeliest token a drawn one, each row with random numbers of its own.

    So an answer depends on its request and the seed, not on what else is in the batch. Gumbel noise
    on the logits makes the maximum a draw from the softmax.

    References
    ----------
    https://arxiv.org/abs/1611.01144, equation 1
    """

    def __init__(self, seeds: Sequence[int], device: str) -> None:
        self._generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        noise = torch.empty_like(scores, dtype=torch.float32)
        for row, generator in zip(noise, self._generators):
            row.exponential_(generator=generator)
        return scores.float() - noise.log()
