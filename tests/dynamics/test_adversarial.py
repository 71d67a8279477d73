"""The adversarial training: reproducible, resumable, honest about itself, and of use."""

import io
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.dynamics.adversarial import AdversarialFit, fit_adversarial
from rewardlab.dynamics.adversarial_settings import AdversarialSettings, EntropyBonus, ProximalSettings
from rewardlab.dynamics.behaviour import BehaviourSettings
from tests.dynamics.recordings import law, recording

TINY = AdversarialSettings(
    iterations=6,
    snapshots=3,
    discriminator_steps=2,
    batch_size=32,
    rollout_length=3,
    generator_hidden=(16,),
    discriminator_hidden=(16,),
    behaviour=BehaviourSettings(hidden=(8,), steps=10),
)
VARIANTS = {
    "reparameterised": TINY,
    "ppo": replace(TINY, generator_update="ppo", proximal=ProximalSettings(epochs=2, batch_size=40)),
    "entropy": replace(TINY, entropy_bonus=EntropyBonus(), logit_clip=2.0),
}
TABLE = recording()


def run(settings=TINY, *, seed=0, iterations=None, table=TABLE, **options):
    fit = AdversarialFit(table, settings, seed=seed, **options)
    for _ in range(settings.iterations if iterations is None else iterations):
        fit.step()
    return fit


