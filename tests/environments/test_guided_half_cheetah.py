"""HalfCheetah: the reward is the running, the advice the effort."""

import gymnasium
import numpy as np
import pytest

from environments.guided.half_cheetah import POTENTIALS, guided_half_cheetah


def test_reward_and_advice_are_the_parts_of_gymnasiums_reward():
    ours = guided_half_cheetah(("good", "bad"))
    theirs = gymnasium.make("HalfCheetah-v5", ctrl_cost_weight=1.0)
    np.testing.assert_array_equal(ours.reset(seed=1)[0], theirs.reset(seed=1)[0])
    rng = np.random.default_rng(0)
    for _ in range(60):
        action = rng.uniform(-1, 1, 6)
        seen, primary, *_, info = ours.step(action)
        expected, reward, *_, parts = theirs.step(action)
        np.testing.assert_array_equal(seen, expected)
        assert type(primary) is float and primary == parts["reward_forward"] == pytest.approx(parts["x_velocity"])
        assert info["auxiliary"]["good"] == pytest.approx(parts["reward_ctrl"]) == pytest.approx(-(action @ action))
        assert info["auxiliary"]["bad"] == 4 * info["auxiliary"]["good"]
        assert primary + info["auxiliary"]["good"] == pytest.approx(reward)


def test_effort_is_added_up_in_double_precision():
    env = guided_half_cheetah()
    env.reset(seed=0)
    action = np.full(6, 0.1, np.float32)
    assert env.step(action)[4]["auxiliary"]["good"] == -float(action.astype(float) @ action.astype(float))


def test_episodes_begin_in_different_states():
    env = guided_half_cheetah()
    assert not np.array_equal(env.reset(seed=0)[0], env.reset()[0])


def test_an_episode_is_cut_after_1000_steps():
    env = guided_half_cheetah()
    env.reset(seed=0)
    ends = [env.step(np.zeros(6))[2:4] for _ in range(1000)]
    assert ends[-1] == (False, True) and set(ends[:-1]) == {(False, False)}


def test_no_state_is_better_for_advice_about_the_action():
    for potential in POTENTIALS.values():
        np.testing.assert_array_equal(potential(np.ones((3, 17))), np.zeros(3))
