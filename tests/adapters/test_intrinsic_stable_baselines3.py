from dataclasses import replace

import numpy as np
import pytest
import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

from rewardlab.adapters.intrinsic_stable_baselines3 import VecIntrinsicReward
from rewardlab.adapters.shaping_stable_baselines3 import VecPotentialShaping
from rewardlab.intrinsic.annotation.annotators import OracleAnnotator
from rewardlab.intrinsic.annotation.delayed import DelayedAnnotator
from rewardlab.intrinsic.interface import Arrivals, Starts
from rewardlab.intrinsic.online_feedback import OnlineFeedbackReward
from rewardlab.intrinsic.retrieval import RetrievalReward
from rewardlab.intrinsic.visitation import LifelongCounts, ProductCounts
from tests.adapters.intrinsic_worlds import (
    Remembering,
    Walk,
    intrinsic_vector,
    learner,
    place_of,
    ppo,
    rollouts,
    text,
    walks,
)

ALGORITHMS = [PPO, A2C, RecurrentPPO]


def generalised_advantages(rollout, discount, decay):
    """For rollouts whose last step ends every episode, one environment at a time."""
    advantages = np.zeros(rollout["rewards"].shape)
    for place in range(advantages.shape[1]):
        ahead = 0.0
        for step in reversed(range(len(advantages))):
            last = step + 1 == len(advantages) or rollout["episode_starts"][step + 1, place]
            following = 0.0 if last else rollout["values"][step + 1, place]
            surprise = rollout["rewards"][step, place] + discount * following - rollout["values"][step, place]
            ahead = surprise + (0.0 if last else discount * decay * ahead)
            advantages[step, place] = ahead
    return advantages


