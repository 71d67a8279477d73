"""Real TRL training of a tiny model with advantages of steps, on one process and on two: slow, since TRL is.

Run as a script it is the training run that the test of two processes starts:

    python -m torch.distributed.run --nproc_per_node 2 -m tests.adapters.test_trl_steps_training OUTPUT.json
"""

import json
import math
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from rewardlab.adapters.completion_steps import lines
from rewardlab.adapters.samples import completion_text
from rewardlab.adapters.trl import reward_functions
from rewardlab.adapters.trl_steps import with_step_rewards
from rewardlab.process.credit import step_advantages
from tests.adapters.test_trl_steps import byte_level, steps_by_bytes

pytestmark = pytest.mark.slow

GENERATIONS = 4
CHAT = "{% for message in messages %}{{ message['role'] }} {{ message['content'] }} {% endfor %}"
CREDIT = {"mode": "clip_delta", "weight": 0.5, "threshold": 0.7}
TEXTS = ("a.\nb\n4", "a 😀\n\n\n b\nab\n\n5", "", "b")  # of the four completions of a prompt


def load_tiny():
    """The module with the tiny trainers' settings and data; importing it imports TRL."""
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    from tests.adapters import trl_two_processes

    return trl_two_processes


@pytest.fixture(scope="module")
def tiny():
    return load_tiny()


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


@pytest.fixture
def make(tiny, tmp_path):
    """Make a trainer of the tiny model; whatever is given replaces the default."""
    from rewardlab.adapters.trl_steps import StepGRPOTrainer

    def make(trainer_class=StepGRPOTrainer, *, signals=None, data=None, text_of=canned_text, settings=None, **given):
        if text_of is not None:
            given.setdefault("rollout_func", rollout_of(text_of))
        if trainer_class is StepGRPOTrainer:
            trainer_class, given = recording(trainer_class), {"step_scores": judge, **CREDIT} | given
        return trainer_class(
            model=model(),
            reward_funcs=given.pop("reward_funcs", None) or reward_functions(signals or SIGNALS),
            args=tiny.tiny_settings(tmp_path, **(settings or {})),
            train_dataset=data or tiny.tiny_data(),
            processing_class=tokenizer(),
            **given,
        )

    return make


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


def test_advantages_of_tokens_are_those_worked_out_by_hand(tiny, make):
    trainer = make(settings={"reward_weights": WEIGHTS})
    before = weights_of(trainer)
    trainer.train()
    assert trainer.state.global_step == len(step_logs(trainer)) == 3
    assert np.abs(weights_of(trainer) - before).max() > 1e-4
    for record, entry in zip(trainer.record, step_logs(trainer), strict=True):
        scores, outcomes, advantages = assert_record_follows_from_its_completions(record, tiny.tiny_data())
        assert None in outcomes and sum(outcome is None for outcome in outcomes) < len(outcomes)
        counted = [row for row, outcome in zip(scores, outcomes, strict=True) if outcome is not None]
        assert entry["reward/step/score"] == pytest.approx(np.mean(np.concatenate(counted)))
        assert entry["reward/step/count"] == pytest.approx(np.mean([len(row) for row in counted]))
        clipped = [[min(score - 0.7, 0) for score in row[:-1]] + [0] for row in counted]
        refined = [row[k] - row[k + 1] if k + 1 < len(row) else row[k] for row in clipped for k in range(len(row))]
        assert entry["reward/step/refined"] == pytest.approx(np.mean(refined))
        by_outcome = by_hand(scores, outcomes, weight=0.0, threshold=0.7)
        outcome, whole = np.concatenate(by_outcome), np.concatenate(advantages)
        steps = np.abs(whole - outcome).sum()
        assert 0.05 < entry["reward/step/share"] < 0.95
        assert entry["reward/step/share"] == pytest.approx(steps / (steps + np.abs(outcome).sum()))
        assert entry["reward"] == pytest.approx(np.mean([value for value in outcomes if value is not None]), rel=1e-5)
        assert entry["frac_reward_zero_std"] == 0
    assert np.ptp([len(row) for row in trainer.record[0]["advantages"]]) > 4
    means = [np.mean(row) if row else 0.0 for row in advantages]
    np.testing.assert_allclose(list(trainer._logs["advantages"]), means, atol=1e-6)


