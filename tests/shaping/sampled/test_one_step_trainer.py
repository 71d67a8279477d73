"""One-step trainers: finite differences through real updates, resumption, and what becomes of advice."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.func import functional_call

from rewardlab.shaping.sampled.blend_network import BlendNetwork
from rewardlab.shaping.sampled.curvature_products import flat_parameters, named_parameters
from rewardlab.shaping.sampled.features import FourierFeatures, OneHot
from rewardlab.shaping.sampled.one_step import (
    importance_weighted_gradient,
    importance_weighted_return,
    inner_gradient,
    meta_gradient_return,
)
from rewardlab.shaping.sampled.one_step_trainer import OneStep, OneStepSettings, ToldWeights
from rewardlab.shaping.sampled.policies import GaussianPolicy, SoftmaxPolicy
from rewardlab.shaping.sampled.surrogate import reward_to_go
from tests.shaping.sampled.test_barfi import Trap
from tests.shaping.sampled.tiny_worlds import Walk

NAMES = ("near", "far")
METHODS = ("lirpg", "explicit_mapping", "meta_gradient", "carried")
PLAIN = OneStepSettings(discount=0.9, policy_optimiser="sgd", policy_learning_rate=2.0, update_every=4)


class Near(Walk):
    """The primary reward of every step tells how near it is."""

    def step(self, action):
        seen, reward, *rest = super().step(action)
        return seen, reward + self.place, *rest


def trainer(method, settings=PLAIN, *, env=None, kind="scalar", weights=None, rng=5, **how):
    """A trainer; `weights` are added to the first ones of the blend, flat."""
    env = env or Near()
    features = FourierFeatures([-2.0, 0.0], [2.0, 1.0], 2)
    start = how.pop("start", 0.3 if kind == "scalar" else None)
    learn_bonus = how.pop("learn_bonus", kind == "linear")
    blend = BlendNetwork(kind, features.size, how.pop("heuristics", 2), learn_bonus=learn_bonus, start=start, rng=4)
    if weights is not None:
        with torch.no_grad():
            for parameter, part in zip(blend.reward_parameters(), split(blend, weights), strict=True):
                parameter += part
    told = ToldWeights(features, blend) if method == "explicit_mapping" else features
    policy = (
        GaussianPolicy(told, 2, 0.3, low=-1.0, high=1.0, rng=3) if env.continuous else SoftmaxPolicy(told, 3, rng=3)
    )
    settings = dataclasses.replace(settings, method=method)
    return OneStep(env, policy, blend, settings, auxiliary=how.pop("auxiliary", NAMES), rng=rng)


def split(blend, flat):
    parts = torch.split(flat, [parameter.numel() for parameter in blend.reward_parameters()])
    return [part.reshape(own.shape) for part, own in zip(parts, blend.reward_parameters(), strict=True)]


def after(method, episodes, settings, weights=None, **how):
    """Parameters of the policy after training with a blend that is kept, or one that is not."""
    made = trainer(method, settings, weights=weights, **how)
    made.train(episodes)
    return flat_parameters(made.policy), made


def derivatives(method, episodes, settings, directions, **how):
    """Of the policy's parameters along directions of the blend's, by central differences through whole trainings."""
    columns, width = [], 1e-6
    for direction in directions.T:
        high, low = (after(method, episodes, settings, side * width * direction, **how)[0] for side in (1, -1))
        columns.append((high - low) / (2 * width))
    return torch.stack(columns, 1)


KEPT = dataclasses.replace(PLAIN, blend_learning_rate=0.0)


@pytest.mark.parametrize("kind", ["scalar", "linear"])
@pytest.mark.parametrize(("method", "episodes"), [("meta_gradient", 4), ("carried", 4), ("carried", 12)])
def test_sensitivities_are_those_of_real_updates(method, episodes, kind):
    _, made = after(method, episodes, KEPT, kind=kind)
    count = sum(parameter.numel() for parameter in made.blend.reward_parameters())
    directions = torch.from_numpy(np.random.default_rng(0).normal(size=(count, 2)))
    expected = derivatives(method, episodes, KEPT, directions, kind=kind)
    torch.testing.assert_close(made.sensitivity @ directions, expected, rtol=1e-6, atol=1e-8)
    assert float(expected.abs().max()) > 0.01


def test_a_meta_gradient_forgets_all_updates_but_the_last():
    _, one = after("meta_gradient", 12, KEPT)
    _, all_three = after("carried", 12, KEPT)
    assert float((one.sensitivity - all_three.sensitivity).abs().max()) > 1e-3
    _, unbiased = after("carried", 12, dataclasses.replace(KEPT, curvature="exact"))
    assert float((unbiased.sensitivity - all_three.sensitivity).abs().max()) > 1e-3


def less_mean(rewards, mask, discount):
    returns = reward_to_go(rewards, discount)
    return torch.where(mask, returns - returns.sum(0) / mask.sum(0), 0)


@pytest.mark.parametrize("method", ["meta_gradient", "carried"])
def test_the_blend_climbs_what_the_next_episodes_say_of_the_update(method):
    """Step of the blend = rate * d(parameters)/d(blend) times the primary gradient on the episodes drawn next."""
    settings = dataclasses.replace(PLAIN, blend_optimiser="sgd", blend_learning_rate=0.5)
    first, before = after(method, 4, settings)
    sensitivity, start = before.sensitivity, before.blend.values.detach().clone()
    assert not before.history.updates
    torch.testing.assert_close(start, torch.full((2,), 0.3, dtype=torch.float64))
    policy = trainer(method).policy
    policy.load_state_dict(named_parameters(policy, first))
    before.train(8)
    batch = before.buffer.newest(4)
    log_prob = lambda flat: functional_call(policy, named_parameters(policy, flat), (batch.x, batch.actions))[0]  # noqa: E731
    scores = torch.func.jacrev(log_prob)(first)
    plain = (less_mean(batch.primary, batch.mask, 0.9)[..., None] * scores).sum((0, 1)) / 4 / 9
    torch.testing.assert_close(before.blend.values.detach(), start + 0.5 * plain @ sensitivity)
    length = float((plain @ sensitivity).norm())
    assert before.history.updates["hypergradient"] == [pytest.approx(length)]
    if method == "meta_gradient":
        assert before.history.cosines == pytest.approx([1.0]) and before.history.norm_ratios == pytest.approx([1.0])
    assert before.history.updates["alignment"] == pytest.approx([1.0])  # of one update, both are first-order
    before.train(24)
    turned = np.array(before.history.updates["alignment"])
    assert (turned > 1 - 1e-9).all() == (method == "meta_gradient")
    assert np.isnan(before.history.cosines).all() == (method == "carried")


@pytest.mark.parametrize("baseline", ["batch", "none"])
def test_lirpg_is_the_derivative_of_the_importance_weighted_return_through_a_real_update(baseline):
    settings = dataclasses.replace(PLAIN, blend_optimiser="sgd", blend_learning_rate=0.5, baseline=baseline)
    _, made = after("lirpg", 4, settings)
    policy, batch = trainer("lirpg").policy, made.buffer.newest(4)

    def judged(weights):
        updated, _ = after("lirpg", 4, dataclasses.replace(settings, blend_learning_rate=0.0), weights)
        with torch.no_grad():
            new = functional_call(policy, named_parameters(policy, updated), (batch.x, batch.actions))[0]
            old = policy.log_prob(batch.x, batch.actions)
        worth = less_mean(batch.primary, batch.mask, 0.9) if baseline == "batch" else reward_to_go(batch.primary, 0.9)
        return float((torch.where(batch.mask, (new - old).exp() * worth, 0)).sum()) / 4 / 9

    width, units = 1e-6, torch.eye(2, dtype=torch.float64)
    expected = torch.tensor([(judged(width * unit) - judged(-width * unit)) / (2 * width) for unit in units])
    torch.testing.assert_close(made.blend.values.detach(), 0.3 + 0.5 * expected.double(), rtol=1e-6, atol=1e-9)
    assert float(expected.norm()) > 1e-3
    assert -1 < made.history.cosines[0] < 0.99  # steps this large turn it; without a baseline they turn it round


def test_the_vector_of_lirpg_is_its_hypergradient_in_policy_space():
    """<rates * gradient after the update, derivative of the inner gradient>, and its cosine and norm are recorded."""
    settings = dataclasses.replace(PLAIN, baseline="none", entropy_weight=0.0)
    _, made = after("lirpg", 4, settings)
    policy, batch = trainer("lirpg").policy, made.buffer.newest(4)
    plain = inner_gradient(policy, batch, batch.primary, 0.9)
    blend = trainer("lirpg").blend
    rewards = blend(batch.x, batch.primary, batch.auxiliary)
    discount = float(blend.discount().detach())
    updated = flat_parameters(policy) + 2 * inner_gradient(policy, batch, rewards.detach(), discount)
    vector = 2 * importance_weighted_gradient(policy, batch, updated, outer_discount=0.9)
    assert made.history.cosines[0] == pytest.approx(float(torch.cosine_similarity(vector, plain, dim=0)), abs=1e-12)
    assert made.history.norm_ratios[0] == pytest.approx(float(vector.norm() / plain.norm()) / 2)
    through = meta_gradient_return(policy, batch, rewards, discount, outer_gradient=vector, learning_rate=1.0)
    direct = importance_weighted_return(policy, batch, rewards, discount, learning_rate=2.0, outer_discount=0.9)
    by_vector, by_return = (torch.autograd.grad(f, blend.values, retain_graph=True)[0] for f in (through, direct))
    torch.testing.assert_close(by_vector, by_return)
    assert made.history.updates["hypergradient"] == [pytest.approx(float(by_return.norm()))]


def test_twice_the_auxiliary_reward_is_twice_the_weight():
    twice, _ = after("lirpg", 4, dataclasses.replace(KEPT, auxiliary_scale=2.0))
    same, _ = after("lirpg", 4, KEPT, torch.full((2,), 0.3, dtype=torch.float64))
    torch.testing.assert_close(twice, same)
    assert float((twice - after("lirpg", 4, KEPT)[0]).abs().max()) > 1e-3


def test_explicit_mapping_is_the_policy_gradient_through_the_inputs():
    settings = dataclasses.replace(PLAIN, blend_optimiser="sgd", blend_learning_rate=0.5)
    _, made = after("explicit_mapping", 4, settings)
    policy, batch = trainer("explicit_mapping").policy, made.buffer.newest(4)
    torch.testing.assert_close(batch.x[..., -2:][batch.mask], torch.full((int(batch.mask.sum()), 2), 0.3).double())

    def judged(weights):
        told = torch.cat([batch.x[..., :-2], (0.3 + weights).expand(*batch.mask.shape, 2)], -1)
        worth = less_mean(batch.primary, batch.mask, 0.9)
        return torch.where(batch.mask, policy.log_prob(told, batch.actions) * worth, 0).sum() / 4 / 9

    expected = torch.func.grad(judged)(torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(made.blend.values.detach(), 0.3 + 0.5 * expected)
    assert float(expected.norm()) > 1e-4
    assert np.isnan(made.history.cosines).all() and np.isfinite(made.history.updates["alignment"]).all()


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("kind", ["scalar", "linear"])
@pytest.mark.parametrize("method", METHODS)
def test_trains_everywhere_and_repeats_itself(method, kind, continuous):
    settings = OneStepSettings(update_every=4, policy_learning_rate=0.01, blend_learning_rate=0.01)
    runs = [trainer(method, settings, env=Near(continuous), kind=kind, rng=seed) for seed in (1, 1, 2)]
    one, same, other = (run.train(16) for run in runs)
    assert (one.returns == same.returns).all() and (one.returns != other.returns).any()
    assert one.updates["alignment"] == same.updates["alignment"]
    assert len(one.cosines) == len(one.norm_ratios) == (3 if method in ("meta_gradient", "carried") else 4)
    has_vector = method in ("lirpg", "meta_gradient")
    assert np.isfinite(one.cosines).all() == np.isfinite(one.norm_ratios).all() == has_vector
    start = trainer(method, settings, env=Near(continuous), kind=kind).blend
    for ours, first in zip(runs[0].blend.reward_parameters(), start.reward_parameters(), strict=True):
        assert float((ours - first).abs().max()) > 1e-4
    assert one.discounts[-1] == one.discounts[0] == pytest.approx(0.99)


@pytest.mark.parametrize("stop", [8, 10])
@pytest.mark.parametrize("optimiser", ["sgd", "rmsprop"])
@pytest.mark.parametrize("method", METHODS)
def test_resumed_training_gives_the_same_numbers(method, optimiser, stop, tmp_path):
    settings = OneStepSettings(
        policy_optimiser=optimiser, policy_learning_rate=0.02, blend_learning_rate=0.05, update_every=4
    )
    whole = trainer(method, settings, kind="linear")
    history = whole.train(24)
    path = tmp_path / "training.pt"
    trainer(method, settings, kind="linear").train(stop, checkpoint=path)
    resumed = trainer(method, settings, kind="linear")
    again = resumed.train(24, checkpoint=path)
    assert again.episodes == history.episodes
    for name, column in history.updates.items():
        np.testing.assert_array_equal(again.updates[name], column)
    for ours, theirs in zip(resumed.blend.parameters(), whole.blend.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(ValueError, match="the checkpoint has update_every 4, this trainer 5"):
        trainer(method, dataclasses.replace(settings, update_every=5), kind="linear").train(25, checkpoint=path)


class Helped(Trap):
    """A heuristic that pays for every step towards the goal."""

    def auxiliary(self):
        return {"near": -((self.goal - self.place) ** 2)}


LEARNING = OneStepSettings(
    policy_optimiser="sgd", policy_learning_rate=3.0, blend_learning_rate=0.02, update_every=8, baseline="batch"
)
ONE = {"heuristics": 1, "auxiliary": ("near",)}


@pytest.mark.parametrize("method", ["lirpg", "meta_gradient", "carried"])
def test_the_weight_of_bad_advice_falls_and_of_good_advice_rises(method):
    bad = trainer(method, LEARNING, env=Trap(), start=0.3, **ONE)
    assert bad.train(240).returns[-80:].mean() > 0.6 and float(bad.blend.values.detach()) < 0
    good = trainer(method, LEARNING, env=Helped(), start=0.0, **ONE)
    assert good.train(240).returns[-80:].mean() > 0.6 and float(good.blend.values.detach()) > 0.1


def test_bad_advice_that_is_trusted_for_good_loses_the_goal():
    rests = dataclasses.replace(LEARNING, blend_learning_rate=0.0)
    assert trainer("lirpg", rests, env=Trap(), start=1.0, **ONE).train(240).returns[-80:].mean() < 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "maml"}, "method is 'maml', expected one of"),
        ({"policy_optimiser": "adam"}, "policy_optimiser is 'adam', expected one of"),
        ({"blend_optimiser": "lion"}, "blend_optimiser is 'lion'"),
        ({"policy_learning_rate": 0.0}, "policy_learning_rate is 0.0"),
        ({"blend_learning_rate": -1.0}, "blend_learning_rate is -1"),
        ({"entropy_weight": float("nan")}, "entropy_weight is nan"),
        ({"discount": 1.1}, r"discount is 1.1, expected a number in \[0, 1\]"),
        ({"update_every": 0}, "update_every is 0"),
        ({"update_every": 1}, "update_every is 1, expected 2 or more with baseline='batch'"),
        ({"baseline": "running"}, "baseline is 'running'"),
        ({"curvature": "fisher"}, "curvature is 'fisher'"),
        ({"horizon": 0}, "horizon is 0"),
        ({"auxiliary_scale": float("inf")}, "auxiliary_scale is inf"),
    ],
)
@pytest.mark.usefixtures("without_type_checks")
def test_wrong_settings(change, message):
    with pytest.raises(ValueError, match=message):
        OneStepSettings(**change)


@pytest.mark.usefixtures("without_type_checks")
def test_parts_that_do_not_go_together():
    features = FourierFeatures([-2.0, 0.0], [2.0, 1.0], 2)
    blend, other = (BlendNetwork("scalar", heuristics=2, start=0.0) for _ in range(2))
    plain, told = SoftmaxPolicy(features, 3), SoftmaxPolicy(ToldWeights(features, blend), 3)
    mapping = OneStepSettings(method="explicit_mapping")
    for policy, used, settings in ((told, blend, PLAIN), (plain, blend, mapping), (told, other, mapping)):
        with pytest.raises(ValueError, match=r"the policy's features are .* expected ToldWeights of the blend"):
            OneStep(Walk(), policy, used, settings, auxiliary=NAMES)
    for names in (("near",), "near", ()):
        with pytest.raises(ValueError, match="expected 2 names: one a weight of the blend"):
            OneStep(Walk(), plain, blend, auxiliary=names)
    with pytest.raises(ValueError, match=r"info\['auxiliary'\] has \['far', 'near'\], not 'up'"):
        OneStep(Walk(), plain, blend, auxiliary=("near", "up")).train(1)


def test_an_infinite_hypergradient_is_refused():
    made = trainer("carried")
    made.train(4)
    made.sensitivity *= float("inf")
    with pytest.raises(ValueError, match=r"the hyper-gradient after episode 8 is (inf|nan): lower the learning rates"):
        made.train(8)


def test_told_weights_are_those_of_the_blend_by_row_and_by_batch():
    for features in (FourierFeatures([0.0], [1.0], 2), OneHot(2)):
        blend = BlendNetwork("linear", features.size, 2, rng=1)
        told = ToldWeights(features, blend)
        observation = np.array([1.0])
        row = told.row(observation)
        expected = blend.weights(features(torch.tensor([[1.0]], dtype=torch.float64)))[0, -2:].detach().numpy()
        np.testing.assert_allclose(row[-2:], expected)
        np.testing.assert_allclose(row, told(torch.from_numpy(observation)[None])[0].numpy())
        assert len(row) == told.size