def reloaded(state):
    """The state after a way through a file that may hold no code."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def assert_same(one, two):
    """Two fits agree bit by bit in all that they learned."""
    assert one.history == two.history
    for name in ("discriminator", "model", "policy"):
        theirs = getattr(two, name).state_dict()
        for key, value in getattr(one, name).state_dict().items():
            assert torch.equal(value, theirs[key]), (name, key)
    left, right = one.reward(rescale="none"), two.reward(rescale="none")
    for key, value in left.state_dict().items():
        assert torch.equal(value, right.state_dict()[key]), key


def test_begins_at_log_4_with_two_sides_that_know_nothing():
    settings = replace(TINY, discriminator_steps=1, batch_size=256)
    numbers = AdversarialFit(TABLE, settings, seed=0).step()
    assert numbers["loss"] == pytest.approx(math.log(4), abs=0.1)
    assert 0.5 < numbers["generator_error"] < 2
    assert numbers["generator_reward"] == pytest.approx(math.log(2), abs=0.2)


def test_discriminator_learns_while_the_generator_is_slow():
    settings = replace(
        TINY, iterations=60, discriminator_steps=10, generator_learning_rate=1e-6, discriminator_learning_rate=3e-3
    )
    history = run(settings).history
    assert history["loss"][-1] < 0.8 * math.log(4)
    assert history["real"][-1] > history["generated"][-1] + 1
    assert history["generator_error"][-1] == pytest.approx(history["generator_error"][0], rel=0.25)


def test_generator_learns_from_the_discriminator():
    settings = replace(
        TINY,
        iterations=80,
        discriminator_steps=5,
        batch_size=64,
        discriminator_hidden=(32, 32),
        generator_learning_rate=3e-3,
        discriminator_learning_rate=3e-3,
        behaviour=BehaviourSettings(hidden=(8,), steps=100),
    )
    errors = run(settings, seed=1).history["generator_error"]
    assert np.mean(errors[-10:]) < 0.6 * np.mean(errors[:10])


@pytest.mark.parametrize("name", VARIANTS)
def test_same_seed_same_numbers_and_no_global_randomness(name):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one, two = run(VARIANTS[name], seed=3), run(VARIANTS[name], seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert_same(one, two)
    other = run(VARIANTS[name], seed=4)
    assert other.history["loss"] != one.history["loss"]


@pytest.mark.parametrize("done", [0, 1, 4])
@pytest.mark.parametrize("name", VARIANTS)
def test_resumed_training_is_the_same_bit_for_bit(name, done):
    settings = VARIANTS[name]
    whole, part = run(settings), run(settings, iterations=done)
    state = reloaded(part.state_dict())
    part.step()  # what is saved does not change with the fit that it is of
    resumed = AdversarialFit(TABLE, settings, seed=0)
    resumed.load_state_dict(state)
    assert resumed.iteration == done
    for _ in range(settings.iterations - done):
        resumed.step()
    assert_same(whole, resumed)


def test_function_resumes_too_and_reports_each_iteration():
    seen = []
    whole = fit_adversarial(TABLE, TINY, seed=0, on_step=lambda step, numbers: seen.append((step, numbers)))
    assert [step for step, _ in seen] == [1, 2, 3, 4, 5, 6]
    assert set(seen[0][1]) == {"loss", "real", "generated", "generator_error", "generator_reward"}
    state = run(iterations=2).state_dict()
    resumed = fit_adversarial(TABLE, TINY, seed=0, state=state)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
    assert whole.kind == "adversarial" and whole.rescale == "official"
    assert whole.facts["seed"] == 0 and whole.facts["settings"]["iterations"] == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "the state has seed 0, this fit 1"),
        ({"settings": replace(TINY, batch_size=31)}, "the state has batch_size 32, this fit 31"),
        ({"table": recording(seed=9)}, "the state has actions"),
        ({"dtype": torch.float64}, "the state has dtype 'torch.float32', this fit 'torch.float64'"),
    ],
)
def test_refuses_a_state_of_another_training(change, message):
    state = run(iterations=1).state_dict()
    arguments = {"table": TABLE, "settings": TINY, "seed": 0, **change}
    with pytest.raises(ValueError, match=message):
        AdversarialFit(arguments.pop("table"), arguments.pop("settings"), **arguments).load_state_dict(state)


@given(st.integers(1, 1000), st.integers(1, 60), st.floats(0.01, 1))
def test_snapshots_are_spread_over_the_kept_history(iterations, snapshots, history):
    settings = AdversarialSettings(iterations=iterations, snapshots=snapshots, history=history)
    taken = list(range(0, iterations, settings.snapshot_interval))
    kept = taken[-settings.snapshots_kept :]
    assert 1 <= len(kept) <= snapshots
    assert kept[0] >= iterations - history * iterations - settings.snapshot_interval
    assert iterations - kept[-1] <= settings.snapshot_interval
    if history == 1:
        assert kept[0] == 0


def test_default_keeps_forty_from_the_first_iteration_on():
    settings = AdversarialSettings()
    assert (settings.snapshot_interval, settings.snapshots_kept) == (10, 40)
    late = AdversarialSettings(history=5 / 6)
    assert (late.snapshot_interval, late.snapshots_kept) == (9, 38)


def test_snapshots_are_the_discriminators_of_their_iterations_with_its_mean_logits():
    fit = AdversarialFit(TABLE, TINY, seed=0)
    weights = []
    for _ in range(6):
        fit.step()
        weights.append(fit.discriminator.layers[0].weight.detach().clone())
    reward = fit.reward(rescale="none")
    assert reward.snapshots == 3 and fit.snapshots.chosen() == [0, 1, 2]
    for place, iteration in enumerate((0, 2, 4)):
        assert torch.equal(reward.weight_0[place], weights[iteration].T)
        assert float(reward.high[place]) == pytest.approx(fit.history["real"][iteration], rel=1e-6)
        assert float(reward.low[place]) == pytest.approx(fit.history["generated"][iteration], rel=1e-6)


def test_late_history_leaves_the_first_snapshots_out():
    fit = run(replace(TINY, history=0.5))
    reward, whole = fit.reward(rescale="none"), run().reward(rescale="none")
    assert reward.snapshots == 3 and fit.snapshots.chosen() == [3, 4, 5]
    assert torch.equal(reward.weight_0[1], whole.weight_0[2])  # iteration 4 is in both


def test_snapshots_that_rank_the_generated_higher_are_left_out_and_counted():
    fit = run()
    fit.snapshots.add(fit.discriminator, low=1.0, high=-1.0)
    assert fit.reward(rescale="none").snapshots == 3
    found = fit.reward()
    assert found.facts["snapshots_dropped"] >= 1 and bool((found.high > found.low).all())


def test_rows_without_next_observation_are_not_taken_for_real():
    table = recording(40, length=2, lost=range(15))
    fit = AdversarialFit(table, TINY, seed=0)
    assert fit.rows_left_out == 15 and len(fit._real[0]) == 25 and len(fit._starts) == 40
    assert bool((fit._real[0] != fit._real[2]).all())
    with pytest.raises(ValueError, match="1 rows with a valid next observation, expected at least 2"):
        AdversarialFit(recording(2, length=1, lost=[0]), TINY, seed=0)


def test_entropy_bonus_grows_where_the_verdicts_are_too_sure_and_shrinks_where_not():
    bonus = EntropyBonus(target=0.693)
    sure = run(replace(TINY, iterations=20, entropy_bonus=bonus, discriminator_learning_rate=1e-2)).history
    assert sure["entropy_coefficient"][0] == pytest.approx(1e-3, rel=0.05)
    assert sure["entropy_coefficient"][-1] > sure["entropy_coefficient"][0]
    unsure = run(replace(TINY, iterations=20, entropy_bonus=EntropyBonus(target=0.1))).history
    assert unsure["entropy_coefficient"][-1] < unsure["entropy_coefficient"][0]
    assert all(0 < value <= math.log(2) + 1e-6 for value in sure["entropy"])


def test_entropy_bonus_keeps_verdicts_unsure():
    eager = replace(TINY, iterations=40, discriminator_learning_rate=1e-2, generator_learning_rate=1e-6)
    plain = run(eager).history
    held = run(replace(eager, entropy_bonus=EntropyBonus(coefficient=10.0, target=0.693))).history
    assert min(held["entropy"]) > 0.6
    assert held["real"][-1] - held["generated"][-1] < 0.5 * (plain["real"][-1] - plain["generated"][-1])


def test_logits_beyond_the_clip_give_no_gradient():
    fit = AdversarialFit(TABLE, replace(TINY, logit_clip=1e-9), seed=0)
    before = {name: value.clone() for name, value in fit.discriminator.state_dict().items()}
    fit.step()
    for name, value in fit.discriminator.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_works_in_float64():
    fit = run(dtype=torch.float64)
    reward = fit.reward(rescale="none")
    columns = [torch.as_tensor(x[:5]).double() for x in (TABLE.observations, TABLE.actions, TABLE.next_observations)]
    assert reward(*columns).dtype == torch.float64
    single = run()
    assert fit.history["loss"][0] == pytest.approx(single.history["loss"][0], rel=0.1)


def test_ends_when_all_iterations_are_done():
    with pytest.raises(ValueError, match="all 6 iterations are done"):
        run(iterations=7)


def test_says_so_when_it_diverges():
    with pytest.raises(ValueError, match=r"diverged in iteration \d+: \w+ is (nan|inf|-inf)"):
        run(replace(TINY, generator_learning_rate=1e30, gradient_clip=1e30, iterations=50))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("iterations", 0),
        ("generator_update", "trpo"),
        ("transition_input", "delta"),
        ("rescale", "maybe"),
        ("discriminator_steps", 0),
        ("rollout_length", 0),
        ("generator_learning_rate", 0.0),
        ("history", 0.0),
        ("discount", 1.5),
        ("logit_clip", 0.0),
    ],
)
def test_refuses_settings(field, value, without_type_checks):
    with pytest.raises(ValueError, match=f"{field} is"):
        AdversarialSettings(**{field: value})


def test_refuses_settings_of_parts():
    with pytest.raises(ValueError, match=r"target is 1\.0"):
        EntropyBonus(target=1.0)
    with pytest.raises(ValueError, match="clip is 0"):
        ProximalSettings(clip=0)
    with pytest.raises(ValueError, match="seed is -1"):
        AdversarialFit(TABLE, TINY, seed=-1)


@pytest.mark.slow
@pytest.mark.parametrize("update", ["reparameterised", "ppo"])
def test_the_reward_prefers_candidates_near_the_law(update):
    reward = fit_adversarial(TABLE, AdversarialSettings(iterations=150, generator_update=update), seed=0)
    observations, actions = (torch.as_tensor(x) for x in (TABLE.observations, TABLE.actions))
    truth = law(observations, actions)
    noise = torch.randn(len(truth), 10, 1, generator=torch.Generator().manual_seed(0))
    candidates = truth[:, None] + 0.3 * noise
    chosen = reward(observations, actions, candidates).argmax(1)
    errors = (candidates - truth[:, None]).abs()[..., 0]
    assert errors[torch.arange(len(errors)), chosen].mean() < 0.6 * errors.mean()