def test_step_scores_see_the_steps_and_the_sample_s_columns(tiny, make):
    seen = []

    def watching(prompt, completion, steps, *, even, completion_ids, **columns):
        seen.append((prompt, completion, steps, even))
        assert tokenizer().decode(completion_ids, skip_special_tokens=True) == completion
        assert "trainer_state" not in columns
        return np.full(len(steps), 0.5, np.float32)

    trainer = make(step_scores=watching, settings={"max_steps": 1})
    trainer.train()
    assert len(seen) == 12
    for prompt, completion, steps, even in seen:
        assert "".join(steps) == completion and steps == lines(completion)
        assert even == (int(prompt[1:]) % 2 == 0)
    assert [""] in [steps for _, _, steps, _ in seen]


def test_without_steps_it_is_trl_s_own_grpo(tiny, make):
    """Weight 0, one step a completion: what TRL does with the outcomes alone, to the last weight."""
    import trl

    settings = {"reward_weights": WEIGHTS}
    ours = make(weight=0.0, split=lambda text: [text], settings=settings)
    plain = make(trl.GRPOTrainer, settings=settings)
    for trainer in (ours, plain):
        trainer.train()
    theirs = list(plain._logs["advantages"])
    assert np.ptp(theirs) > 0.1 and 0.0 in theirs  # no reward function applies to one of each group
    np.testing.assert_allclose(list(ours._logs["advantages"]), theirs, atol=1e-6)
    np.testing.assert_allclose(weights_of(ours), weights_of(plain), atol=1e-6)
    assert step_logs(ours)[0]["reward/step/share"] == 0


@pytest.mark.parametrize(
    "given",
    [
        {"baseline": "group"},
        {"standardise": True},
        {"last_step": "keep"},
        {"threshold": 0.6},
        {"mode": "min_form", "temperature": 0.5},
        {"mode": "raw", "weight": 0.1},
    ],
)
def test_every_argument_reaches_the_advantages(tiny, make, given):
    trainer = make(settings={"max_steps": 1, "reward_weights": WEIGHTS}, **given)
    trainer.train()
    (record,) = trainer.record
    texts = record["completions"]
    outcomes = [
        outcome_of(prompt, text, tiny.tiny_data()) for prompt, text in zip(record["prompts"], texts, strict=True)
    ]
    scores = np.zeros((len(texts), 8))
    mask = np.zeros(scores.shape, bool)
    for row, text in enumerate(texts):
        steps = lines(text)
        scores[row, : len(steps)] = judge("", "", steps)
        mask[row, : len(steps)] = outcomes[row] is not None
    outcomes = np.array([outcome or 0.0 for outcome in outcomes])
    group_ids = np.arange(len(texts)) // GENERATIONS
    expected = step_advantages(scores, mask, outcomes, group_ids=group_ids, **CREDIT | given).advantages
    assert (
        np.abs(expected - step_advantages(scores, mask, outcomes, group_ids=group_ids, **CREDIT).advantages).max()
        > 0.01
    )
    for row, text in enumerate(texts):
        found = record["advantages"][row]
        assert found[0] == pytest.approx(expected[row, 0], abs=1e-6)
        assert found[-1] == pytest.approx(expected[row, len(lines(text)) - 1], abs=1e-6)


@pytest.mark.parametrize("baseline", ["same_step", "group"])
@pytest.mark.parametrize("standardise", [False, True])
def test_what_has_no_outcome_changes_nothing_for_the_others(tiny, make, baseline, standardise):
    def extreme(prompt, completion, steps, **columns):
        return [0.0] * len(steps) if completion == "b" else judge(prompt, completion, steps)

    records = []
    for step_scores in (judge, extreme):
        trainer = make(step_scores=step_scores, baseline=baseline, standardise=standardise, settings={"max_steps": 1})
        trainer.train()
        records.append(trainer.record[0]["advantages"])
        for text, row in zip(trainer.record[0]["completions"], records[-1], strict=True):
            assert (text == "b") == (not np.any(row))
    assert records[0] == records[1]