# What the learner learns from


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_rollout_holds_both_rewards_and_advantages_are_of_their_sum(algorithm, nested):
    options = {"encoding": place_of} if nested else {}
    venv = intrinsic_vector(walks(2, 4, talks=nested), coefficient=0.5, extrinsic_coefficient=3.0, **options)
    model = learner(algorithm, venv, gamma=0.9, gae_lambda=0.8)
    (rollout,) = rollouts(model)
    steps = np.array([[1, 1], [2, 2], [1, 3], [2, 4]] * 2)
    np.testing.assert_allclose(rollout["rewards"], 3.0 * steps + 0.5 * steps, rtol=1e-6)
    expected = generalised_advantages(rollout, 0.9, 0.8)
    np.testing.assert_allclose(rollout["advantages"], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(rollout["returns"], expected + rollout["values"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_the_algorithm_adds_where_an_episode_is_cut_stays(algorithm):
    def first(coefficient):
        venv = intrinsic_vector(walks(2, 4, ending="truncated"), coefficient=coefficient)
        return rollouts(learner(algorithm, venv))[0]["rewards"].astype(float)

    steps = np.array([[1, 1], [2, 2], [1, 3], [2, 4]] * 2)
    without = first(0.0)
    np.testing.assert_allclose(first(0.5) - without, 0.5 * steps, rtol=1e-5)
    cut = np.array([[False, False], [True, False], [False, False], [True, True]] * 2)
    assert ((without != steps) == cut).all()


def test_the_value_of_a_cut_state_is_the_policy_s():
    venv = intrinsic_vector(walks(2, 4, ending="truncated"), coefficient=0.5)
    model = ppo(venv, gamma=0.9)
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    (rollout,) = rollouts(model)
    model.policy.load_state_dict(before)
    with torch.no_grad():
        values = model.policy.predict_values(torch.tensor([[2.0, 2.0], [4.0, 4.0]])).numpy()[:, 0]
    assert rollout["rewards"][1, 0] == pytest.approx(3.0 + 0.9 * values[0], rel=1e-5)
    assert rollout["rewards"][3, 1] == pytest.approx(6.0 + 0.9 * values[1], rel=1e-5)


@pytest.mark.parametrize(
    ("scale", "clip", "expected"), [(1.0, 10.0, 100.0), (0.1, 10.0, 50.0), (1.0, None, 500.0), (0.1, 2.0, 20.0)]
)
def test_scale_and_clip_come_before_the_coefficient(scale, clip, expected):
    venv = intrinsic_vector(
        walks(2, reward=50.0), extrinsic_coefficient=10.0, extrinsic_scale=scale, extrinsic_clip=clip, coefficient=0.0
    )
    venv.claim("this test")
    venv.reset()
    _, rewards, _, infos = venv.step(np.array([0]))
    assert rewards.dtype == np.float32
    assert rewards[0] == pytest.approx(expected)
    assert infos[0]["reward/raw"] == 50.0
    assert venv.take().shape == (1, 1)
    losing = intrinsic_vector(walks(2, reward=-50.0), extrinsic_clip=10.0)
    losing.claim("this test")
    losing.reset()
    assert losing.step(np.array([0]))[1][0] == -10.0


def test_without_the_environment_s_reward():
    venv = intrinsic_vector(walks(2, 4), extrinsic_coefficient=0.0, coefficient=1.0)
    (rollout,) = rollouts(ppo(venv))
    np.testing.assert_array_equal(rollout["rewards"], [[1, 1], [2, 2], [1, 3], [2, 4]] * 2)


# The newest model pays


def test_steps_are_paid_by_the_model_of_the_end_of_the_rollout():
    intrinsic = Remembering(worth=1.0)

    def improve(count):
        intrinsic.worth = 7.0 if count == 8 else intrinsic.worth

    venv = intrinsic_vector(walks(2, 4), intrinsic, coefficient=1.0, extrinsic_coefficient=0.0)
    (rollout,) = rollouts(ppo(venv), at_step=improve)
    np.testing.assert_array_equal(rollout["rewards"], 7.0 * np.array([[1, 1], [2, 2], [1, 3], [2, 4]] * 2))
    assert intrinsic.updates == 1
    assert len(intrinsic.rewards()) == 0


def feedback(environments, *, delay_ticks=0, tick_steps=1, exponent=3.0, positive=(r"step 2", r"step 3")):
    labels = DelayedAnnotator(
        OracleAnnotator(positive=positive, negative=()),
        labels_per_tick=100,
        delay_ticks=delay_ticks,
        tick_steps=tick_steps,
    )
    return OnlineFeedbackReward(RetrievalReward(), labels, environments=environments, exponent=exponent)


def talking(*lengths, intrinsic, **options):
    return intrinsic_vector(
        walks(*lengths, talks=True), intrinsic, coefficient=1.0, extrinsic_coefficient=0.0, **options
    )


@pytest.mark.parametrize(("delay", "paid"), [(0, 1), (1, 2), (8, 2), (9, 3)])
def test_a_label_that_arrives_late_pays_the_steps_of_the_rollout_under_way(delay, paid):
    # Asked about after rollout 0, labelled at the end of rollout 1, delivered so many steps later.
    intrinsic = feedback(1, delay_ticks=delay)
    collected = rollouts(ppo(talking(4, intrinsic=intrinsic)), count=4)
    for index, rollout in enumerate(collected):
        np.testing.assert_array_equal(rollout["rewards"][:, 0], [0, index >= paid, index >= paid, 0] * 2)


def test_counts_begin_anew_with_each_episode_and_each_environment_has_its_own():
    class Humming(Walk):
        def _observation(self):
            return {**super()._observation(), "message": text("hum")}

    venv = DummyVecEnv([lambda n=n: Humming(n, talks=True) for n in (2, 4)])
    intrinsic = feedback(2, positive=("hum",))
    model = ppo(intrinsic_vector(venv, intrinsic, coefficient=1.0, extrinsic_coefficient=0.0))
    _, rollout = rollouts(model, count=2)
    short, long = [2.0**-3, 3.0**-3], [2.0**-3, 3.0**-3, 4.0**-3, 5.0**-3]  # the reset observation was the first
    np.testing.assert_allclose(rollout["rewards"].T, [short * 4, long * 2], rtol=1e-6)


# What the intrinsic reward is shown


@pytest.mark.parametrize(
    ("ending", "vector"),
    [
        ("terminated", DummyVecEnv),
        ("truncated", DummyVecEnv),
        pytest.param("truncated", SubprocVecEnv, marks=pytest.mark.slow),
    ],
)
def test_it_sees_the_last_state_of_an_episode_and_then_the_first_of_the_next(ending, vector):
    intrinsic = Remembering()
    world = walks(2, 3, talks=True, ending=ending, vector=vector)
    venv = intrinsic_vector(world, intrinsic, encoding=place_of)
    venv.claim("this test")
    venv.reset()
    for action in ([0, 1], [1, 0], [1, 1]):
        venv.step(np.array(action))
    assert [name for name, _ in intrinsic.log] == ["begin", "observe", "observe", "begin", "observe", "begin"]
    starts, steps = intrinsic.shown("begin"), intrinsic.shown("observe")
    assert [start.environments.tolist() for start in starts] == [[0, 1], [0], [1]]
    assert [bytes(row).rstrip(b"\0") for start in starts for row in start.messages] == [b"start"] * 4
    said = [[bytes(row).rstrip(b"\0").decode() for row in step.messages] for step in steps]
    assert said == [["step 1", "step 1"], ["step 2", "step 2"], ["step 1", "step 3"]]
    assert [step.dones.tolist() for step in steps] == [[False, False], [True, False], [False, True]]
    assert [step.observations[:, 0].tolist() for step in steps] == [[0, 0], [1, 1], [0, 2]]
    assert [step.next_observations[:, 0].tolist() for step in steps] == [[1, 1], [2, 2], [1, 3]]
    assert [step.actions.tolist() for step in steps] == [[0, 1], [1, 0], [1, 1]]
    assert all(step.valid.all() for step in steps)
    assert len({*steps[0].keys, *steps[1].keys, *starts[0].keys}) == 6
    assert steps[2].keys[0] == steps[0].keys[0]
    venv.close()


def test_a_state_that_was_not_shown_is_not_valid():
    class Blank(Walk):
        def step(self, action):
            *seen, info = super().step(action)
            return *seen, info | {"blank_observation": self.taken == self.length}

    intrinsic = Remembering()
    venv = intrinsic_vector(DummyVecEnv([lambda: Blank(2)]), intrinsic, coefficient=1.0, extrinsic_coefficient=0.0)
    (rollout,) = rollouts(ppo(venv))
    np.testing.assert_array_equal(rollout["rewards"][:, 0], [1, 0] * 4)
    assert [bool(step.valid[0]) for step in intrinsic.shown("observe")] == [True, False] * 4


class Reporting(VecNormalize):
    """A vector that says itself what its steps led to."""

    def starts(self):
        return Starts(environments=np.arange(self.num_envs), keys=[b"a"] * self.num_envs)

    def arrivals(self):
        n = self.num_envs
        return Arrivals(dones=np.zeros(n, bool), valid=np.arange(n) > 0, keys=[b"b"] * n)


def test_a_vector_that_knows_better_is_asked_and_completed():
    intrinsic = Remembering()
    venv = intrinsic_vector(Reporting(walks(9, 9), norm_obs=False, norm_reward=False), intrinsic)
    venv.claim("this test")
    venv.reset()
    venv.step(np.array([1, 0]))
    (step,) = intrinsic.shown("observe")
    assert (step.keys, step.valid.tolist(), step.actions.tolist()) == ([b"b", b"b"], [False, True], [1, 0])
    assert step.next_observations[:, 0].tolist() == [1, 1]
    assert intrinsic.shown("begin")[0].keys == [b"a", b"a"]


def test_a_vector_that_knows_half_of_what_is_seen_is_refused():
    class Half(Reporting):
        def arrivals(self):
            return replace(super().arrivals(), next_observations=np.zeros((self.num_envs, 1)))

    venv = intrinsic_vector(Half(walks(9, 9), norm_obs=False, norm_reward=False))
    venv.claim("this test")
    venv.reset()
    with pytest.raises(ValueError, match="gives next_observations but no observations; expected both or neither"):
        venv.step(np.array([1, 0]))


def test_what_was_shown_does_not_change_afterwards():
    class SameArrays(DummyVecEnv):
        def _obs_from_buf(self):
            return self.buf_obs[None]

        def step_wait(self):
            observations, _, _, infos = super().step_wait()
            return observations, self.buf_rews, self.buf_dones, infos

    intrinsic = Remembering()
    venv = intrinsic_vector(SameArrays([lambda: Walk(3)]), intrinsic)
    venv.claim("this test")
    venv.reset()
    for _ in range(4):
        venv.step(np.array([0]))
    steps = intrinsic.shown("observe")
    assert [float(step.observations[0, 0]) for step in steps] == [0, 1, 2, 0]
    assert [float(step.next_observations[0, 0]) for step in steps] == [1, 2, 3, 1]
    np.testing.assert_array_equal(venv.take()[:, 0], [0.5, 1.0, 1.5, 0.5])
    assert (venv.numbers["episode/length"], venv.numbers["episode/extrinsic"]) == (3.0, 6.0)


# Rewards that are there


REWARDS = {
    "labels": lambda n: feedback(n),
    "states": lambda n: LifelongCounts(environments=n),
    "states of an episode": lambda n: ProductCounts(environments=n),
    "messages": lambda n: LifelongCounts(environments=n, key="messages"),
}


@pytest.mark.parametrize("kind", list(REWARDS))
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_one_line_swaps_the_intrinsic_reward(algorithm, kind):
    venv = VecIntrinsicReward(walks(2, 4, talks=True), REWARDS[kind](2), coefficient=0.1, extrinsic_coefficient=0.0)
    *_, last = rollouts(learner(algorithm, venv), count=2)
    assert (last["rewards"] > 0).any()
    assert venv.numbers["reward/intrinsic_paid"] == pytest.approx(last["rewards"].mean(), rel=1e-5)
    assert all(len(key) <= 36 for key in venv.numbers)
    venv.close()


def test_counts_of_states_pay_what_they_should():
    venv = VecIntrinsicReward(
        walks(2, 4), LifelongCounts(environments=2, power=0.5), coefficient=2.0, extrinsic_coefficient=0.0
    )
    (rollout,) = rollouts(ppo(venv))
    visits = np.array([[1, 1], [1, 1], [2, 1], [2, 1], [3, 2], [3, 2], [4, 2], [4, 2]])
    np.testing.assert_allclose(rollout["rewards"], 2.0 / np.sqrt(visits), rtol=1e-6)


def test_the_same_seed_gives_the_same_run():
    def run(seed):
        model = ppo(talking(2, 4, intrinsic=feedback(2)), seed=seed)
        model.learn(64)
        return torch.cat([value.flatten() for value in model.policy.state_dict().values()])

    assert torch.equal(run(3), run(3))
    assert not torch.equal(run(3), run(4))


def test_normalised_rewards_inside():
    world = VecNormalize(walks(2, 4), norm_obs=False, norm_reward=True)
    venv = intrinsic_vector(world, extrinsic_coefficient=2.0, coefficient=1.0)
    (rollout,) = rollouts(ppo(venv))
    steps = np.array([[1, 1], [2, 2], [1, 3], [2, 4]] * 2)
    extrinsic = (rollout["rewards"] - steps) / 2.0
    assert (extrinsic > 0).all()
    assert extrinsic.max() <= 10 + 1e-5  # where VecNormalize clips
    np.testing.assert_allclose(extrinsic[-1] / world.normalize_reward(np.array([2.0, 4.0])), 1.0, rtol=1e-5)


def test_observations_normalised_outside_are_seen_as_they_are():
    intrinsic = Remembering()
    venv = intrinsic_vector(walks(2, 4), intrinsic, coefficient=1.0, extrinsic_coefficient=0.0)
    (rollout,) = rollouts(ppo(VecNormalize(venv, norm_obs=True, norm_reward=False)))
    np.testing.assert_array_equal(rollout["rewards"], [[1, 1], [2, 2], [1, 3], [2, 4]] * 2)


def test_shaping_outside_is_added_to_both():
    inside = intrinsic_vector(walks(2, 4), coefficient=0.5, extrinsic_clip=2.5)
    venv = VecPotentialShaping(inside, lambda observation: 10.0 * observation[0], 0.9)
    model = ppo(venv, gamma=0.9)
    (rollout,) = rollouts(model)
    steps = np.array([[1, 1], [2, 2], [1, 3], [2, 4]] * 2)
    ends = np.array([[False, False], [True, False], [False, False], [True, True]] * 2)
    shaping = 0.9 * np.where(ends, 0, 10 * steps) - 10 * (steps - 1)
    np.testing.assert_allclose(rollout["rewards"], steps.clip(max=2.5) + 0.5 * steps + shaping, rtol=1e-5)
    assert inside.numbers["reward/extrinsic"] == steps.mean()


def test_returns_computed_once_more_are_not_paid_twice():
    venv = intrinsic_vector(walks(2, 4))
    model = ppo(venv)
    collected = []

    class Again(BaseCallback):
        def _on_step(self):
            return True

        def _on_rollout_end(self):
            buffer = self.model.rollout_buffer
            before = buffer.rewards.copy()
            buffer.compute_returns_and_advantage(torch.zeros(2), np.ones(2))
            collected.append((before, buffer.rewards.copy()))

    model.learn(16, callback=Again())
    np.testing.assert_array_equal(*collected[0])


def test_a_rollout_that_was_broken_off_is_not_paid():
    class Stop(BaseCallback):
        def _on_step(self):
            return self.n_calls < 3

    intrinsic = Remembering()
    venv = intrinsic_vector(walks(2, 4), intrinsic, coefficient=1.0, extrinsic_coefficient=0.0)
    model = ppo(venv)
    model.learn(16, callback=Stop())
    assert len(intrinsic.rewards()) == 3
    (rollout,) = rollouts(model)
    np.testing.assert_array_equal(rollout["rewards"], [[1, 1], [2, 2], [1, 3], [2, 4]] * 2)
    assert venv.numbers["episode/length"] == pytest.approx(8 / 3)  # episodes that were left do not count
