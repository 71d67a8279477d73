"""The real trainers of TRL 1.16 with a tiny model: the same advantages, loss and gradient of every parameter."""

import os
from types import SimpleNamespace

import pytest
import torch

from llm_scale.objectives.advantages import token_level_advantages
from llm_scale.objectives.loss import BatchCounts, merged_metrics, policy_loss
from llm_scale.objectives.objective import objective

pytestmark = pytest.mark.slow

GROUP, PROMPTS, LIMIT = 4, 3, 6
NAN = float("nan")
REWARDS = [1.0, 0.0, 0.0, 0.5, 0.25, 0.25, 0.25, 0.25, -2.0, 3.0, 0.125, 0.0]
ABSENT = [1.0, NAN, 0.0, 0.5, NAN, NAN, NAN, 0.25, -2.0, 3.0, 0.125, 0.0]  # one of a group, and all but one
LOSSES = {  # TRL's settings of GRPO, and ours
    "grpo": ({"loss_type": "grpo", "beta": 0.04, "use_bias_correction_kl": False}, objective("grpo")),
    "grpo, KL times the ratio": ({"loss_type": "grpo", "beta": 0.04}, objective("grpo", kl_ratio="importance")),
    "grpo, no KL": ({"loss_type": "grpo"}, objective("grpo", kl_weight=0.0)),
    "bnpo": ({"loss_type": "bnpo"}, objective("dapo", clip_high=0.2)),
    "dr_grpo": ({"loss_type": "dr_grpo", "scale_rewards": "none"}, objective("dr_grpo")),
    "dapo": ({"loss_type": "dapo", "epsilon_high": 0.28}, objective("dapo")),
    "lite_ppo": ({"loss_type": "dapo", "scale_rewards": "batch"}, objective("lite_ppo")),
    "cap of the ratio": ({"loss_type": "grpo", "delta": 1.5}, objective("grpo", kl_weight=0.0, ratio_cap=1.5)),
    "cispo": ({"loss_type": "cispo", "epsilon_high": 1.1}, objective("cispo", ratio_cap=1.1)),
    "cispo, default": ({"loss_type": "cispo", "epsilon_high": 5.0}, objective("cispo")),
    "cispo of sequences": (
        {"loss_type": "cispo", "epsilon_high": 1.1, "importance_sampling_level": "sequence"},
        objective("cispo", ratio_cap=1.1, importance="sequence"),
    ),
    "gspo": (
        {"loss_type": "grpo", "epsilon": 3e-4, "epsilon_high": 4e-4, "importance_sampling_level": "sequence"},
        objective("gspo"),
    ),
    "gspo, wide": (
        {"loss_type": "grpo", "epsilon": 0.2, "importance_sampling_level": "sequence"},
        objective("gspo", clip_low=0.2, clip_high=0.2),
    ),
    "gspo, KL": (
        {"loss_type": "grpo", "epsilon": 0.2, "importance_sampling_level": "sequence", "beta": 0.1},
        objective("gspo", clip_low=0.2, clip_high=0.2, kl_weight=0.1, kl_ratio="importance"),
    ),
    "dapo of sequences": (
        {"loss_type": "dapo", "importance_sampling_level": "sequence"},
        objective("dapo", clip_high=0.2, importance="sequence"),
    ),
    "dr_grpo of sequences": (
        {"loss_type": "dr_grpo", "importance_sampling_level": "sequence", "scale_rewards": "none"},
        objective("dr_grpo", importance="sequence"),
    ),
    "luspo": (
        {"loss_type": "luspo", "importance_sampling_level": "sequence"},
        objective("gspo", clip_low=0.2, clip_high=0.2, aggregation="sequence_sum"),
    ),
    "luspo of tokens": ({"loss_type": "luspo"}, objective("grpo", kl_weight=0.0, aggregation="sequence_sum")),
}


@pytest.fixture(scope="module")
def tiny():
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    from tests.adapters import trl_two_processes

    return trl_two_processes