def filler(prompt, generation, step):
    """As many lines that say nothing as the completion's place in the group, before one and the same answer."""
    return "a b\n" * generation + "4"


def test_lines_of_filler_pay_with_raw_scores_and_not_with_clip_delta(make):
    def kind_judge(prompt, completion, steps, **columns):
        return [0.9] * len(steps)

    firsts = {}
    for mode in ("raw", "clip_delta"):
        trainer = make(
            signals={"right": always},
            text_of=filler,
            step_scores=kind_judge,
            mode=mode,
            settings={"max_steps": 1},
        )
        trainer.train()
        firsts[mode] = np.array([row[0] for row in trainer.record[0]["advantages"]]).reshape(-1, GENERATIONS)
    # 0.5 times 0.9 for each line from the first on, less the group's mean
    np.testing.assert_allclose(firsts["raw"], 0.45 * np.array([[-1.5, -0.5, 0.5, 1.5]] * 3), atol=1e-6)
    assert not firsts["clip_delta"].any()
    assert step_logs(trainer)[0]["frac_reward_zero_std"] == 1


def test_equal_outcomes_still_teach_the_steps(make):
    trainer = make(signals={"right": always}, settings={"max_steps": 1})
    trainer.train()
    (entry,) = step_logs(trainer)
    assert (entry["reward_std"], entry["frac_reward_zero_std"], entry["reward/step/share"]) == (0, 0, 1)


def test_the_model_s_own_completions_are_cut_and_paid(tiny, make):
    trainer = make(text_of=None, settings={"max_completion_length": 24, "reward_weights": WEIGHTS})
    before = weights_of(trainer)
    trainer.train()
    assert len(step_logs(trainer)) == 3 and np.abs(weights_of(trainer) - before).max() > 1e-4
    for output in trainer.outputs:
        assert output["advantages"].shape == output["completion_ids"].shape
        assert not output["advantages"][output["completion_mask"] == 0].any()
        assert output["advantages"].any()


