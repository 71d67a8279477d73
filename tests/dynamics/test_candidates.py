import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardlab.dynamics.candidates import CandidateModel, Candidates, EnsembleCandidates
from rewardlab.dynamics.draws import StepDraws
from rewardlab.dynamics.ensemble import GaussianEnsemble
from tests.dynamics.toy_models import LinearModel, Walk

B, D, M = 12, 3, 2


def ensemble(dtype=torch.float64, seed=0):
    made = GaussianEnsemble(D, M, hidden=(16, 16), generator=torch.Generator().manual_seed(seed)).to(dtype)
    made.elite_indices.copy_(torch.tensor([6, 0, 3, 2, 5]))
    return made.requires_grad_(False)


def batch(dtype=torch.float64, rows=B):
    generator = torch.Generator().manual_seed(1)
    return (torch.randn(rows, size, generator=generator, dtype=torch.float64).to(dtype) for size in (D, M))


def noise(count, dtype=torch.float64, rows=B):
    return torch.randn(rows, count, D + 1, generator=torch.Generator().manual_seed(2), dtype=dtype)


def test_the_protocol_is_kept():
    assert isinstance(EnsembleCandidates(ensemble()), CandidateModel)
    assert isinstance(LinearModel(), CandidateModel) and isinstance(Walk(1.0), CandidateModel)
    assert not isinstance(ensemble(), CandidateModel)


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_samples_by_hand(samples):
    model = EnsembleCandidates(ensemble(), samples_per_elite=samples, clip=None)
    assert model.candidate_count == 5 * samples and model.output_size == D + 1
    (observations, actions), z = batch(), noise(5 * samples)
    made = model.candidates(observations, actions, z)
    mean, log_variance = ensemble()(observations, actions)
    for i in range(5 * samples):
        elite = [6, 0, 3, 2, 5][i // samples]
        outputs = mean[elite] + z[:, i] * torch.exp(log_variance[elite] / 2)
        np.testing.assert_allclose(made.next_observations[:, i], observations + outputs[:, :-1], atol=1e-12)
        np.testing.assert_allclose(made.rewards[:, i], outputs[:, -1], atol=1e-12)


def test_means_first_then_samples():
    model = EnsembleCandidates(ensemble(), mode="means_and_samples", clip=None)
    assert model.candidate_count == 15
    (observations, actions), z = batch(), noise(15)
    made = model.candidates(observations, actions, z)
    mean, _ = ensemble()(observations, actions)
    np.testing.assert_allclose(made.rewards[:, :5], mean[[6, 0, 3, 2, 5], :, -1].T, atol=1e-12)
    samples = EnsembleCandidates(ensemble(), clip=None).candidates(observations, actions, z[:, 5:])
    np.testing.assert_allclose(made.next_observations[:, 5:], samples.next_observations, atol=1e-12)
    other = model.candidates(observations, actions, noise(15) + 1)
    assert torch.equal(other.next_observations[:, :5], made.next_observations[:, :5])


@pytest.mark.parametrize("mode", ["sampled", "means_and_samples"])
@pytest.mark.parametrize("penalty", [None, "aleatoric", "pairwise_difference", "ensemble_standard_deviation"])
def test_one_is_the_candidate_of_its_index(mode, penalty):
    model = EnsembleCandidates(ensemble(), mode=mode, penalty=penalty, clip=0.4)
    (observations, actions), z = batch(), noise(model.candidate_count)
    made = model.candidates(observations, actions, z)
    for i in range(model.candidate_count):
        index = (torch.arange(B) + i) % model.candidate_count
        alone = model.one(observations, actions, z[torch.arange(B), index], index)
        taken = made.take(index)
        np.testing.assert_allclose(alone.next_observations, taken.next_observations, atol=1e-13)
        np.testing.assert_allclose(alone.rewards, taken.rewards, atol=1e-13)
        assert (alone.penalties is None) == (penalty is None)
        if penalty is not None:
            np.testing.assert_allclose(alone.penalties, taken.penalties, atol=1e-13)


def test_the_penalty_is_over_all_members_not_only_elites():
    made = ensemble()
    made.biases[-1].data[1, 0, D + 1 :] += 9  # member 1 is no elite
    model = EnsembleCandidates(made, penalty="aleatoric")
    observations, actions = batch()
    _, log_variance = made(observations, actions)
    expected = torch.exp(log_variance / 2).norm(dim=-1)
    found = model.candidates(observations, actions, noise(10)).penalties
    np.testing.assert_allclose(found, expected.amax(0), rtol=1e-12)
    assert (found > expected[made.elite_indices].amax(0)).all()


@given(st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_taking_is_bit_for_bit_and_rewards_travel_along(index):
    made = Candidates(torch.randn(5, 4, 2), torch.randn(5, 4), torch.randn(5))
    taken = made.take(torch.tensor(index))
    for row, i in enumerate(index):
        assert torch.equal(taken.next_observations[row], made.next_observations[row, i])
        assert torch.equal(taken.rewards[row], made.rewards[row, i])
    assert torch.equal(taken.penalties, made.penalties)


def big():
    made = ensemble()
    made.biases[-1].data[:, 0, : D + 1] = torch.tensor([40.0, -40.0, 1.0, 60.0], dtype=torch.float64)
    return made


def test_clipping_is_elementwise_and_takes_the_reward_along_or_not():
    (observations, actions), z = batch(), noise(10)
    free = EnsembleCandidates(big()).candidates(observations, actions, z)
    official = EnsembleCandidates(big(), clip=25.0).candidates(observations, actions, z)
    assert torch.equal(official.next_observations, free.next_observations.clamp(-25, 25))
    assert (official.next_observations[..., 0] == 25).all() and (official.next_observations[..., 1] == -25).all()
    assert (official.rewards == 25).all() and (free.rewards > 50).all()
    only = EnsembleCandidates(big(), clip=25.0, clip_rewards=False).candidates(observations, actions, z)
    assert torch.equal(only.rewards, free.rewards) and torch.equal(only.next_observations, official.next_observations)
    wide = EnsembleCandidates(big(), clip=1e6).candidates(observations, actions, z)
    assert torch.equal(wide.next_observations, free.next_observations)


@pytest.mark.parametrize("wrong", [torch.inf, -torch.inf, torch.nan])
def test_what_is_not_finite_stays_so(wrong):
    made = ensemble()
    made.biases[-1].data[6, 0, 1] = wrong  # the first elite
    (observations, actions), z = batch(), noise(10)
    found = EnsembleCandidates(made).candidates(observations, actions, z).finite()
    assert not found[:, :2].any() and found[:, 2:].all()
    index = torch.arange(B) % 10
    assert torch.equal(EnsembleCandidates(made).one(observations, actions, z[:, 0], index).finite(), index >= 2)
    everywhere = EnsembleCandidates(made, penalty="pairwise_difference").candidates(observations, actions, z)
    assert not everywhere.finite().any()


def test_calibration_scales_the_noise_once():
    made = ensemble()
    made.calibration.fill_(3.0)
    (observations, actions), z = batch(), noise(10)
    narrow, wide = (EnsembleCandidates(e, clip=None).candidates(observations, actions, z) for e in (ensemble(), made))
    mean = EnsembleCandidates(made, clip=None).candidates(observations, actions, 0 * z)
    np.testing.assert_allclose(wide.rewards - mean.rewards, 3 * (narrow.rewards - mean.rewards), atol=1e-12)
    index = torch.arange(B) % 10
    for penalty in (None, "aleatoric"):
        one = EnsembleCandidates(made, clip=None, penalty=penalty).one(
            observations, actions, z[torch.arange(B), index], index
        )
        np.testing.assert_allclose(one.rewards, wide.take(index).rewards, atol=1e-12)


@settings(max_examples=20)
@given(st.integers(0, 100))
def test_float32_is_near_float64_and_stays_float32(seed):
    generator = torch.Generator().manual_seed(seed)
    draws = StepDraws.sample(B, D + 1, generator=generator, dtype=torch.float64)
    results = []
    for dtype in (torch.float32, torch.float64):
        observations, actions = batch(dtype)
        made = EnsembleCandidates(ensemble(dtype)).candidates(observations, actions, draws.all_noise(10).to(dtype))
        assert made.next_observations.dtype == made.rewards.dtype == dtype
        results.append(made.next_observations)
    np.testing.assert_allclose(results[0], results[1], atol=1e-4)


def test_only_the_elites_are_evaluated_and_for_one_only_its_member(monkeypatch):
    seen = []
    made = ensemble()
    monkeypatch.setattr(
        made,
        "forward",
        lambda o, a, members=None: seen.append(members) or GaussianEnsemble.forward(made, o, a, members),
    )
    model, (observations, actions) = EnsembleCandidates(made), batch()
    model.candidates(observations, actions, noise(10))
    model.one(observations, actions, noise(1)[:, 0], torch.zeros(B, dtype=torch.long))
    assert len(seen) == 1 and torch.equal(seen[0], made.elite_indices)


@pytest.mark.parametrize("penalty", [None, "aleatoric"])
def test_many_rows_are_as_one_batch(penalty):
    (observations, actions), z = batch(rows=1100), noise(10, rows=1100)
    made = EnsembleCandidates(ensemble(), penalty=penalty, clip=None).candidates(observations, actions, z)
    mean, log_variance = ensemble()(observations, actions)
    elite = torch.tensor([6, 0, 3, 2, 5]).repeat_interleave(2)
    expected = mean[elite] + z.movedim(1, 0) * torch.exp(log_variance[elite] / 2)
    np.testing.assert_allclose(made.rewards, expected[..., -1].T, atol=1e-12)
    if penalty:
        np.testing.assert_allclose(made.penalties, torch.exp(log_variance / 2).norm(dim=-1).amax(0), atol=1e-12)


def test_bad_arguments_are_named(without_type_checks):
    with pytest.raises(ValueError, match="mode is 'mean', expected one of 'sampled', 'means_and_samples'"):
        EnsembleCandidates(ensemble(), mode="mean")
    with pytest.raises(ValueError, match="penalty is 'pairwise-diff', expected one of 'aleatoric'"):
        EnsembleCandidates(ensemble(), penalty="pairwise-diff")
    with pytest.raises(ValueError, match="samples_per_elite is 0"):
        EnsembleCandidates(ensemble(), samples_per_elite=0)
    for clip in (0.0, -1.0, float("inf")):
        with pytest.raises(ValueError, match="clip is"):
            EnsembleCandidates(ensemble(), clip=clip)
