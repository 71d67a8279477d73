import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import DQN, HerReplayBuffer
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.vec_env import DummyVecEnv

from rewardlab.adapters.gymnasium import PotentialShaping
from rewardlab.adapters.stable_baselines3 import DiscountCheck, VecPotentialShaping
from tests.adapters.worlds import Corridor

DISCOUNT = 0.9


class Reach(gymnasium.Env):
    """Walk along a line to the goal; the reward is -1 until there."""

    def __init__(self):
        box = spaces.Box(-20.0, 20.0, (1,), np.float32)
        self.observation_space = spaces.Dict({"observation": box, "achieved_goal": box, "desired_goal": box})
        self.action_space = spaces.Discrete(2)

    def _observation(self):
        place = np.array([self.place], np.float32)
        return {"observation": place, "achieved_goal": place, "desired_goal": np.array([2.0], np.float32)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.taken = 0.0, 0
        return self._observation(), {}

    def step(self, action):
        self.place += 2 * int(action) - 1
        self.taken += 1
        seen = self._observation()
        reward = float(self.compute_reward(seen["achieved_goal"], seen["desired_goal"], {}))
        return seen, reward, reward == 0.0, self.taken >= 8, {}

    def compute_reward(self, achieved, desired, info):
        return -(np.abs(achieved - desired)[..., 0] > 0.5).astype(np.float32)


def nearness(observation):
    return 3.0 - float(abs(observation["achieved_goal"][0] - observation["desired_goal"][0]))


@pytest.mark.parametrize("inside", [True, False])
def test_hindsight_replay_is_shaped_by_the_potential_under_the_other_goal(inside):
    if inside:
        venv = DummyVecEnv([lambda: PotentialShaping(Reach(), nearness, DISCOUNT)])
    else:
        venv = VecPotentialShaping(DummyVecEnv([Reach]), nearness, DISCOUNT)
    model = DQN(
        "MultiInputPolicy",
        venv,
        gamma=DISCOUNT,
        learning_starts=20,
        replay_buffer_class=HerReplayBuffer,
        replay_buffer_kwargs={"copy_info_dict": True, "n_sampled_goal": 4},
        seed=0,
        device="cpu",
    )
    model.learn(80, callback=DiscountCheck())
    sample = model.replay_buffer.sample(500)
    before, after = (part["achieved_goal"][:, 0].numpy() for part in (sample.observations, sample.next_observations))
    goal = sample.observations["desired_goal"][:, 0].numpy()
    bootstraps = 1.0 - sample.dones[:, 0].numpy()
    own = -(np.abs(after - goal) > 0.5).astype(float)
    expected = own + DISCOUNT * (3.0 - np.abs(after - goal)) * bootstraps - (3.0 - np.abs(before - goal))
    np.testing.assert_allclose(sample.rewards[:, 0].numpy(), expected, atol=1e-5)
    assert (goal != 2.0).mean() > 0.1  # relabelled
    assert 0 < bootstraps.mean() < 1


@pytest.mark.parametrize("inside", [True, False])
def test_hindsight_without_the_infos_is_refused(inside):
    if inside:
        venv = DummyVecEnv([lambda: PotentialShaping(Reach(), nearness, DISCOUNT)])
    else:
        venv = VecPotentialShaping(DummyVecEnv([Reach]), nearness, DISCOUNT)
    model = DQN("MultiInputPolicy", venv, learning_starts=20, replay_buffer_class=HerReplayBuffer, device="cpu")
    with pytest.raises(ValueError, match=r"'reward/transition'.*copy_info_dict=True"):
        model.learn(40)


def test_one_reward_for_another_goal():
    env = PotentialShaping(Reach(), nearness, DISCOUNT)
    env.reset()
    seen, _, _, _, info = env.step(1)
    assert env.compute_reward(seen["achieved_goal"], np.array([3.0]), info) == pytest.approx(-1 + DISCOUNT * 1 - 0)
    assert env.get_wrapper_attr("compute_reward") == env.compute_reward


def test_environments_without_goals_keep_no_observations():
    venv = VecPotentialShaping(DummyVecEnv([lambda: Corridor(3)]), lambda seen: seen[0], DISCOUNT)
    venv.reset()
    assert "reward/transition" not in venv.step(np.zeros(1, dtype=np.int64))[3][0]
    with pytest.raises(AttributeError):
        PotentialShaping(gymnasium.make("CartPole-v1"), lambda seen: 0.0, DISCOUNT).compute_reward(None, None, {})


@pytest.mark.slow
def test_bit_flipping_is_learned_with_hindsight_and_shaping():
    def matching(observation):
        return float(np.mean(observation["achieved_goal"] == observation["desired_goal"]))

    venv = DummyVecEnv([lambda: BitFlippingEnv(n_bits=4, continuous=False, max_steps=4)])
    venv = VecPotentialShaping(venv, matching, DISCOUNT)
    model = DQN(
        "MultiInputPolicy",
        venv,
        gamma=DISCOUNT,
        learning_starts=100,
        learning_rate=1e-3,
        replay_buffer_class=HerReplayBuffer,
        replay_buffer_kwargs={"copy_info_dict": True},
        seed=0,
        device="cpu",
    )
    model.learn(3000, callback=DiscountCheck())
    assert np.isfinite(model.replay_buffer.sample(100).rewards.numpy()).all()