@pytest.mark.parametrize("loss", ["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "vespo", "luspo"])
def test_every_loss_takes_advantages_of_tokens(make, loss):
    """With one step a completion they are all the same, and the loss that of one advantage a completion."""
    import trl

    settings = {"loss_type": loss, "max_steps": 2}
    weights = {}
    for name, given in {"whole": {"weight": 0.0, "split": lambda text: [text]}, "steps": {}}.items():
        trainer = make(settings=settings, **given)
        trainer.train()
        assert all(math.isfinite(entry["loss"]) for entry in step_logs(trainer))
        weights[name] = weights_of(trainer)
    plain = make(trl.GRPOTrainer, settings=settings)
    plain.train()
    np.testing.assert_allclose(weights["whole"], weights_of(plain), atol=1e-6)
    assert np.abs(weights["steps"] - weights["whole"]).max() > 1e-5


@pytest.mark.parametrize(("level", "told_apart"), [("token", True), ("sequence", False)])
def test_why_ratios_of_sequences_are_refused(make, level, told_apart):
    """TRL's loss alone: with one ratio a completion, tokens learn from the mean of all advantages."""
    import trl

    weights = []
    for whole in (False, True):

        class Given(trl.GRPOTrainer):
            averaged = whole

            def _generate_and_score_completions(self, inputs):
                output = super()._generate_and_score_completions(inputs)
                mask = output["completion_mask"]
                advantages = mask * (1.0 + mask.cumsum(dim=1))
                means = (advantages.sum(dim=1) / mask.sum(dim=1))[:, None] * mask
                output["advantages"] = means if self.averaged else advantages
                return output

        trainer = make(Given, settings={"importance_sampling_level": level, "loss_type": "grpo", "max_steps": 1})
        trainer.train()
        weights.append(weights_of(trainer))
    assert (np.abs(weights[0] - weights[1]).max() > 1e-4) == told_apart


def test_batches_of_several_optimiser_steps(tiny, make):
    settings = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 3, "num_iterations": 2}
    trainer = make(settings=settings | {"reward_weights": WEIGHTS, "max_steps": 4})
    trainer.train()
    assert len(trainer.record) == 2
    for record in trainer.record:
        assert record["completions_here"] == 12
        assert_record_follows_from_its_completions(record, tiny.tiny_data())


def test_evaluation_has_its_own_groups(tiny, make):
    settings = {"per_device_eval_batch_size": 6, "num_generations_eval": 2, "eval_strategy": "no", "max_steps": 1}
    trainer = make(settings=settings, eval_dataset=tiny.tiny_data(3))
    trainer.train()
    metrics = trainer.evaluate()
    assert math.isfinite(metrics["eval_loss"])
    assert math.isfinite(trainer.state.log_history[-1]["eval_reward/step/score"])
    # in the group of two, steps that both completions have are opposite
    firsts = np.reshape([row[0] for row in trainer.record[-1]["advantages"]], (3, 2))
    np.testing.assert_allclose(firsts.sum(axis=1), 0, atol=1e-6)
    assert firsts.any()


def test_conversations_and_the_table_of_completions(tiny, make, tmp_path):
    import pandas as pd
    from datasets import Dataset

    data = Dataset.from_dict({"prompt": [[{"role": "user", "content": f"p{i}"}] for i in range(9)]})
    seen = []

    def watching(prompt, completion, steps, **columns):
        assert prompt[0]["role"] == "user" and completion[0]["role"] == "assistant"
        seen.append(steps)
        assert "".join(steps) == completion_text(completion)
        return judge(prompt, completion, steps)

    settings = {"log_completions": True, "max_steps": 1}
    trainer = make(signals={"right": right}, data=data, step_scores=watching, settings=settings)
    trainer.train()
    assert any(len(steps) > 1 for steps in seen)
    table = pd.read_parquet(tmp_path / "completions" / "completions_00001.parquet")
    assert len(table) == 12 and np.ptp(table["advantage"]) > 0.1


def test_what_the_environment_wrote_is_no_step_and_has_no_advantage(tiny, make):
    """TRL's `env_mask`: each completion is a line, the environment's answer, and two more lines."""
    canned = rollout_of(canned_text)

    def rollout(prompts, trainer):
        output = canned(prompts, trainer)
        first, answer, rest = ids_of("a\n"), ids_of("b\n"), ids_of("ab\na")
        eos = [trainer.processing_class.eos_token_id]
        output["completion_ids"] = [first + answer + rest + eos for _ in prompts]
        output["env_mask"] = [[1] * len(first) + [0] * len(answer) + [1] * len(rest + eos) for _ in prompts]
        return output

    seen = []

    def watching(prompt, completion, steps, **columns):
        assert completion == "a\nb\nab\na"
        seen.append(steps)
        return [0.61 - 0.05 * len(seen), 0.05 * len(seen), 0.4]

    trainer = make(signals={"right": always}, rollout_func=rollout, step_scores=watching, settings={"max_steps": 1})
    trainer.train()
    assert seen == [["a\n", "ab\n", "a"]] * 12
    (output,) = trainer.outputs
    # of what a step lacks to the threshold half counts, less the group's mean
    slope = 0.5 * 0.05 * np.array([-1.5, -0.5, 0.5, 1.5] * 3)[:, None]
    first, answer, rest = (len(ids_of(text)) for text in ("a\n", "b\n", "ab\n"))
    expected = np.concatenate([-slope] * first + [0 * slope] * answer + [slope] * rest + [0 * slope] * 2, axis=1)
    np.testing.assert_allclose(output["advantages"], expected, atol=1e-6)
    assert (output["tool_mask"][:, first : first + answer] == 0).all() and (
        output["tool_mask"] == 0
    ).sum() == 12 * answer


def test_completions_that_were_cut_off_count_in_the_baseline_only(tiny, make):
    def rollout(prompts, trainer):
        output = rollout_of(canned_text)(prompts, trainer)
        output["completion_ids"] = [ids[:-1] if len(ids) > 6 else ids for ids in output["completion_ids"]]
        return output

    records = []
    for masked in (False, True):
        settings = {"mask_truncated_completions": masked, "max_steps": 1}
        trainer = make(rollout_func=rollout, settings=settings)
        trainer.train()
        records.append(trainer.outputs[0]["advantages"])
    cut = ~trainer.outputs[0]["completion_mask"].any(dim=1)
    assert 0 < cut.sum() < len(cut)
    assert records[0][cut].any() and not records[1][cut].any()
    assert (records[0][~cut] == records[1][~cut]).all() and records[1][~cut].any()


# ---------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale_rewards": "group"}, r"GRPOConfig\(scale_rewards='group'\): expected 'none'; standardise=True"),
        ({"scale_rewards": "batch"}, r"scale_rewards='batch'\): expected 'none'"),
        ({"scale_rewards": True}, r"scale_rewards='group'\): expected 'none'"),
        ({"multi_objective_aggregation": "normalize_then_sum"}, "the outcome is the weighted sum"),
        ({"importance_sampling_level": "sequence"}, "hands every token the mean of all advantages"),
    ],
)
def test_settings_that_would_undo_the_steps_are_refused(make, change, message):
    with pytest.raises(ValueError, match=message):
        make(settings=change)


