import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecMonitor, VecNormalize

from rewardlab.adapters.advice_gymnasium import LookBackAdvice
from rewardlab.adapters.gymnasium import PotentialShaping
from rewardlab.adapters.stable_baselines3 import DiscountCheck, VecPotentialShaping, VecRewardPipeline
from rewardlab.shaping.potentials import LearnedPotential, TablePotential
from rewardlab.transforms import Pipeline, Scale
from tests.adapters.worlds import Corridor, passing

DISCOUNT = 0.9


def tenfold(observation):
    return 10 * observation[0]


def upright(observation):
    return -float(abs(observation[2]))


def corridors(*lengths, vector=DummyVecEnv, **options):
    return vector([lambda n=n: Corridor(n, **options) for n in lengths])


def shaped(venv, potential=tenfold, **options):
    return VecPotentialShaping(venv, potential, DISCOUNT, **options)


def cartpoles(count=2, **options):
    return make_vec_env("CartPole-v1", n_envs=count, seed=0, **options)


def roll(venv, steps):
    """Rewards (steps, environments) from the first reset on."""
    venv.reset()
    return np.array([venv.step(np.zeros(venv.num_envs, dtype=np.int64))[1] for _ in range(steps)])


def ppo(venv, **options):
    return PPO("MlpPolicy", venv, n_steps=64, batch_size=64, n_epochs=1, seed=0, device="cpu", **options)


def dqn(venv, **options):
    return DQN("MlpPolicy", venv, learning_starts=20, buffer_size=500, seed=0, device="cpu", **options)


# The end of an episode