@pytest.fixture
def make(tiny, tmp_path):
    """Make a trainer whose samples have the rewards given, and a reference other than its model."""

    def make(kind="GRPO", *, rewards=REWARDS, **settings):
        import trl

        class Graded(getattr(trl, f"{kind}Trainer")):
            def _calculate_rewards(self, *inputs):
                return torch.tensor(rewards)[:, None]

        common = {
            name: getattr(tiny.tiny_settings(tmp_path), name)
            for name in ("output_dir", "per_device_train_batch_size", "num_generations", "report_to", "use_cpu", "bf16")
        }
        model = tiny.tiny_model()
        with torch.no_grad():
            model.lm_head.weight[1] *= 40  # the end of the sequence comes now and then
        model.save_pretrained(tmp_path / "model")  # from where the trainer loads its reference
        model.config._name_or_path = str(tmp_path / "model")
        trainer = Graded(
            model=model,
            reward_funcs=lambda completions, **columns: [0.0] * len(completions),
            args=getattr(trl, f"{kind}Config")(**common, max_completion_length=LIMIT, seed=3, **settings),
            train_dataset=tiny.tiny_data(),
            processing_class=tiny.tiny_tokenizer(),
        )
        trainer.current_gradient_accumulation_steps = 1  # set by the training loop, which is not run here
        trainer.model.train()
        if trainer.ref_model is not None:
            move(trainer.ref_model, 0.02)
        return trainer

    return make


def move(model, size):
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in model.parameters():
            weight += size * torch.randn(weight.shape, generator=generator)


def generated(trainer):
    """One batch that the trainer samples and scores; then its model moves, so that ratios are no longer 1."""
    prompts = [{"prompt": f"p{i // GROUP}"} for i in range(GROUP * PROMPTS)]
    inputs = trainer._generate_and_score_completions(prompts)
    mask = inputs["completion_mask"].bool()
    assert len(mask.sum(1).unique()) > 1  # of several lengths
    batch = SimpleNamespace(inputs=inputs, mask=mask, group_ids=torch.arange(len(mask)) // GROUP)
    with torch.no_grad():
        batch.old = log_probs(trainer.model, inputs)
        batch.reference = None if trainer.ref_model is None else log_probs(trainer.ref_model, inputs)
    move(trainer.model, 0.03)
    return batch


def log_probs(model, inputs):
    """By a plain forward pass."""
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
    attended = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
    length = inputs["completion_ids"].shape[1]
    logits = model(input_ids=ids, attention_mask=attended).logits[:, -length - 1 : -1]
    return logits.log_softmax(-1).gather(2, inputs["completion_ids"][:, :, None])[:, :, 0]


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters()}


def agree(trainer, batch, ours, advantages):
    """Whether advantages, loss and gradients do; returns our loss."""
    torch.testing.assert_close(advantages, batch.inputs["advantages"][:, None] * batch.mask, atol=1e-4, rtol=1e-4)
    theirs = trainer._compute_loss(trainer.model, batch.inputs)
    expected = gradients(trainer.model, theirs)
    mine = policy_loss(
        log_probs(trainer.model, batch.inputs),
        batch.old,
        advantages,
        batch.mask,
        ours,
        reference_log_probs=batch.reference,
        max_length=LIMIT,
    )
    torch.testing.assert_close(mine.loss, theirs, atol=1e-5, rtol=1e-4)
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    assert largest > 1e-3
    for name, gradient in gradients(trainer.model, mine.loss).items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-4 * largest, rtol=1e-4, msg=name)
    return mine


@pytest.mark.parametrize("case", LOSSES)
def test_grpo_trainer_gives_the_same_loss_and_gradient(make, case):
    settings, ours = LOSSES[case]
    trainer = make(**settings)
    batch = generated(trainer)
    batch.inputs["old_per_token_logps"] = batch.old
    advantages = token_level_advantages(torch.tensor(REWARDS), batch.mask, batch.group_ids, ours)
    mine = agree(trainer, batch, ours, advantages)
    assert mine.metrics["ratio_max"] > 1.05
    logged = trainer._metrics["train"]
    if ours.kl_weight:
        assert mine.metrics["kl"] == pytest.approx(logged["kl"][-1], rel=1e-4)
    if ours.surrogate == "clip" and ours.importance == "token":
        for name in ("clip_low", "clip_high"):
            assert mine.metrics[name] == pytest.approx(logged[name.replace("clip_", "clip_ratio/") + "_mean"][-1])


