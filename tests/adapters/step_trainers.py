"""Trainers of a tiny model with advantages of steps: what completes, what judges, and the advantages by hand."""

import os
import re

import numpy as np

from rewardlab.adapters.completion_steps import lines
from rewardlab.adapters.samples import completion_text
from tests.adapters.test_trl_steps import byte_level, steps_by_bytes

GENERATIONS = 4
CHAT = "{% for message in messages %}{{ message['role'] }} {{ message['content'] }} {% endfor %}"
CREDIT = {"mode": "clip_delta", "weight": 0.5, "threshold": 0.7}
TEXTS = ("a.\nb\n4", "a 😀\n\n\n b\nab\n\n5", "", "b")  # of the four completions of a prompt


def load_tiny():
    """The module with the tiny trainers' settings and data; importing it imports TRL."""
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    from tests.adapters import trl_two_processes

    return trl_two_processes


def tokenizer():
    from tokenizers import pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    inner, _ = byte_level()
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>", chat_template=CHAT)


def model():
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    names = tokenizer()
    tokens = {"pad_token_id": names.pad_token_id, "eos_token_id": names.eos_token_id, "bos_token_id": None}
    return LlamaForCausalLM(LlamaConfig(max_position_embeddings=256, vocab_size=len(names), **size, **tokens))


def spelling(text):
    """The text in the longest tokens there are, among them some that end within a line or a character."""
    _, tokens = byte_level()
    left, spelled = text.encode(), []
    while left:
        spelled.append(max((token for token in tokens if left.startswith(token)), key=len))
        left = left[len(spelled[-1]) :]
    return spelled


def ids_of(text):
    _, tokens = byte_level()
    return [tokens.index(token) for token in spelling(text)]


def canned_text(prompt, generation, step):
    text = TEXTS[(generation + prompt) % len(TEXTS)]
    return text + f"\n{'ab'[(prompt + step) % 2] * (1 + step)}." if text and (prompt + step) % 3 else text


def rollout_of(text_of, *, end=True):
    """TRL's `rollout_func` that completes prompts with given texts."""

    def rollout(prompts, trainer):
        first = trainer.accelerator.process_index * len(prompts)
        completions = []
        for place, prompt in enumerate(prompts):
            number = int(re.search(r"\d+", str(prompt)).group())
            text = text_of(number, (first + place) % GENERATIONS, trainer.state.global_step)
            completions.append(ids_of(text) + [trainer.processing_class.eos_token_id] * bool(end or not text))
        prompt_ids = [trainer.processing_class(completion_text(prompt) or "p")["input_ids"] for prompt in prompts]
        return {"prompt_ids": prompt_ids, "completion_ids": completions, "logprobs": None}

    return rollout


def judged(text):
    """A score in [0, 1] for a beginning of a completion, on both sides of the threshold."""
    return 0.4 + (7 * sum(text.encode()) % 61) / 101


def judge(prompt, completion, steps, **columns):
    return [judged("".join(steps[: place + 1])) for place in range(len(steps))]


def right(prompt, completion, **columns):
    """Says nothing of an answer that is only "b"."""
    text = completion_text(completion)
    return None if text == "b" else float("4" in text) + 0.25 * len(text.encode()) / 20


def always(prompt, completion, **columns):
    return 1.0


def brief(prompt, completion, even, **columns):
    return -0.1 * len(completion_text(completion)) if even and completion_text(completion) != "b" else None


SIGNALS, WEIGHTS = {"right": right, "brief": brief}, [1.0, 0.5]


def recording(trainer_class):
    """Writes down, for every batch, what all processes had and the advantages that enter the loss."""
    from accelerate.utils import gather_object

    class Recording(trainer_class):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.outputs, self.record = [], []

        def _generate_and_score_completions(self, inputs):
            output = super()._generate_and_score_completions(inputs)
            texts = self.processing_class.batch_decode(output["completion_ids"], skip_special_tokens=True)
            lengths = output["completion_mask"].sum(dim=1).tolist()
            rows = [row[:length] for row, length in zip(output["advantages"].tolist(), lengths, strict=True)]
            self.outputs.append(output)
            self.record.append(
                {
                    "prompts": gather_object([sample["prompt"] for sample in inputs]),
                    "completions": gather_object(texts),
                    "completions_here": len(texts),
                    "advantages": gather_object(rows),
                }
            )
            return output

    return Recording


def step_logs(trainer):
    return [entry for entry in trainer.state.log_history if "reward" in entry]


def weights_of(trainer):
    return np.concatenate([weight.detach().numpy().ravel() for weight in trainer.model.parameters()])


def outcome_of(prompt, completion, data):
    row = next(row for row in data if row["prompt"] == prompt)
    scores = [signal(**row, completion=completion) for signal in SIGNALS.values()]
    if scores == [None, None]:
        return None
    return sum(weight * score for weight, score in zip(WEIGHTS, scores, strict=True) if score is not None)


def by_hand(scores, outcomes, *, weight, threshold, group=GENERATIONS):
    """Advantages of steps, `clip_delta`: a step is worth what it lacks to the threshold, the last nothing."""
    returns = [
        [weight * min(score - threshold, 0) + outcome for score in row[:-1]] + [outcome] if outcome is not None else []
        for row, outcome in zip(scores, outcomes, strict=True)
    ]
    advantages = []
    for index, row in enumerate(returns):
        start = index // group * group
        others = returns[start : start + group]
        means = [np.mean([other[k] for other in others if len(other) > k]) for k in range(len(row))]
        advantages.append([value - mean for value, mean in zip(row, means, strict=True)])
    return advantages


def assert_record_follows_from_its_completions(record, data):
    """Scores, outcomes, advantages and tokens worked out again from the texts, without TRL and without rewardlab."""
    texts = record["completions"]
    outcomes = [outcome_of(prompt, text, data) for prompt, text in zip(record["prompts"], texts, strict=True)]
    scores, owners = [], []
    for text in texts:
        steps, owner = steps_by_bytes(text, spelling(text), lines(text)) if text else ([""], [])
        scores.append(judge("", "", steps))
        owners.append([*owner, len(steps) - 1])  # the token that ends the completion
    advantages = by_hand(scores, outcomes, weight=CREDIT["weight"], threshold=CREDIT["threshold"])
    for row, expected, owner, outcome in zip(record["advantages"], advantages, owners, outcomes, strict=True):
        assert len(row) == len(owner)
        of_tokens = [0.0] * len(owner) if outcome is None else [expected[step] for step in owner]
        np.testing.assert_allclose(row, of_tokens, atol=1e-6)
    return scores, outcomes, advantages
