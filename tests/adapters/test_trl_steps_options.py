"""Advantages of steps with TRL's own options, trained for real: losses, batches, evaluation, masks: slow."""

import math

import numpy as np
import pytest

from rewardlab.adapters.samples import completion_text
from tests.adapters.step_trainers import (
    WEIGHTS,
    always,
    assert_record_follows_from_its_completions,
    canned_text,
    ids_of,
    judge,
    right,
    rollout_of,
    step_logs,
    weights_of,
)

pytestmark = pytest.mark.slow


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
