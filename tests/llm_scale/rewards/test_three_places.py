"""One reward file, unchanged, in our loop, in TRL's trainers, and in verl's and OpenRLHF's forms: the same rewards."""

import functools
import os

import numpy as np
import pytest

from llm_scale.models.loading import load
from llm_scale.rewards.reward_path import RewardPath
from llm_scale.rewards.sample import Decoder, Sample
from llm_scale.rewards.sources import columns_of
from llm_scale.tasks.addition import AdditionTask
from rewardlab.adapters.openrlhf import reward_function
from rewardlab.adapters.verl import compute_score_function

TASK = AdditionTask(style="bare")
PROBLEMS = TASK.problems("train", 2, seed=0)
ANSWERS = ("{}", "it is {}", "x", "9{}")  # right; right but long; wrong; well formed but wrong


def texts():
    return [answer.format(problem.gold) for problem in PROBLEMS for answer in ANSWERS]


def ours(path, rows=None):
    """Rewards of our path for the texts, or for what another trainer saw."""
    lm = load("tiny-test")
    rows = rows or [(problem.prompt, text) for problem, text in zip(np.repeat(PROBLEMS, 4), texts(), strict=True)]
    prompts = [problem.prompt for problem in PROBLEMS]
    decode = Decoder(lm.tokenizer)
    samples = [
        Sample(PROBLEMS[at], text, lm.encode_completion(text), True, row, at, decode)
        for row, (at, text) in enumerate((prompts.index(prompt), text) for prompt, text in rows)
    ]
    return path(samples, [sample.prompt_row for sample in samples])


def verl_scores(path, rows):
    compute_score = compute_score_function(path.signals, pipeline=path.pipeline, prompt_key="question")
    gold = {problem.prompt: columns_of(problem) for problem in PROBLEMS}
    scores = []
    for prompt, text in rows:
        extra = {"question": prompt, **{name: gold[prompt][name] for name in ("number", "data")}}
        scores.append(compute_score("addition", text, gold[prompt]["gold"], extra)["score"])
    return scores


def openrlhf_scores(path, rows):
    gold = {problem.prompt: problem.gold for problem in PROBLEMS}
    function = reward_function(path.signals, pipeline=path.pipeline, end_token="<end>")
    prompts = [prompt for prompt, _ in rows]
    queries = [prompt + text + "<end>" for prompt, text in rows]
    return function.values(queries, prompts, [gold[prompt] for prompt in prompts])["rewards"]


@pytest.mark.parametrize("name", ["correct", "conjunction", "weighted_sum"])
def test_verl_and_openrlhf_get_our_rewards(name):
    path = RewardPath.from_toml(f"rewards/{name}.toml", TASK)
    expected = ours(path).rewards
    assert len(set(expected)) > 1
    rows = [(problem.prompt, text) for problem, text in zip(np.repeat(PROBLEMS, 4), texts(), strict=True)]
    assert verl_scores(path, rows) == expected.tolist()
    assert openrlhf_scores(path, rows).tolist() == expected.tolist()


def trained(trainer_class, folder, reward_funcs, **arguments):
    """A trainer after one step of the tiny model on the texts, and whether its weights moved."""
    from datasets import Dataset
    from trl import GRPOConfig

    lm = load("tiny-test")

    def rollout(prompts, trainer):
        every = dict(zip([problem.prompt for problem in PROBLEMS], (ANSWERS, ANSWERS), strict=True))
        gold = {problem.prompt: problem.gold for problem in PROBLEMS}
        written = [every[prompt][place % 4].format(gold[prompt]) for place, prompt in enumerate(prompts)]
        return {
            "prompt_ids": [lm.encode(prompt) for prompt in prompts],
            "completion_ids": [lm.encode_completion(text) for text in written],
            "logprobs": None,
        }

    settings = GRPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=16,
        max_steps=1,
        learning_rate=0.1,
        optim="sgd",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        scale_rewards="none",
    )
    trainer = trainer_class(
        model=lm.model,
        reward_funcs=reward_funcs,
        args=settings,
        train_dataset=Dataset.from_list([columns_of(problem) for problem in PROBLEMS]),
        processing_class=lm.tokenizer,
        rollout_func=rollout,
        **arguments,
    )
    before = [weight.detach().clone() for weight in trainer.model.parameters()]
    trainer.train()
    assert trainer.state.global_step == 1
    moved = any((weight != old).any() for weight, old in zip(trainer.model.parameters(), before, strict=True))
    return trainer, moved


@pytest.mark.slow
@pytest.mark.parametrize("name", ["correct", "conjunction", "weighted_sum"])
def test_a_step_of_trl_gets_our_rewards(name, tmp_path):
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    import trl

    from rewardlab.adapters.trl import per_sample_reward_function

    path = RewardPath.from_toml(f"rewards/{name}.toml", TASK)
    function, rows, values = per_sample_reward_function(path.pipeline, path.signals), [], []

    @functools.wraps(function)
    def recorded(prompts, completions, **columns):
        found = function(prompts, completions, **columns)
        rows.extend(zip(prompts, completions, strict=True))
        values.extend(found)
        return found

    _, moved = trained(trl.GRPOTrainer, tmp_path, recorded)
    assert moved
    assert len(rows) == 8 and {text for _, text in rows} == set(texts())
    assert values == ours(path, rows).rewards.tolist()
    assert values == verl_scores(path, rows)


@pytest.mark.slow
def test_a_step_of_trl_with_a_file_that_needs_groups_gets_our_advantages(tmp_path):
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    import trl

    from rewardlab.adapters.trl import reward_functions, with_pipeline

    path = RewardPath.from_toml("rewards/normalise_then_sum.toml", TASK)
    record = {}

    class Recording(with_pipeline(trl.GRPOTrainer)):
        def _generate_and_score_completions(self, inputs):
            output = super()._generate_and_score_completions(inputs)
            written = self.processing_class.batch_decode(output["completion_ids"], skip_special_tokens=True)
            record["rows"] = list(zip([row["prompt"] for row in inputs], written, strict=True))
            record["advantages"] = output["advantages"].tolist()
            return output

    _, moved = trained(Recording, tmp_path, reward_functions(path.signals), pipeline=path.pipeline)
    assert moved
    assert record["advantages"] == pytest.approx(ours(path, record["rows"]).advantages.tolist(), abs=1e-5)
