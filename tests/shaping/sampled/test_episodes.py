import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardlab.shaping.sampled import episodes as module
from rewardlab.shaping.sampled.episodes import Episode, EpisodeBuffer
from rewardlab.shaping.sampled.features import FourierFeatures

FEATURES = FourierFeatures([0.0], [1.0], 2)


def episode(number, steps, width=1):
    """Told apart by its primary reward: its number at every step."""
    generator = np.random.default_rng(number)
    wide = generator.normal(size=(steps, 2)) if width > 1 else generator.integers(0, 4, steps)
    primary = np.full(steps, float(number))
    return Episode(generator.random((steps, 1)), wide, primary, generator.normal(size=(steps, 2)), True)


def filled(count, capacity=5, horizon=9, width=1):
    buffer, kept = EpisodeBuffer(capacity, horizon, FEATURES), []
    for number in range(count):
        kept.append(episode(number, 1 + number * 7 % horizon, width))
        buffer.add(kept[-1])
    return buffer, kept


def same(batch, wanted):
    """The batch holds these episodes, padded."""
    assert batch.mask.sum(1).tolist() == [len(one.primary) for one in wanted]
    assert batch.mask.shape[1] == max(len(one.primary) for one in wanted)
    for row, one in enumerate(wanted):
        steps = len(one.primary)
        assert batch.mask[row, :steps].all()
        torch.testing.assert_close(batch.x[row, :steps], FEATURES(torch.from_numpy(one.observations)))
        for name in ("actions", "primary", "auxiliary"):
            column = getattr(batch, name)[row]
            np.testing.assert_array_equal(column[:steps].numpy(), getattr(one, name))
            assert not column[steps:].any()
    assert torch.isfinite(batch.x).all()


@given(st.integers(1, 23), st.integers(1, 7), st.booleans())
def test_newest_are_the_latest_in_order_also_after_the_buffer_is_full(count, wanted, wide):
    buffer, kept = filled(count, width=1 + wide)
    assert len(buffer) == min(count, 5)
    batch = buffer.newest(wanted)
    same(batch, kept[-min(wanted, 5) :])
    assert batch.divisor == 10 and batch.actions.dtype == (torch.float64 if wide else torch.int64)


@settings(max_examples=50)
@given(st.integers(4, 23), st.integers(0, 3), st.booleans())
def test_samples_come_from_all_episodes_but_the_newest(count, excluded, cached):
    budget, module.FEATURE_BYTES = module.FEATURE_BYTES, module.FEATURE_BYTES if cached else 0
    try:
        buffer, kept = filled(count)
        allowed = [one.primary[0] for one in kept[-5:]][: len(buffer) - excluded]
        numbers = [buffer.draw(5, np.random.default_rng(seed), exclude_newest=excluded) for seed in range(40)]
        assert {float(n) for n in np.concatenate(numbers)} == set(allowed)
        assert all(len(drawn) == min(5, len(buffer) - excluded) for drawn in numbers)
        batch = buffer.sample(5, np.random.default_rng(3), exclude_newest=excluded)
        same(batch, [kept[int(row[0])] for row in batch.primary])
        assert (buffer._x is not None) == cached
    finally:
        module.FEATURE_BYTES = budget


@given(st.integers(1, 23))
def test_state_restores_the_same_draws(count):
    buffer, _ = filled(count)
    other = EpisodeBuffer(5, 9, FEATURES)
    other.load_state_dict(buffer.state_dict())
    for one in (buffer, other):
        one.add(episode(99, 9))
    for ours, theirs in zip(
        buffer.sample(4, np.random.default_rng(1)), other.sample(4, np.random.default_rng(1)), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    np.testing.assert_array_equal(buffer.episode(count).primary, np.full(9, 99.0))


def test_draws_are_uniform():
    buffer, _ = filled(5)
    drawn = np.concatenate([buffer.draw(5, np.random.default_rng(seed)) for seed in range(1000)])
    np.testing.assert_allclose(np.bincount(drawn) / 5000, 0.2, atol=0.02)


def but(**changes):
    return episode(0, 3)._replace(**changes)


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (but(auxiliary=np.zeros((2, 2))), "auxiliary of the episode has 2 steps, primary 3"),
        (but(auxiliary=np.zeros(3)), r"auxiliary of the episode has shape \(3,\)"),
        (but(auxiliary=np.zeros((3, 1))), r"auxiliary of the episode has shape \(3, 1\), expected \(steps, 2\)"),
        (but(primary=np.array([0.0, np.nan, 0.0])), r"primary of the episode is nan at \(1,\)"),
        (but(observations=np.full((3, 1), np.inf)), r"observations of the episode is inf at \(0, 0\)"),
        (but(actions=np.zeros(4, int)), "actions of the episode has 4 steps"),
        (episode(0, 10), "the episode has 10 steps, expected 1 to 9"),
        (episode(0, 0), "the episode has 0 steps"),
    ],
)
def test_bad_episodes(bad, message):
    buffer, _ = filled(2)
    with pytest.raises(ValueError, match=message):
        buffer.add(bad)
    assert len(buffer) == 2


@pytest.mark.usefixtures("without_type_checks")
def test_nothing_to_draw_from():
    buffer, _ = filled(2)
    with pytest.raises(ValueError, match="holds 2 episodes and exclude_newest is 2: nothing to draw from"):
        buffer.sample(1, np.random.default_rng(0), exclude_newest=2)
    with pytest.raises(ValueError, match="the buffer is empty"):
        EpisodeBuffer(1, 1, FEATURES).newest(1)
    with pytest.raises(ValueError, match="capacity is 0"):
        EpisodeBuffer(0, 1, FEATURES)
    with pytest.raises(ValueError, match="count is 0"):
        buffer.newest(0)
