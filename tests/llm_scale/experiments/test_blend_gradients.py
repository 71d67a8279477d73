"""Policy gradients of several rewards of the same samples, and the weights that follow from how they agree."""

import numpy as np
import pytest
import torch

from llm_scale.experiments.blend_gradients import BlendWeights, component_gradients, cosines, put_gradient
from llm_scale.models.loading import load
from llm_scale.objectives.objective import objective
from llm_scale.rollouts.sampling import sample

LIMIT, GROUP = 5, 4
DR_GRPO = objective("dr_grpo")


@pytest.fixture
def lm():
    """In float64, with norms that are float64 too, where the library's own are not."""
    made = load("tiny-test", dtype="float64", seed=3)
    for name, module in list(made.model.named_modules()):
        if type(module).__name__.endswith("RMSNorm"):
            exact = torch.nn.RMSNorm(module.weight.shape, eps=1e-6, dtype=torch.float64)
            exact.load_state_dict(module.state_dict())
            made.model.set_submodule(name, exact)
    made.base.model.embed_tokens.padding_idx = None  # else no gradient through padding, which random weights may write
    return made


def drawn(seed, prompts=("2+3=", "17+5=", "9=")):
    lm, generator = load("tiny-test", seed=3), torch.Generator().manual_seed(seed)
    return sample(lm, [lm.encode(p) for p in prompts], group=GROUP, max_new_tokens=LIMIT, generator=generator)


def rewards_of(completions, components=3, seed=0):
    return torch.randn(components, completions.samples, dtype=torch.float64, generator=torch.manual_seed(seed))


def gradients(lm, completions, rewards, **options):
    return component_gradients(lm, completions, rewards, DR_GRPO, max_length=LIMIT, **options)


