"""The published generator: drawn again independently from the same stream, and by its statistics."""

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import norm as normal

from rewardlab.distance import standardise
from rewardlab.exact import FiniteMDP, interpolate_rewards, random_reward, random_transition

SIZE_CLASSES = [(8, 1.0), (32, 1.0), (49, 1.0), (50, 1.5), (99, 1.5), (100, 1.8), (120, 1.8)]


@pytest.fixture(scope="module")
def worlds():
    """200 worlds of the published size."""
    return random_transition(32, 4, batch=200, rng=0)[0]


def streams(seed, count):
    return np.random.default_rng(seed).spawn(count)


@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize("episodic", [False, True])
@pytest.mark.parametrize("states", [3, 32, 50, 100])
def test_transitions_again_from_the_same_stream(states, episodic, clean):
    drawn, terminal = random_transition(states, 2, batch=3, episodic=episodic, clean=clean, rng=7)
    threshold = dict([(3, 1.0), *SIZE_CLASSES])[states]
    for world, stream in zip(range(3), streams(7, 3), strict=True):
        logits = stream.normal(size=(states, 2, states))
        expected = softmax(np.where(logits > threshold, logits, -20.0), axis=-1)
        if clean:
            expected[expected < 1e-7] = 0
            expected /= expected.sum(-1, keepdims=True)
        end = stream.integers(states) if episodic else None
        if episodic:
            expected[end] = np.arange(states) == end
        np.testing.assert_allclose(drawn[world], expected, rtol=1e-12, atol=0)
        assert np.flatnonzero(terminal[world]).tolist() == ([end] if episodic else [])


def test_share_of_next_states_that_can_follow(worlds):
    """The normal tail above 1 is 15.9%; rows where nothing is kept become uniform."""
    uniform = np.isclose(worlds, 1 / 32).all(-1)
    kept = worlds[~uniform] > 1e-7
    assert kept.mean() == pytest.approx(normal.sf(1) / (1 - normal.cdf(1) ** 32), abs=0.002)
    assert np.median(kept.sum(-1)) == 5
    assert uniform.mean() == pytest.approx(normal.cdf(1) ** 32, abs=0.002)
    dropped = worlds[~uniform][~kept]
    assert dropped.min() > 1e-12
    assert np.median(dropped) == pytest.approx(1e-10, rel=0.5)


