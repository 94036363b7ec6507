"""Drafts are no answer, under whatever name an LLM thinks."""

import pytest

from pgkd.teachers.prompts.thinking import drop_thinking

DRAFT, FINAL = '{"card": ["draft"]}', '{"card": ["final"]}'
NAMES = [
    *("think", "THINK", "thinking", "thought", "thoughts", "reasoning", "reasoning_content"),
    *("reflection", "scratchpad", "analysis", "seed:think", "mm:think", "antThinking"),
    *("inner_monologue", "think_fast", "chain-of-thought"),
]


@pytest.mark.parametrize("name", [*NAMES, "plan", "draft", "cot", "internal", "details"])
def test_an_element_of_any_name_before_the_answer(name):
    for attributes in ("", ' type="x" seconds=3'):
        assert drop_thinking(f"\n<{name}{attributes}>{DRAFT}\n</{name} >\n{FINAL}").strip() == FINAL
    assert (
        drop_thinking(f"<{name}>{DRAFT}</{name}>```json\n{FINAL}\n```").strip("`json\n ") == FINAL
    )


@pytest.mark.parametrize("name", NAMES)
def test_without_its_end_or_its_beginning(name):
    assert drop_thinking(f"<{name}>{DRAFT}") == ""
    assert drop_thinking(f"{DRAFT}? No.</{name}>{FINAL}") == FINAL
    assert drop_thinking(f"<{name}>{DRAFT}<\\/{name}>{FINAL}") == FINAL


@pytest.mark.parametrize(
    ("beginning", "end"),
    [
        ("<|begin_of_thought|>", "<|end_of_thought|>\n<|begin_of_solution|>"),
        ("<|START_THINKING|>", "<|END_THINKING|><|START_RESPONSE|>"),
        ("<|thinking|>", "<|/thinking|>"),
        ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
        ("<|channel>thought\n", "<channel|>"),
        ("<unused94>thought\n", "<unused95>"),
        ("\u25c1think\u25b7", "\u25c1/think\u25b7"),
        ("[THINK]", "[/THINK]"),
    ],
)
def test_marks_of_models(beginning, end):
    assert drop_thinking(beginning + DRAFT + end + FINAL).endswith(FINAL)
    assert "draft" not in drop_thinking(beginning + DRAFT + end + FINAL)
    assert drop_thinking(beginning + DRAFT) == ""
    assert drop_thinking(DRAFT + end + FINAL).endswith(FINAL)


@pytest.mark.parametrize(
    "answer",
    [
        f"```thinking\n{DRAFT}\n```\n{FINAL}",
        f"Thinking: {DRAFT}\n\nAnswer: {FINAL}",
        f"**Reasoning**: {DRAFT}\n**Final answer**: {FINAL}",
        f"<think>a<think>{DRAFT}</think>b</think>{FINAL}",
        f"<think>{DRAFT}</think><plan>{DRAFT}</plan>{FINAL}",
    ],
)
def test_other_forms(answer):
    assert "final" in drop_thinking(answer)
    assert "draft" not in drop_thinking(answer)


@pytest.mark.parametrize(
    "answer",
    [
        f"<answer>{FINAL}</answer>",
        f"<json>{FINAL}</json>",
        f"<output>{FINAL}</output>{FINAL}",
        '{"card": ["what is <think> for", "use </think>"]}',
        '{"card": ["<b>a</b>", "<i>b</i>"], "rate": ["cut o',
        "I think: " + FINAL,
    ],
)
def test_what_is_no_thinking_stays(answer):
    assert drop_thinking(answer) == answer