def surrogate(lm, completions, reward):
    """Mean over samples of centred reward times log-probability over the limit, one sample at a time."""
    total = 0.0
    centred = (reward.view(-1, GROUP) - reward.view(-1, GROUP).mean(1, keepdim=True)).flatten()
    for row in range(completions.samples):
        prompt, answer = completions.prompt_of(row), completions.completion_of(row)
        logits = lm.model(input_ids=torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
        total = total + centred[row] * logits.log_softmax(-1)[torch.arange(len(answer)), answer].sum()
    return total / (completions.samples * LIMIT)


def test_rows_are_the_gradients_of_each_reward_by_itself(lm):
    completions = drawn(0)
    rewards = rewards_of(completions)
    found = gradients(lm, completions, rewards)
    for row, reward in zip(found, rewards, strict=True):
        expected = torch.autograd.grad(surrogate(lm, completions, reward), lm.parameters(), materialize_grads=True)
        torch.testing.assert_close(row, torch.cat([part.flatten() for part in expected]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("weights", [(0.0, 1.0), (1.0, 1.0), (-2.5, 0.3)])
def test_gradients_of_components_add_up_to_that_of_the_sum(lm, weights):
    completions = drawn(1)
    rewards, blend = rewards_of(completions), BlendWeights(weights, step=0.0)
    together = rewards[0] + torch.tensor(weights, dtype=torch.float64) @ rewards[1:]
    expected = gradients(lm, completions, together[None])[0]
    torch.testing.assert_close(blend.blended(gradients(lm, completions, rewards)), expected, rtol=1e-8, atol=1e-12)


def test_hyper_gradient_is_what_a_weight_changes_about_the_primary_reward_after_a_step(lm):
    rate, weights, near = 0.5, torch.tensor([0.7, -0.4], dtype=torch.float64), 1e-4
    old = drawn(2)
    then = gradients(lm, old, rewards_of(old, seed=2))
    start = torch.nn.utils.parameters_to_vector(lm.parameters()).detach()

    def stepped(chosen):
        moved = start + rate * BlendWeights(chosen.tolist(), step=0.0).blended(then)
        torch.nn.utils.vector_to_parameters(moved, lm.parameters())

    stepped(weights)
    new = drawn(4)
    primary = rewards_of(new, 1, seed=5)
    found = BlendWeights(weights.tolist(), step=0.1).move(gradients(lm, new, primary)[0], then[1:])
    for place in range(2):
        values = []
        for sign in (1, -1):
            stepped(weights + sign * near * torch.eye(2, dtype=torch.float64)[place])
            values.append(float(surrogate(lm, new, primary[0]).detach()))
        assert (values[0] - values[1]) / (2 * near) == pytest.approx(rate * float(found[place]), rel=1e-5)


def test_absent_samples_have_no_part(lm):
    completions = drawn(0)
    rewards = rewards_of(completions, 1)
    present = torch.ones(completions.samples, dtype=torch.bool)
    present[5] = False
    changed = rewards.clone()
    changed[0, 5] = 100.0
    first, second = (gradients(lm, completions, each, present=present) for each in (rewards, changed))
    torch.testing.assert_close(first, second)
    assert not torch.allclose(first, gradients(lm, completions, rewards))


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (objective("grpo"), "standardised"),
        (objective("dr_grpo", whitening="samples"), "whitening"),
        (objective("dr_grpo", advantage_filter="clamp"), "advantage_filter"),
        (objective("dr_grpo", kl_weight=0.1), "kl_weight"),
    ],
)
def test_objectives_that_are_not_linear_are_refused(lm, other, why):
    completions = drawn(0)
    with pytest.raises(ValueError, match=why):
        component_gradients(lm, completions, rewards_of(completions), other, max_length=LIMIT)


def test_weights_move_by_the_rule_of_the_tabular_learner():
    rng, memory, step = np.random.default_rng(0), 0.9, 0.05
    blend, weight, square = BlendWeights([0.3, -0.2], step=step, memory=memory), np.array([0.3, -0.2]), np.zeros(2)
    for update in range(1, 8):
        primary, auxiliary = rng.normal(size=5), rng.normal(size=(2, 5)) * [[1e-6], [1e3]]
        found = auxiliary @ primary
        square = memory * square + (1 - memory) * found**2
        weight = weight + step * found / np.sqrt(square / (1 - memory**update))
        moved = blend.move(torch.tensor(primary), torch.tensor(auxiliary))
        np.testing.assert_allclose(moved, found)
        np.testing.assert_allclose(blend.weights, weight, rtol=1e-9)


def test_where_no_answer_is_right_weights_stay():
    blend = BlendWeights([0.5, 1.0], step=0.1)
    for _ in range(3):
        blend.move(torch.zeros(4), torch.ones(2, 4))
    assert blend.weights.tolist() == [0.5, 1.0]


def test_what_agrees_gains_weight_and_what_opposes_loses_it():
    primary, blend = torch.tensor([1.0, -2.0, 0.5]), BlendWeights([0.0, 0.0], step=0.1)
    blend.move(primary, torch.stack([3 * primary, -0.01 * primary]))
    np.testing.assert_allclose(blend.weights, [0.1, -0.1])


def test_weights_and_rows_have_to_agree_in_number():
    with pytest.raises(ValueError, match="auxiliary has 3 rows, expected one a weight: 2"):
        BlendWeights([0.0, 0.0], step=0.1).move(torch.ones(4), torch.ones(3, 4))


@pytest.mark.parametrize(("bad", "message"), [({"step": -1.0}, "step"), ({"step": 0.1, "memory": 1.0}, "memory is 1")])
def test_bad_steps_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        BlendWeights([0.0], **bad)


def test_cosine_of_nothing_is_unknown():
    primary = torch.tensor([1.0, 0.0])
    found = cosines(primary, torch.tensor([[2.0, 0.0], [0.0, 0.0], [-1.0, 1.0]]))
    np.testing.assert_allclose(found, [1.0, np.nan, -(0.5**0.5)], rtol=1e-6)
    assert torch.isnan(cosines(torch.zeros(2), torch.ones(1, 2))).all()


def test_an_optimiser_climbs_along_the_direction(lm):
    before = torch.nn.utils.parameters_to_vector(lm.parameters()).detach().clone()
    ascent = torch.arange(len(before), dtype=torch.float64)
    put_gradient(lm, ascent)
    torch.optim.SGD(lm.parameters(), lr=0.01).step()
    after = torch.nn.utils.parameters_to_vector(lm.parameters()).detach()
    torch.testing.assert_close(after, before + 0.01 * ascent)