@pytest.mark.parametrize(("states", "threshold"), SIZE_CLASSES)
def test_threshold_of_the_size_class(states, threshold):
    transition = random_transition(states, 4, batch=max(1, 60 // states), rng=1)[0]
    kept = (transition > 1e-7) & ~np.isclose(transition, 1 / states).all(-1)[..., None]
    deviation = np.sqrt(normal.sf(threshold) / kept.size)
    assert kept.mean() == pytest.approx(normal.sf(threshold), abs=5 * deviation)


def test_clean_worlds_differ_by_the_residue_alone():
    published, clean = (random_transition(32, 4, batch=20, clean=clean, rng=2)[0] for clean in (False, True))
    assert np.abs(published - clean).max() < 1e-7
    assert (clean == 0).mean() > 0.8
    assert (published > 0).all()
    np.testing.assert_allclose(clean.sum(-1), 1, atol=1e-14)
    assert ((clean == 0) | (clean > 1e-7)).all()


def test_any_state_may_be_the_end():
    terminal = random_transition(4, 1, batch=400, episodic=True, rng=3)[1]
    np.testing.assert_array_equal(terminal.sum(-1), 1)
    np.testing.assert_allclose(terminal.mean(0), 0.25, atol=0.08)


@pytest.mark.parametrize("support", ["transitions", "next_state", "terminal"])
@pytest.mark.parametrize("sparse", [None, True, False])
@pytest.mark.parametrize("shaped", [None, True, False])
def test_rewards_again_from_the_same_stream(support, sparse, shaped):
    mdp = FiniteMDP.random(6, 2, discount=0.8, episodic=True, rng=4)
    drawn = random_reward(mdp, batch=20, sparse=sparse, shaped=shaped, support=support, rng=5)
    for found, stream in zip(drawn, streams(5, 20), strict=True):
        if support == "terminal":
            expected = np.zeros((6, 2, 6))
            entering = stream.normal(size=(6, 2, 1))
            for s, a in np.ndindex(6, 2):
                if not mdp.terminal[s]:
                    expected[s, a, mdp.terminal] = 1 + entering[s, a]
        else:
            expected = stream.normal(size=6 if support == "next_state" else (6, 2, 6)) * np.ones((6, 2, 6))
            if sparse or (sparse is None and stream.uniform() > 0.8):
                expected[expected <= (1 if support == "next_state" else 3)] = 0
            expected *= 10 * stream.uniform() if stream.uniform() > 0.3 else 1
            expected += 10 * stream.uniform() if stream.uniform() > 0.7 else 0
            if shaped or (shaped is None and stream.uniform() > 0.5):
                potential = stream.normal(size=6) * (10 * stream.uniform()) + stream.uniform()
                potential[mdp.terminal] = 0
                expected += 0.8 * potential - potential[:, None, None]
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_shares_of_sparse_scaled_shifted_and_shaped_rewards():
    mdp = FiniteMDP.random(16, 2, rng=0)

    def commonest(rewards):
        return np.array([np.unique(reward, return_counts=True)[1].max() / reward.size for reward in rewards])

    unshaped = random_reward(mdp, batch=1000, shaped=False, rng=1)
    assert (commonest(unshaped) > 0.9).mean() == pytest.approx(0.2, abs=0.05)
    dense = random_reward(mdp, batch=1000, shaped=False, sparse=False, rng=2)
    spread, mean = dense.std(axis=(1, 2, 3)), dense.mean(axis=(1, 2, 3))
    assert (abs(spread - 1) < 0.1).mean() == pytest.approx(0.3 + 0.7 * 0.02, abs=0.06)
    assert (mean > 5 / np.sqrt(512) * spread).mean() == pytest.approx(0.3 * 0.91, abs=0.06)
    assert (abs(spread - 5) < 5.4).all()
    sparse = random_reward(mdp, batch=1000, sparse=True, rng=3)
    assert (commonest(sparse) < 0.5).mean() == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(("states", "threshold"), [(20, 3.0), (50, 3.5), (100, 3.8)])
def test_threshold_of_sparse_rewards(states, threshold):
    mdp = FiniteMDP.random(states, 2, rng=0)
    rewards = random_reward(mdp, batch=300_000 // states**2, sparse=True, shaped=False, rng=1)
    kept = [(reward != np.median(reward)).sum() for reward in rewards]
    expected = normal.sf(threshold) * rewards.size
    assert sum(kept) == pytest.approx(expected, abs=5 * np.sqrt(expected))


def test_shaping_is_no_more_than_shaping():
    mdp = FiniteMDP.random(6, 2, episodic=True, rng=0)
    plain, shaped = (random_reward(mdp, batch=10, sparse=False, shaped=shaped, rng=1) for shaped in (False, True))
    assert abs(plain - shaped).max() > 0.1
    np.testing.assert_allclose(standardise(mdp, plain).table, standardise(mdp, shaped).table, atol=1e-9)


def test_same_seed_same_worlds_whatever_their_number():
    three, five = (random_transition(5, 2, batch=batch, rng=9)[0] for batch in (3, 5))
    np.testing.assert_array_equal(three, five[:3])
    np.testing.assert_array_equal(random_transition(5, 2, rng=9)[0], five[0])
    assert len({world.tobytes() for world in five}) == 5
    mdp = FiniteMDP.random(5, 2)
    np.testing.assert_array_equal(random_reward(mdp, batch=3, rng=1), random_reward(mdp, batch=5, rng=1)[:3])
    rng = np.random.default_rng(1)
    first, second = random_reward(mdp, rng=rng), random_reward(mdp, rng=rng)
    np.testing.assert_array_equal(first, random_reward(mdp, rng=1))
    assert (first != second).any()


def test_the_global_generator_is_left_alone():
    np.random.seed(0)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    random_reward(FiniteMDP.random(5, 2))
    assert np.random.random() == expected  # noqa: NPY002


def test_interpolation():
    start, end = np.random.default_rng(0).normal(size=(2, 3, 4, 2, 4))
    line = interpolate_rewards(start, end, 16)
    assert line.shape == (3, 16, 4, 2, 4)
    for pair, step in np.ndindex(3, 16):
        share = (step + 1) / 16
        np.testing.assert_allclose(line[pair, step], (1 - share) * start[pair] + share * end[pair], atol=1e-14)
    np.testing.assert_allclose(line[:, -1], end, atol=1e-15)
    assert interpolate_rewards(start[0], end[0]).shape == (16, 4, 2, 4)