@pytest.mark.parametrize("vector", [DummyVecEnv, pytest.param(SubprocVecEnv, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("ending", "last"), [("truncated", 0.8), ("terminated", -1.0)])
def test_the_last_step_is_shaped_by_the_last_observation(vector, ending, last):
    venv = shaped(corridors(2, 3, ending=ending, vector=vector))
    rewards = roll(venv, 4)
    np.testing.assert_allclose(rewards[:, 0], [1.9, 2 + last, 1.9, 2 + last], rtol=1e-6)
    last_of_three = {0.8: 0.7, -1.0: -2.0}[last]
    np.testing.assert_allclose(rewards[:3, 1], [1.9, 2.8, 3 + last_of_three], rtol=1e-6)
    assert rewards.dtype == np.float32
    venv.close()


@pytest.mark.parametrize("limit", [7, 500])
def test_a_vector_gives_what_its_environments_give_one_by_one(limit):
    def one():
        return gymnasium.make("CartPole-v1", max_episode_steps=limit)

    venv = VecPotentialShaping(DummyVecEnv([one] * 3), upright, DISCOUNT, scale=3.0)
    venv.seed(5)
    singles = [PotentialShaping(one(), upright, DISCOUNT, scale=3.0) for _ in range(3)]
    for place, single in enumerate(singles):
        single.reset(seed=5 + place)
    venv.reset()
    rng = np.random.default_rng(0)
    for _ in range(100):
        actions = rng.integers(2, size=3)
        _, rewards, dones, infos = venv.step(actions)
        for place, single in enumerate(singles):
            _, reward, terminated, truncated, info = single.step(int(actions[place]))
            assert rewards[place] == pytest.approx(reward, rel=1e-6)
            keys = "reward/raw", "reward/shaping", "reward/combined"
            assert [infos[place][key] for key in keys] == pytest.approx([info[key] for key in keys], rel=1e-6)
            assert dones[place] == (terminated or truncated)
            if dones[place]:
                single.reset()


def test_learners_that_do_not_bootstrap_at_a_cut():
    np.testing.assert_allclose(roll(shaped(corridors(2), on_truncation="zero"), 2)[:, 0], [1.9, 1.0], rtol=1e-6)


def test_a_vector_that_hides_the_last_observation_is_refused():
    class Hiding(DummyVecEnv):
        def step_wait(self):
            observations, rewards, dones, infos = super().step_wait()
            return observations, rewards, dones, [{"TimeLimit.truncated": True} for _ in infos]

    with pytest.raises(ValueError, match=r"environment 0 ended .* infos\[0\] has no 'terminal_observation'"):
        roll(shaped(corridors(1, vector=Hiding)), 1)


def test_a_table_of_frozen_lake():
    table = TablePotential(np.arange(16.0))
    venv = make_vec_env("FrozenLake-v1", n_envs=4, seed=0, env_kwargs={"is_slippery": False})
    venv = shaped(venv, table)
    before = venv.reset()
    for _ in range(40):
        observations, rewards, dones, infos = venv.step(np.full(4, 2))
        for place in range(4):
            after = 0.0 if dones[place] else observations[place]
            expected = infos[place]["reward/raw"] + DISCOUNT * after - before[place]
            assert rewards[place] == pytest.approx(expected, abs=1e-5)
        before = observations


# Order of the wrappers


def test_off_policy_outside_vec_normalize_the_shaping_is_never_stored_and_inside_it_is():
    def stored(venv):
        dqn_model = dqn(venv)
        dqn_model.learn(30)
        return set(np.round(dqn_model.replay_buffer.rewards[:30].ravel(), 3).tolist())

    def constant(observation):
        return 100.0  # pays 100 (0.9 - 1) = -10 at a step, -100 at the end

    with pytest.warns(UserWarning, match="VecPotentialShaping is outside VecNormalize"):
        outside = shaped(VecNormalize(cartpoles(1), norm_obs=False), constant)
    assert stored(outside) == {1.0}
    assert stored(VecNormalize(shaped(cartpoles(1), constant), norm_obs=False)) == {-9.0, -99.0}


@pytest.mark.parametrize("outside", [True, False])
def test_on_policy_learns_in_both_orders(outside):
    seen = []

    class Keep(BaseCallback):
        def _on_step(self):
            seen.append(self.locals["rewards"].copy())
            return True

    if outside:
        with pytest.warns(UserWarning, match="outside VecNormalize"):
            venv = VecPotentialShaping(VecNormalize(cartpoles(), gamma=0.99), upright, 0.99, scale=50.0)
    else:
        venv = VecNormalize(VecPotentialShaping(cartpoles(), upright, 0.99, scale=50.0), gamma=0.99)
    ppo(venv).learn(256, callback=[DiscountCheck(), Keep()])
    assert len(np.unique(np.concatenate(seen))) > 100  # rewards of CartPole alone: hardly any two differ
    assert np.isfinite(seen).all()


def test_vec_normalize_outside_keeps_a_sum_that_begins_anew_after_every_episode():
    """Other than gymnasium's wrapper, which carries it on (see the tests of that adapter)."""
    inner = VecRewardPipeline(corridors(3), {"own": lambda step: np.ones(1)}, passing("own"))
    venv = VecNormalize(inner, norm_obs=False, gamma=0.9)
    venv.reset()
    sums = []
    for _ in range(6):
        venv.step(np.zeros(1, dtype=np.int64))
        sums.append(venv.returns.item())
    assert sums == pytest.approx([1, 1.9, 0, 1, 1.9, 0])


def test_outside_a_pipeline_the_raw_reward_is_kept_and_inside_refused():
    pipeline = VecRewardPipeline(corridors(2), {"own": lambda step: step.reward}, Pipeline({"own": Scale(100.0)}))
    venv = shaped(pipeline)
    venv.reset()
    _, rewards, _, infos = venv.step(np.zeros(1, dtype=np.int64))
    assert (rewards[0], infos[0]["reward/raw"]) == pytest.approx((100.9, 1.0))
    outside = VecRewardPipeline(shaped(corridors(2)), {"own": lambda step: step.reward}, passing("own"))
    with pytest.raises(ValueError, match="potential shaping is inside this reward pipeline"):
        roll(outside, 1)
    with pytest.raises(ValueError, match="'reward/shaping' already"):
        roll(shaped(shaped(corridors(2))), 1)


def test_monitors_inside_report_the_raw_return_and_outside_the_shaped_one():
    inside = roll_to_the_end(shaped(DummyVecEnv([lambda: Monitor(Corridor(2, "terminated"))])))
    outside = roll_to_the_end(VecMonitor(shaped(corridors(2, ending="terminated"))))
    assert (inside, outside) == pytest.approx((3.0, 3.0 + 0.9 - 1.0))
    model = ppo(shaped(cartpoles(1), upright, scale=100.0), gamma=DISCOUNT)
    rewards, lengths = evaluate_policy(model, model.get_env(), n_eval_episodes=3, return_episode_rewards=True)
    assert rewards == lengths  # one for each step, whatever the shaping pays


def test_the_wrapper_class_of_make_vec_env_is_outside_its_monitor():
    keywords = {"potential": upright, "discount": 0.99, "scale": 100.0}
    venv = make_vec_env("CartPole-v1", n_envs=2, seed=0, wrapper_class=PotentialShaping, wrapper_kwargs=keywords)
    model = ppo(venv)
    model.learn(256, callback=DiscountCheck())
    returns = [episode["r"] for episode in model.ep_info_buffer]
    assert returns == [episode["l"] for episode in model.ep_info_buffer]


def roll_to_the_end(venv):
    venv.reset()
    while True:
        _, _, dones, infos = venv.step(np.zeros(1, dtype=np.int64))
        if dones[0]:
            return infos[0]["episode"]["r"]


# Learners


def test_the_learner_bootstraps_at_cuts_as_the_shaping_assumes():
    """What PPO and DQN store at a cut agrees with the potential that is kept there."""
    model = ppo(shaped(corridors(4)), gamma=DISCOUNT)
    model.learn(64, callback=DiscountCheck())
    stored = model.rollout_buffer.rewards[:, 0]
    inside = np.array([1.9, 2.8, 3.7, 4.6])
    np.testing.assert_allclose(stored.reshape(-1, 4)[:, :3], np.tile(inside[:3], (16, 1)), rtol=1e-5)
    assert (np.abs(stored[3::4] - 4.6) > 1e-4).all()  # more than the shaped reward: a value was added
    buffer = (learned := dqn(shaped(corridors(4)), gamma=DISCOUNT)).replay_buffer
    learned.learn(24, callback=DiscountCheck())
    np.testing.assert_allclose(buffer.rewards[:4, 0], inside, rtol=1e-6)
    assert (buffer.dones * (1 - buffer.timeouts))[:24].sum() == 0


@pytest.mark.parametrize("make", [ppo, dqn])
def test_another_discount_is_refused(make):
    with pytest.raises(ValueError, match=r"discount is 0\.9 and the learner's gamma 0\.99.*-0\.09 times the potential"):
        make(shaped(cartpoles(1), upright)).learn(64, callback=DiscountCheck())
    keywords = {"potential": upright, "discount": 1.0}
    venv = make_vec_env("CartPole-v1", n_envs=1, wrapper_class=PotentialShaping, wrapper_kwargs=keywords)
    with pytest.raises(ValueError, match=r"discount is 1 and the learner's gamma 0\.99"):
        make(venv).learn(64, callback=DiscountCheck())


def test_advice_on_actions_is_looked_at_too():
    def advised(discount):
        keywords = {"potential": lambda seen, action: float(action), "discount": discount}
        return make_vec_env("CartPole-v1", n_envs=1, wrapper_class=LookBackAdvice, wrapper_kwargs=keywords)

    ppo(advised(DISCOUNT), gamma=DISCOUNT).learn(64, callback=DiscountCheck())
    with pytest.raises(ValueError, match=r"discount is 0\.9 and the learner's gamma 0\.99"):
        ppo(advised(DISCOUNT)).learn(64, callback=DiscountCheck())


@pytest.mark.slow
def test_another_discount_is_refused_in_other_processes():
    keywords = {"potential": upright, "discount": 1.0}
    venv = make_vec_env(
        "CartPole-v1", n_envs=2, wrapper_class=PotentialShaping, wrapper_kwargs=keywords, vec_env_cls=SubprocVecEnv
    )
    with pytest.raises(ValueError, match=r"discount is 1 and the learner's gamma 0\.99"):
        ppo(venv).learn(64, callback=DiscountCheck())
    venv.close()


def test_a_potential_dropped_at_cuts_where_the_learner_bootstraps_is_refused():
    with pytest.raises(ValueError, match="'zero', but PPO bootstraps where an episode is cut; expected 'keep'"):
        ppo(shaped(cartpoles(1), upright, on_truncation="zero"), gamma=DISCOUNT).learn(64, callback=DiscountCheck())
    options = {"gamma": DISCOUNT, "replay_buffer_kwargs": {"handle_timeout_termination": False}}
    with pytest.raises(ValueError, match=r"'keep', but DQN does not bootstrap .* expected 'zero'"):
        dqn(shaped(cartpoles(1), upright), **options).learn(64, callback=DiscountCheck())
    dqn(shaped(cartpoles(1), upright, on_truncation="zero"), **options).learn(8, callback=DiscountCheck())


def test_what_the_learner_would_ignore_is_refused():
    with pytest.warns(UserWarning, match="outside VecNormalize"):
        venv = shaped(VecNormalize(cartpoles(1), gamma=DISCOUNT), upright)
    with pytest.raises(ValueError, match=r"DQN would ignore the shaping\. VecPotentialShaping is outside VecNormalize"):
        dqn(venv, gamma=DISCOUNT).learn(64, callback=DiscountCheck())


def test_nothing_to_check_is_refused():
    with pytest.raises(ValueError, match="found no potential shaping"):
        ppo(cartpoles(1)).learn(64, callback=DiscountCheck())


def test_the_values_of_a_policy_as_a_potential():
    teacher = ppo(cartpoles(1), gamma=DISCOUNT)
    frozen = LearnedPotential(teacher.policy)
    observations = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    expected = teacher.policy.predict_values(torch.as_tensor(observations))[:, 0].detach().numpy()
    np.testing.assert_allclose(frozen.batch(observations), expected, rtol=1e-5)
    assert frozen(observations[0]) == pytest.approx(expected[0], rel=1e-5)
    student = ppo(shaped(cartpoles(2), frozen), gamma=DISCOUNT)
    student.learn(128, callback=DiscountCheck())
    np.testing.assert_allclose(frozen.batch(observations), expected, rtol=1e-5)


def test_a_learner_shaped_by_its_own_values_keeps_each_from_the_arrival():
    """The potential follows the policy that learns: rewards telescope all the same, across updates."""
    venv = shaped(corridors(7), lambda observation: 0.0)
    model = ppo(venv, gamma=DISCOUNT)
    following = LearnedPotential(model.policy, frozen=False)
    asked = []

    def potential(observation):
        asked.append(following(observation))
        return asked[-1]

    own = shaped(corridors(7, ending="terminated"), potential)
    model.set_env(own)
    added = []

    class Keep(BaseCallback):
        def _on_step(self):
            added.append(self.locals["infos"][0]["reward/shaping"])
            return True

    model.learn(140, callback=Keep())
    assert len(set(np.round(asked[::7], 6))) > 1  # it did change
    for episode in range(20):
        powers = DISCOUNT ** np.arange(7)
        assert powers @ added[7 * episode : 7 * episode + 7] == pytest.approx(-asked[7 * episode], abs=1e-5)


# What is refused


def test_a_single_environment_is_refused(without_type_checks):
    with pytest.raises(TypeError, match=r"venv: expected a vector .* PotentialShaping is for a single one"):
        VecPotentialShaping(Corridor(), tenfold, DISCOUNT)


@pytest.mark.parametrize(
    ("potential", "message"),
    [
        (lambda seen: np.nan, r"array\(\[0\.\]\) is nan, expected a finite number \(environment 0\)"),
        (lambda seen: seen, r"array\(\[0\.\]\) has shape \(1,\), expected one number"),
        (LearnedPotential(lambda seen: seen[:1, 0], frozen=False), r"predict returned shape \(1,\).*2 observations"),
    ],
)
def test_a_potential_that_is_no_number_is_refused(potential, message):
    with pytest.raises(ValueError, match=message):
        shaped(corridors(2, 2), potential).reset()


def test_a_discount_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"discount is 1\.5"):
        VecPotentialShaping(corridors(2), tenfold, 1.5)


def test_replay_buffers_know_of_cuts_as_the_check_assumes():
    options = {"buffer_size": 10, "observation_space": spaces.Discrete(2), "action_space": spaces.Discrete(2)}
    assert ReplayBuffer(**options).handle_timeout_termination is True