def without_columns(prompt, completion, steps):
    return [0.5] * len(steps)


def without_steps(prompt, completion, **columns):
    return []


async def asynchronous(prompt, completion, steps, **columns):
    return [0.5] * len(steps)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"step_scores": 0.5}, TypeError, "step_scores: expected a function, got float"),
        ({"step_scores": without_columns}, TypeError, r"takes \(prompt, completion, steps\), expected .*\*\*columns"),
        ({"step_scores": without_steps}, TypeError, r"takes \(prompt, completion, \*\*columns\), expected"),
        ({"step_scores": asynchronous}, TypeError, "step_scores is asynchronous"),
        ({"split": "\n"}, TypeError, "split: expected a function of a text, got str"),
        ({"mode": "delta_clip"}, ValueError, "mode is 'delta_clip', expected one of"),
        ({"threshold": None}, ValueError, "threshold is None, expected a number"),
        ({"weight": -0.1}, ValueError, "weight is -0.1"),
        ({"baseline": "batch"}, ValueError, "baseline is 'batch'"),
        ({"last_step": "first"}, ValueError, "last_step is 'first'"),
        ({"mode": "min_form", "temperature": 0.0}, ValueError, "temperature is 0"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(make, without_type_checks, given, error, message):
    with pytest.raises(error, match=message):
        make(**given)


@pytest.mark.parametrize(
    ("scores", "error", "message"),
    [
        (
            lambda steps: [0.5] * (len(steps) + 1),
            ValueError,
            r"scores of shape \(\d,\) for the \d steps of sample 0 \(",
        ),
        (lambda steps: [math.nan] * len(steps), ValueError, r"step_scores\[0\] is nan for step 'a.*' of sample 0"),
        (lambda steps: [0.5] * (len(steps) - 1) + [1.5], ValueError, r"is 1.5 for step .* squash log-odds"),
        (lambda steps: [-0.1] * len(steps), ValueError, r"step_scores\[0\] is -0.1"),
        (lambda steps: ["good"] * len(steps), TypeError, r"returned \['good'.* for sample 0 .* expected numbers"),
        (lambda steps: 0.5, TypeError, r"step_scores returned 0.5 for sample 0 .*, expected a score a step"),
        (lambda steps: None, TypeError, "step_scores returned None for sample 0"),
        (lambda steps: [None] * len(steps), TypeError, r"returned \[None.* expected numbers"),
    ],
)
def test_scores_that_do_not_fit_are_refused(make, scores, error, message):
    def step_scores(prompt, completion, steps, **columns):
        return scores(steps)

    trainer = make(step_scores=step_scores, text_of=lambda prompt, generation, step: "a\nb\nab")
    with pytest.raises(error, match=message):
        trainer.train()


def test_what_step_scores_or_a_split_raise_names_the_sample(make):
    def step_scores(prompt, completion, steps, **columns):
        raise KeyError("weights")

    with pytest.raises(KeyError) as caught:
        make(step_scores=step_scores).train()
    assert re.search(r"raised by step_scores for sample 0 \(prompt 'p\d'", caught.value.__notes__[0])
    with pytest.raises(ValueError, match=r"outcomes\[0\] is inf"):
        make(signals={"right": lambda prompt, completion, **columns: 1e60}).train()


def test_scores_may_be_tensors_whole_numbers_and_booleans(make):
    import torch

    records = []
    for form in (list, torch.tensor, np.array, lambda labels: [bool(label) for label in labels]):

        def labels(prompt, completion, steps, form=form, **columns):
            return form([place % 2 for place, _ in enumerate(steps)])

        trainer = make(step_scores=labels, mode="raw", signals={"right": always}, settings={"max_steps": 1})
        trainer.train()
        records.append(trainer.record[0]["advantages"])
    assert all(record == records[0] for record in records) and any(map(any, records[0]))


def test_trainers_that_cannot_have_advantages_of_steps_are_refused(tiny):
    import trl

    from rewardlab.adapters.trl import PipelineGRPOTrainer
    from rewardlab.adapters.trl_steps import StepGRPOTrainer

    assert StepGRPOTrainer.__name__ == "StepGRPOTrainer" and issubclass(StepGRPOTrainer, trl.GRPOTrainer)
    with pytest.raises(TypeError, match=r"RLOOTrainer: expected trl\.GRPOTrainer or a subclass; RLOO has one ratio"):
        with_step_rewards(trl.RLOOTrainer)
    with pytest.raises(TypeError, match="PipelineGRPOTrainer takes its advantages from a pipeline"):
        with_step_rewards(PipelineGRPOTrainer)


# ------------------------------------------------------------------------------------------------------ two processes


def test_two_processes_give_the_numbers_of_one(tiny, tmp_path):
    runs = []
    root = Path(__file__).parents[2]
    environment = os.environ | {"TRL_EXPERIMENTAL_SILENCE": "1", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(root), environment.get("PYTHONPATH", "")])
    for processes in (1, 2):
        output = tmp_path / f"{processes}.json"
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m"]
        command = [sys.executable, *launcher, "tests.adapters.test_trl_steps_training", str(output)]
        run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, cwd=root)
        assert run.returncode == 0, run.stderr[-3000:]
        runs.append(json.loads(output.read_text()))
    one, two = runs
    assert (one["processes"], two["processes"]) == (1, 2)
    for here, there in zip(one["record"], two["record"], strict=True):
        assert (here["completions_here"], there["completions_here"]) == (12, 6)
        assert (here["prompts"], here["completions"]) == (there["prompts"], there["completions"])
        assert there["prompts"][4:8] == [there["prompts"][4]] * 4  # the second group lies on both processes
        assert_record_follows_from_its_completions(there, tiny.tiny_data())
        assert there["advantages"] == here["advantages"]
    # the longest completion is not on every process, so that what they gather differs in width
    longest = [
        [max(map(len, record["advantages"][part])) for part in (slice(6), slice(6, 12))] for record in two["record"]
    ]
    assert any(left != right for left, right in longest)
    for here, there in zip(one["log"], two["log"], strict=True):
        assert here.keys() == there.keys() >= {f"reward/step/{name}" for name in ("score", "refined", "count", "share")}
        for name in here.keys() - {"step_time", "entropy"}:
            np.testing.assert_allclose(there[name], here[name], rtol=1e-5, atol=1e-9, err_msg=name)
    np.testing.assert_allclose(two["weights"], one["weights"], rtol=0, atol=1e-6)


def train_and_write(path):
    from rewardlab.adapters.trl_steps import StepGRPOTrainer

    tiny = load_tiny()
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    with tempfile.TemporaryDirectory() as folder:
        trainer = recording(StepGRPOTrainer)(
            model(),
            reward_functions(SIGNALS),
            tiny.tiny_settings(folder, processes, reward_weights=WEIGHTS),
            tiny.tiny_data(),
            processing_class=tokenizer(),
            rollout_func=rollout_of(canned_text),
            step_scores=judge,
            **CREDIT,
        )
        trainer.train()
    found = {
        "processes": trainer.accelerator.num_processes,
        "record": trainer.record,
        "log": step_logs(trainer),
        "weights": weights_of(trainer).tolist(),
    }
    if trainer.accelerator.is_main_process:
        Path(path).write_text(json.dumps(found))


if __name__ == "__main__":
    train_and_write(sys.argv[1])
