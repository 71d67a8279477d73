"""The Reacher world against the simulator itself."""

import gymnasium
import numpy as np
import pytest

from environments.reacher import (
    ELBOW_LIMIT,
    TARGET_RADIUS,
    Reacher,
    ReacherStates,
    box_states,
    ground_truth,
    observe,
    published_rewards,
    random_actions,
    reset_states,
    scaled_and_shifted,
)

DISCOUNT = 0.99


@pytest.fixture(scope="module")
def reacher():
    with Reacher() as world:
        yield world


@pytest.fixture(scope="module")
def transitions(reacher):
    rng = np.random.default_rng(1)
    return reacher.transitions(box_states(200, rng), rng)


def snapshot(env) -> ReacherStates:
    data = env.unwrapped.data
    return ReacherStates(data.qpos.copy()[None], data.qvel.copy()[None])


def test_observations_are_the_environments_own_after_reset_and_set_state():
    env = gymnasium.make("Reacher-v5")
    for seed in range(20):
        seen, _ = env.reset(seed=seed)
        np.testing.assert_allclose(observe(snapshot(env))[0], seen, atol=1e-9)
    states = box_states(50, np.random.default_rng(0))
    for qpos, qvel in zip(*states, strict=True):
        env.unwrapped.set_state(qpos, qvel)
        np.testing.assert_allclose(observe(snapshot(env))[0], env.unwrapped._get_obs(), atol=1e-9)


def test_next_states_are_those_of_the_environments_step(reacher):
    """A whole episode from reset: every step's state equals the map of the state before it."""
    env = gymnasium.make("Reacher-v5")
    rng = np.random.default_rng(2)
    env.reset(seed=3)
    for _ in range(50):
        before, action = snapshot(env), random_actions(1, rng)
        seen, reward, terminated, _, _ = env.step(action[0])
        mapped = reacher.next_states(before, action)
        np.testing.assert_allclose(mapped.qpos, snapshot(env).qpos, atol=1e-9)
        np.testing.assert_allclose(mapped.qvel, snapshot(env).qvel, atol=1e-9)
        np.testing.assert_allclose(observe(mapped)[0, :8], seen[:8], atol=1e-9)
        # the environment's body positions lag its joint angles, see `observe`
        np.testing.assert_allclose(observe(mapped)[0, 8:], seen[8:], atol=1e-2)
        shipped = ground_truth(observe(before), action, observe(mapped), np.array([terminated]))
        np.testing.assert_allclose(shipped, reward, atol=1e-2)


def test_the_shipped_reward_uses_the_distance_after_the_step_and_weight_one_for_control(reacher):
    rng = np.random.default_rng(4)
    env, states = gymnasium.make("Reacher-v5"), box_states(100, rng)
    sample = reacher.transitions(states, rng)
    shipped = []
    for qpos, qvel, action in zip(*states, sample.actions, strict=True):
        env.reset(seed=0)
        env.unwrapped.set_state(qpos, qvel)
        shipped.append(env.step(action)[1])
    ours = ground_truth(sample.observations, sample.actions, sample.next_observations, sample.terminated)
    before = ground_truth(sample.observations, sample.actions, sample.observations, sample.terminated)
    assert np.abs(ours - shipped).mean() < 1e-3
    assert np.abs(before - shipped).mean() > 1e-2


def test_the_map_does_not_depend_on_what_was_simulated_before(reacher):
    rng = np.random.default_rng(5)
    states, actions = box_states(300, rng), random_actions(300, rng)
    states.qpos[:, 1] *= 0.98 * ELBOW_LIMIT / np.abs(states.qpos[:, 1])  # at the limit, where a solver is at work
    forward = reacher.next_states(states, actions)
    backward = reacher.next_states(ReacherStates(states.qpos[::-1], states.qvel[::-1]), actions[::-1])
    np.testing.assert_array_equal(forward.qpos, backward.qpos[::-1])
    np.testing.assert_array_equal(forward.qvel, backward.qvel[::-1])