@pytest.mark.parametrize("rewards", [REWARDS, ABSENT], ids=["rewards", "absent rewards"])
@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_grpo_trainer_gives_the_same_advantages(make, scale, rewards):
    batch = generated(make(rewards=rewards, scale_rewards=scale))
    kind = {"group": "standardised", "batch": "batch_standardised", "none": "mean_centred"}[scale]
    for credit in ("sequence", "token"):
        ours = objective("grpo", advantage=kind, credit=credit)
        mine = token_level_advantages(torch.tensor(rewards), batch.mask, batch.group_ids, ours)
        torch.testing.assert_close(mine, batch.inputs["advantages"][:, None] * batch.mask, atol=1e-5, rtol=1e-5)


def test_absent_samples_leave_the_count_here_and_stay_in_it_there(make):
    trainer = make(rewards=ABSENT, loss_type="grpo")
    batch = generated(trainer)
    batch.inputs["old_per_token_logps"] = batch.old
    rewards, ours = torch.tensor(ABSENT), objective("grpo", kl_weight=0.0)
    advantages = token_level_advantages(rewards, batch.mask, batch.group_ids, ours)
    theirs = agree(trainer, batch, ours, advantages).loss  # `present` left out: they count, as in TRL
    with torch.no_grad():
        new = log_probs(trainer.model, batch.inputs)
        mine = policy_loss(new, batch.old, advantages, batch.mask, ours, present=~rewards.isnan()).loss
    torch.testing.assert_close(mine * 8 / 12, theirs.detach())


@pytest.mark.parametrize("rewards", [REWARDS, ABSENT], ids=["rewards", "absent rewards"])
@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        ({"beta": 0.0}, {"kl_weight": 0.0}),
        ({"beta": 0.05}, {}),
        ({"beta": 0.5, "epsilon_high": 0.1}, {"kl_weight": 0.5, "clip_high": 0.1}),
        ({"beta": 0.05, "normalize_advantages": True}, {"whitening": "samples"}),
    ],
)
def test_rloo_trainer_gives_the_same_advantages_loss_and_gradient(make, settings, changes, rewards):
    trainer, ours = make("RLOO", rewards=rewards, **settings), objective("rloo", **changes)
    batch = generated(trainer)
    advantages = token_level_advantages(
        torch.tensor(rewards),
        batch.mask,
        batch.group_ids,
        ours,
        log_probs=batch.old,
        reference_log_probs=batch.reference,
    )
    assert agree(trainer, batch, ours, advantages).metrics["ratio_max"] > 1.05


def test_parts_of_a_batch_add_up_to_what_the_trainer_makes_of_the_whole(make):
    trainer, ours = make(loss_type="dapo", epsilon_high=0.28), objective("dapo")
    batch = generated(trainer)
    batch.inputs["old_per_token_logps"] = batch.old
    advantages = token_level_advantages(torch.tensor(REWARDS), batch.mask, batch.group_ids, ours)
    expected = gradients(trainer.model, trainer._compute_loss(trainer.model, batch.inputs))
    trainer.model.zero_grad()
    whole, parts = BatchCounts.of(batch.mask), []
    for rows in (slice(0, 4), slice(4, 12)):
        new = log_probs(trainer.model, batch.inputs)[rows]
        part = policy_loss(new, batch.old[rows], advantages[rows], batch.mask[rows], ours, whole=whole)
        part.loss.backward()
        parts.append(part)
    for name, weight in trainer.model.named_parameters():
        torch.testing.assert_close(weight.grad, expected[name], atol=1e-6, rtol=1e-4, msg=name)
    clipped = trainer._metrics["train"]["clip_ratio/high_mean"][-1]
    assert merged_metrics(parts)["clip_high"] == pytest.approx(clipped)
