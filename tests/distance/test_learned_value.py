"""STARC from samples: exact where the world is finite, invariant where values are only learned."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.distance.learned_value import canonical_from_samples, fit_values, starc_from_samples

DISCOUNT = 0.9


def random_world(seed: int, states: int = 6, actions: int = 3, ends: bool = False):
    """Transition probabilities (S, A, S), a random policy (S, A), three rewards (3, S, A, S) and which states end."""
    rng = np.random.default_rng(seed)
    transition = rng.dirichlet(np.ones(states), (states, actions))
    policy = rng.dirichlet(np.ones(actions), states)
    terminal = np.zeros(states, dtype=bool)
    terminal[-1] = ends
    return transition, policy, rng.normal(size=(3, states, actions, states)), terminal


def exact_canonical(transition, policy, rewards, terminal):
    """Value-adjusted levelling in plain linear algebra: (3, S, A), zero value where the task is over."""
    expected = (transition * rewards).sum(-1)
    chain = np.einsum("sa,sat->st", policy, transition) * ~terminal
    values = np.linalg.solve(np.eye(len(chain)) - DISCOUNT * chain, np.einsum("sa,ksa->sk", policy, expected)).T
    return expected + DISCOUNT * np.einsum("sat,kt->ksa", transition, values * ~terminal) - values[:, :, None], values


def enumerate_world(transition, policy, rewards, terminal):
    """Every transition once, one-hot, with its probability as weight."""
    s, a, t = (index.ravel() for index in np.indices(transition.shape))
    one_hot = np.eye(len(transition))
    return {
        "observations": one_hot[s],
        "next_observations": one_hot[t],
        "terminated": terminal[t],
        "rewards": rewards[:, s, a, t],
        "sample_weights": (policy[:, :, None] * transition)[s, a, t],
    }


def state_action_samples(rewards, values, terminal):
    """The samples of `canonical_from_samples` with every state and action and a weightless next-state axis."""
    k, states, actions, _ = rewards.shape
    shape = (k, states * actions, states)
    next_values = np.broadcast_to(values[:, None, :], shape)
    return rewards.reshape(shape), np.repeat(values, actions, axis=1), next_values, np.tile(terminal, (shape[1], 1))


@given(st.integers(0, 10**6), st.booleans())
def test_values_of_a_finite_world_are_exact(seed, ends):
    world = random_world(seed, ends=ends)
    learned = fit_values(**enumerate_world(*world), discount=DISCOUNT, hidden=())
    values = exact_canonical(*world)[1]
    np.testing.assert_allclose(learned(np.eye(6)), values, atol=1e-8 * max(1, np.abs(values).max()))


@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([1, 2, np.inf]))
def test_distances_of_a_finite_world_are_exact(seed, ends, order):
    """Deterministic dynamics, so that one next state says all: canonical form and distance against linear algebra."""
    transition, policy, rewards, terminal = random_world(seed, ends=ends)
    goes_to = np.random.default_rng(seed).integers(6, size=(6, 3))
    transition = np.eye(6)[goes_to]
    learned = fit_values(**enumerate_world(transition, policy, rewards, terminal), discount=DISCOUNT, hidden=())
    exact = exact_canonical(transition, policy, rewards, terminal)[0].reshape(3, -1)
    reached = np.take_along_axis(rewards, np.broadcast_to(goes_to[None, :, :, None], (3, 6, 3, 1)), -1).reshape(3, -1)
    states = np.repeat(np.eye(6), 3, axis=0)
    after = np.eye(6)[goes_to.ravel()]
    over = terminal[goes_to.ravel()]
    sample = (reached, learned(states), learned(after), DISCOUNT)
    np.testing.assert_allclose(canonical_from_samples(*sample, terminated=over), exact, atol=1e-8)
    norm = {
        1: lambda x: np.abs(x).mean(-1),
        2: lambda x: np.sqrt((x**2).mean(-1)),
        np.inf: lambda x: np.abs(x).max(-1),
    }[order]
    unit = exact / norm(exact)[:, None]
    expected = norm(unit[:, None] - unit[None])
    np.testing.assert_allclose(starc_from_samples(*sample, terminated=over, order=order).distances, expected, atol=1e-7)


def test_several_next_states_are_averaged():
    """A stochastic world whose next states are equally likely: the mean over them is the exact expectation."""
    _, policy, rewards, terminal = random_world(0, ends=True)
    transition = np.full((6, 3, 6), 1 / 6)
    exact, values = exact_canonical(transition, policy, rewards, terminal)
    *sample, over = state_action_samples(rewards, values, terminal)
    np.testing.assert_allclose(
        canonical_from_samples(*sample, DISCOUNT, terminated=over), exact.reshape(3, -1), atol=1e-12
    )


@pytest.fixture(scope="module")
def continuous():
    """A point pushed about on a line by random actions: observations (n, 2), and rewards on them."""
    rng = np.random.default_rng(0)
    now = rng.normal(size=(2000, 2))
    action = rng.uniform(-1, 1, 2000)
    then = np.stack([now[:, 0] + 0.1 * now[:, 1], 0.9 * now[:, 1] + 0.3 * action], axis=1)
    base = -np.abs(then[:, 0]) - 0.1 * action**2
    potential = np.array([1.7, -0.6])
    shaped = base + DISCOUNT * (then @ potential + 3.0) - (now @ potential + 3.0)
    rewards = np.stack([base, shaped, 4 * base + 2, -base, action, np.ones_like(base), np.zeros_like(base)])
    return now, then, rewards


def learned_distances(now, then, rewards, **options):
    fit, held_out = np.s_[:1000], np.s_[1000:]
    values = fit_values(now[fit], then[fit], np.zeros(1000, bool), rewards[:, fit], DISCOUNT, steps=50, **options)
    return starc_from_samples(rewards[:, held_out], values(now[held_out]), values(then[held_out]), DISCOUNT)


def test_equivalent_rewards_coincide_and_opposites_oppose(continuous):
    result = learned_distances(*continuous)
    base, shaped, scaled, opposite, other, constant, zero = result.distances[0]
    assert base == 0
    assert max(shaped, scaled) < 1e-6  # whatever the values' error: it is shared
    assert abs(opposite - 2) < 1e-9
    assert 0.1 < other < 1.9
    assert result.trivial.tolist() == [False] * 5 + [True, True]
    np.testing.assert_allclose([constant, zero], 1, atol=1e-12)
    assert result.distances[5, 6] == 0
    np.testing.assert_allclose(result.distances, result.distances.T)


def test_learned_values_predict_returns(continuous):
    """Values against simulated returns, 100 steps from each of 50 states, averaged over 200 runs."""
    now, then, rewards = continuous
    data = (now, then, np.zeros(2000, bool), rewards[:1], DISCOUNT)
    values, linear = fit_values(*data, hidden=(64,)), fit_values(*data, hidden=())
    rng = np.random.default_rng(1)
    start = rng.normal(size=(50, 2))
    seen, returned = np.repeat(start, 200, axis=0), np.zeros(50 * 200)
    for step in range(100):
        action = rng.uniform(-1, 1, len(seen))
        seen = np.stack([seen[:, 0] + 0.1 * seen[:, 1], 0.9 * seen[:, 1] + 0.3 * action], axis=1)
        returned += DISCOUNT**step * (-np.abs(seen[:, 0]) - 0.1 * action**2)
    truth = returned.reshape(50, 200).mean(1)
    assert np.corrcoef(values(start)[0], truth)[0, 1] > 0.9
    assert np.abs(values(start)[0] - truth).mean() < 0.25 * truth.std()
    assert np.corrcoef(linear(start)[0], truth)[0, 1] < 0.6  # a bump around 0 needs the hidden units


def test_same_seed_same_values_and_no_global_randomness(continuous):
    before = torch.get_rng_state()
    first, second, third = (learned_distances(*continuous, hidden=(16,), rng=seed).distances for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, second)
    assert (first != third).any()
    assert torch.equal(before, torch.get_rng_state())


def test_torch_and_numpy_agree(continuous):
    now, then, rewards = continuous
    tensors = learned_distances(*(torch.as_tensor(x) for x in (now, then, rewards)), hidden=())
    assert isinstance(tensors.distances, torch.Tensor)
    arrays = learned_distances(now, then, rewards, hidden=())
    np.testing.assert_allclose(tensors.distances.numpy(), arrays.distances, atol=1e-10)
    np.testing.assert_array_equal(tensors.trivial.numpy(), arrays.trivial)


def test_an_end_is_worth_nothing_and_a_time_limit_is_not_an_end():
    """One state with reward 1: forever it is worth 10; if the step ends the task, 1."""
    seen, reward = np.ones((4, 1)), np.ones((1, 4))
    for ends, worth in ((False, 10.0), (True, 1.0)):
        values = fit_values(seen, seen, np.full(4, ends), reward, DISCOUNT, hidden=())
        np.testing.assert_allclose(values(seen), worth)


def test_sample_weights_correct_for_another_behaviour():
    """Data from a behaviour that plays action 1 three times in four, weighed to the uniform policy."""
    action = np.array([0, 1, 1, 1])
    values = fit_values(
        np.ones((4, 1)),
        np.ones((4, 1)),
        np.zeros(4, bool),
        action[None].astype(float),
        DISCOUNT,
        sample_weights=np.where(action == 1, 0.5 / 0.75, 0.5 / 0.25),
        hidden=(),
    )
    np.testing.assert_allclose(values(np.ones((1, 1))), 0.5 / (1 - DISCOUNT))


def good_fit():
    return {
        "observations": np.ones((4, 2)),
        "next_observations": np.ones((4, 2)),
        "terminated": np.zeros(4, bool),
        "rewards": np.ones((1, 4)),
        "discount": DISCOUNT,
    }


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"observations": [[1.0]]}, TypeError, "observations: expected a NumPy array"),
        (
            {"next_observations": np.ones((4, 3))},
            ValueError,
            r"next_observations has shape \(4, 3\), expected \(4, 2\)",
        ),
        ({"terminated": np.zeros(3, bool)}, ValueError, r"terminated has shape \(3,\), expected \(4,\)"),
        ({"rewards": np.ones(4)}, ValueError, r"rewards have shape \(4,\), expected \(k, 4\)"),
        ({"rewards": np.array([[0.0, np.nan, 0.0, 0.0]])}, ValueError, r"rewards\[0, 1\] is nan"),
        ({"discount": 1.0}, ValueError, r"discount is 1, expected a number in \[0, 1\)"),
        ({"discount": -0.1}, ValueError, "discount is -0.1"),
        ({"sample_weights": -np.ones(4)}, ValueError, "expected nonnegative weights"),
    ],
)
@pytest.mark.usefixtures("without_type_checks")
def test_bad_transitions_are_errors(change, error, message):
    with pytest.raises(error, match=message):
        fit_values(**(good_fit() | change))


@pytest.mark.usefixtures("without_type_checks")
def test_bad_samples_are_errors():
    good = np.ones((2, 5))
    with pytest.raises(ValueError, match=r"next_values has shape \(2, 4\), expected \(2, 5\)"):
        starc_from_samples(good, good, good[:, :4], DISCOUNT)
    with pytest.raises(ValueError, match=r"values\[0, 0\] is inf"):
        starc_from_samples(good, good * np.inf, good, DISCOUNT)
    with pytest.raises(ValueError, match="order is 3, expected one of 1, 2, inf"):
        starc_from_samples(good, good, good, DISCOUNT, order=3)
    values = fit_values(**good_fit(), hidden=())
    with pytest.raises(ValueError, match="observations have 3 entries, the values were fitted on 2"):
        values(np.ones((1, 3)))


@pytest.mark.slow
def test_reacher_shaped_is_nowhere_and_the_published_order_holds():
    """The headline of the Reacher figure, on seeds of its own; and values good enough to level the mean advantage."""
    from environments.reacher import Reacher, ReacherStates, box_states, published_rewards

    discount, rng = 0.99, np.random.default_rng(123)
    for seed in range(2):
        functions = published_rewards(discount, rng)
        with Reacher() as reacher:
            data = reacher.rollouts(box_states(1000, rng), 20, rng)
            held_out = reacher.transitions(box_states(3000, rng), rng)
            spots = box_states(100, rng)
            tries = reacher.transitions(ReacherStates(*(np.repeat(part, 60, axis=0) for part in spots)), rng)
        values = fit_values(
            data.observations, data.next_observations, data.terminated, data.rewards(functions), discount, rng=seed
        )
        at = (values(held_out.observations), values(held_out.next_observations))
        _, shaped, peak, random, negative = starc_from_samples(held_out.rewards(functions), *at, discount).distances[0]
        assert shaped < 1e-5 < peak < random < negative
        assert abs(negative - 2) < 1e-9
        at = (values(tries.observations), values(tries.next_observations))
        advantages = canonical_from_samples(tries.rewards(functions), *at, discount)[0].reshape(100, 60)
        assert advantages.mean(1).std() < 0.4 * advantages.std()  # 0 for exact values, 1 where nothing was learned