def test_states_are_valid_and_cover_what_they_should():
    rng = np.random.default_rng(6)
    box, reset = box_states(4000, rng), reset_states(4000, rng)
    for states in (box, reset):
        assert (np.linalg.norm(states.qpos[:, 2:], axis=1) < TARGET_RADIUS).all()
        # uniform over the disc: half of it lies within radius / sqrt(2)
        assert abs((np.linalg.norm(states.qpos[:, 2:], axis=1) < TARGET_RADIUS / np.sqrt(2)).mean() - 0.5) < 0.04
        assert (states.qvel[:, 2:] == 0).all()
    assert 0.95 * ELBOW_LIMIT < np.abs(box.qpos[:, 1]).max() <= ELBOW_LIMIT
    assert np.abs(reset.qpos[:, :2]).max() <= 0.1
    assert np.abs(reset.qvel).max() <= 0.005


def test_reset_states_are_distributed_as_the_environments(reacher):
    rows = []
    for seed in range(400):
        reacher.env.reset(seed=seed)
        state = snapshot(reacher.env)
        rows.append(np.concatenate([state.qpos[0], state.qvel[0]]))
    ours = np.concatenate(reset_states(400, np.random.default_rng(0)), axis=1)
    np.testing.assert_allclose(ours.std(0), np.std(rows, axis=0), rtol=0.15)
    np.testing.assert_allclose(ours.mean(0), np.mean(rows, axis=0), atol=0.03)


def test_rollouts_chain(reacher):
    rng = np.random.default_rng(7)
    rollouts = reacher.rollouts(reset_states(3, rng), 5, rng)
    assert len(rollouts.actions) == 15
    assert not rollouts.terminated.any()
    np.testing.assert_array_equal(rollouts.next_observations[:12], rollouts.observations[3:])


def test_published_rewards_are_functions_of_the_transition(transitions):
    functions = published_rewards(DISCOUNT, np.random.default_rng(8))
    assert list(functions) == ["ground truth", "potential shaped", "second peak", "random", "negative"]
    rewards = transitions.rewards(functions)
    np.testing.assert_array_equal(rewards, transitions.rewards(functions))  # nothing is drawn at call time
    order = np.random.default_rng(9).permutation(len(transitions.actions))
    shuffled = [getattr(transitions, name)[order] for name in transitions.__dataclass_fields__]
    for reward, function in zip(rewards, functions.values(), strict=True):
        np.testing.assert_allclose(function(*shuffled), reward[order], atol=1e-12)  # no row looks at another
    np.testing.assert_array_equal(rewards[4], -rewards[0])


def test_shaping_telescopes_along_a_rollout(reacher):
    rng = np.random.default_rng(10)
    functions = published_rewards(DISCOUNT, rng)
    rollout = reacher.rollouts(box_states(1, rng), 30, rng)
    base, shaped = transitions_rewards = rollout.rewards(functions)[:2]
    returned = (shaped - base) @ DISCOUNT ** np.arange(30)
    # what is left depends on the first and last observation alone: the potential, read off one transition each
    ends = np.array([True])
    first, last = rollout.observations[:1], rollout.next_observations[-1:]
    potential = [
        functions["ground truth"](seen, np.zeros((1, 2)), seen, ends)
        - functions["potential shaped"](seen, np.zeros((1, 2)), seen, ends)
        for seen in (first, last)
    ]
    np.testing.assert_allclose(returned, (DISCOUNT**30 * potential[1] - potential[0])[0], atol=1e-9)
    assert transitions_rewards.shape == (2, 30)


def test_second_peak_is_smaller_and_away_from_the_target(transitions):
    for seed in range(5):
        functions = published_rewards(DISCOUNT, np.random.default_rng(seed))
        base, _, peaked, _, _ = transitions.rewards(functions)
        pull = (base - peaked) / 0.2  # distance of the fingertip to the second peak
        to_target = np.linalg.norm(transitions.next_observations[:, 8:10], axis=1)
        assert (pull + to_target >= 0.5 - 1e-12).all()  # triangle: the peak is at least 0.5 m from the target


def test_scaled_and_shifted(transitions):
    rewards = transitions.rewards({"base": ground_truth, "other": scaled_and_shifted})
    np.testing.assert_allclose(rewards[1], 3 * rewards[0] + 1)


def test_bad_states_and_actions_are_errors(reacher):
    states = box_states(2, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"actions in \[-1, 1\], got 0 to 2"):
        reacher.next_states(states, np.array([[0.0, 0.0], [0.0, 2.0]]))
    with pytest.raises(ValueError, match=r"actions \(n, 2\)"):
        reacher.next_states(states, np.zeros((3, 2)))
    with pytest.raises(ValueError, match="actions in"):
        reacher.next_states(states, np.full((2, 2), np.nan))
