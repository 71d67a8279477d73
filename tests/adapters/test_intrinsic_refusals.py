import numpy as np
import pytest
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from rewardlab.adapters.intrinsic_stable_baselines3 import IntrinsicLog, with_intrinsic_rewards
from rewardlab.intrinsic.interface import Starts
from rewardlab.intrinsic.visitation import LifelongCounts
from tests.adapters.intrinsic_worlds import Remembering, Walk, intrinsic_vector, ppo, walks


def plain(venv, **options):
    return PPO("MlpPolicy", venv, n_steps=8, batch_size=8, n_epochs=1, device="cpu", **options)


# Nobody takes the rewards, or two do


def test_a_model_that_was_not_attached_does_not_learn_without_them():
    with pytest.raises(RuntimeError, match=r"nobody takes the intrinsic rewards .* with_intrinsic_rewards\(model\)"):
        plain(intrinsic_vector()).learn(16)


def test_a_loaded_model_has_to_be_attached_again(tmp_path):
    ppo(intrinsic_vector()).save(tmp_path / "model")
    with pytest.raises(RuntimeError, match="again after loading a model"):
        PPO.load(tmp_path / "model", env=intrinsic_vector(), device="cpu").learn(16)


def test_two_learners_and_one_purse():
    venv = intrinsic_vector()
    model = ppo(venv)
    with pytest.raises(ValueError, match="of this model pays intrinsic rewards already; attach them once"):
        with_intrinsic_rewards(model)
    with pytest.raises(ValueError, match=r"the rollout buffer of PPO takes these .* call `release\(\)`"):
        with_intrinsic_rewards(plain(venv))
    venv.reset()
    venv.step(np.array([0, 0]))
    venv.release()
    assert venv.pending == 0
    with_intrinsic_rewards(plain(venv)).learn(16)


def test_steps_that_somebody_else_took_are_noticed():
    class Evaluating(BaseCallback):
        def _on_step(self):
            if self.n_calls == 3:
                evaluate_policy(self.model, self.training_env, n_eval_episodes=1, warn=False)
            return True

    with pytest.raises(ValueError, match=r"the rollout has 8 steps, but VecIntrinsicReward saw \d+"):
        ppo(intrinsic_vector()).learn(16, callback=Evaluating())


def test_a_model_that_was_given_other_environments():
    model = ppo(intrinsic_vector())
    model.set_env(walks(2, 4))
    with pytest.raises(ValueError, match="the rollout has 8 steps, but VecIntrinsicReward saw 0"):
        model.learn(16)
    model.set_env(intrinsic_vector())
    with pytest.raises(ValueError, match="this model does not learn from the intrinsic rewards"):
        model.learn(16, callback=IntrinsicLog())


def test_the_log_of_a_model_that_was_not_attached():
    with pytest.raises(ValueError, match="this model does not learn from the intrinsic rewards"):
        plain(intrinsic_vector()).learn(16, callback=IntrinsicLog())
    with pytest.raises(ValueError, match="no VecIntrinsicReward around the environments"):
        plain(walks(2, 4)).learn(16, callback=IntrinsicLog())


# What cannot learn from them


def test_learners_with_a_replay_buffer():
    venv = intrinsic_vector()
    model = DQN("MlpPolicy", venv, learning_starts=4, buffer_size=20, device="cpu")
    with pytest.raises(ValueError, match="DQN has no rollout buffer, where intrinsic rewards are added"):
        with_intrinsic_rewards(model)
    with pytest.raises(RuntimeError, match="nobody takes"):
        model.learn(16)


def test_what_is_no_model_or_has_no_environments():
    with pytest.raises(ValueError, match="no VecIntrinsicReward around the environments"):
        with_intrinsic_rewards(plain(walks(2, 4)))
    model = plain(intrinsic_vector())
    model.env = None
    with pytest.raises(ValueError, match="no VecIntrinsicReward around the environments"):
        with_intrinsic_rewards(model)


def test_rewards_normalised_outside():
    outside = VecNormalize(intrinsic_vector(), norm_reward=True)
    with pytest.raises(ValueError, match=r"norm_reward=True\) is outside VecIntrinsicReward"):
        with_intrinsic_rewards(A2C("MlpPolicy", outside, device="cpu"))
    assert outside.venv.pending == 0
    outside.norm_reward = False
    with_intrinsic_rewards(A2C("MlpPolicy", outside, device="cpu"))


# What it is built from


def test_two_around_one_another():
    with pytest.raises(ValueError, match="another VecIntrinsicReward is inside"):
        intrinsic_vector(VecNormalize(intrinsic_vector()))


def test_an_intrinsic_reward_for_more_environments():
    class ForThree(Remembering):
        environments = 3

    with pytest.raises(ValueError, match="the intrinsic reward is for 3 environments, and the vector has 2"):
        intrinsic_vector(intrinsic=ForThree())
    with pytest.raises(ValueError, match="the intrinsic reward is for 3 environments, and the vector has 2"):
        intrinsic_vector(intrinsic=LifelongCounts(environments=3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coefficient": -0.1}, r"coefficient is -0\.1, expected a number in \[0"),
        ({"coefficient": float("nan")}, "coefficient is nan"),
        ({"extrinsic_coefficient": -1.0}, r"extrinsic_coefficient is -1\.0"),
        ({"extrinsic_scale": 0.0}, r"extrinsic_scale is 0\.0"),
        ({"extrinsic_clip": 0.0}, r"extrinsic_clip is 0\.0"),
    ],
)
def test_numbers_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        intrinsic_vector(**options)


def test_messages_that_a_normaliser_has_changed():
    venv = intrinsic_vector(VecNormalize(walks(2, talks=True), norm_obs_keys=["place", "message"]))
    with pytest.raises(ValueError, match=r"dtype float32 and shape \(1, 256\), expected uint8 .* belongs outside"):
        venv.reset()


def test_messages_of_another_shape():
    venv = intrinsic_vector(messages=lambda observations: observations[0].astype(np.uint8))
    with pytest.raises(ValueError, match=r"dtype uint8 and shape \(2,\), expected uint8 bytes of shape \(2, 256\)"):
        venv.reset()


def test_half_of_what_a_vector_may_say():
    class Half(DummyVecEnv):
        def starts(self):
            """What NetHack's vector has, but not the other."""

    with pytest.raises(ValueError, match=r"has starts\(\) but no arrivals\(\)"):
        intrinsic_vector(Half([Walk]))


def test_a_vector_that_says_episodes_begin_elsewhere():
    class Elsewhere(DummyVecEnv):
        def starts(self):
            return Starts(environments=np.array([1, 0]))

        def arrivals(self):
            """Nobody gets that far."""

    with pytest.raises(ValueError, match=r"episodes began in environments \[1, 0\], expected \[0, 1\]"):
        intrinsic_vector(Elsewhere([Walk, Walk])).reset()


# Numbers that came out wrong


@pytest.mark.parametrize(
    ("rewards", "message"),
    [
        (np.zeros((7, 2)), r"Wrong\.rewards\(\) returned shape \(7, 2\), expected \(8, 2\)"),
        (np.zeros(16), r"Wrong\.rewards\(\) returned shape \(16,\), expected \(8, 2\)"),
        (np.where(np.arange(16) == 5, np.nan, 0.0).reshape(8, 2), r"Wrong\.rewards\(\)\[2, 1\] is nan"),
    ],
)
def test_intrinsic_rewards_that_are_none(rewards, message):
    class Wrong(Remembering):
        def rewards(self):
            return rewards

    with pytest.raises(ValueError, match=message):
        ppo(intrinsic_vector(intrinsic=Wrong())).learn(16)


def test_a_reward_of_the_environment_that_is_not_finite():
    with pytest.raises(ValueError, match="the reward of environment 0 is inf, expected a finite number"):
        ppo(intrinsic_vector(walks(2, 4, reward=float("inf")))).learn(16)


def test_a_vector_that_hides_the_last_observation():
    class Hiding(DummyVecEnv):
        def step_wait(self):
            observations, rewards, dones, _ = super().step_wait()
            return observations, rewards, dones, [{} for _ in dones]

    with pytest.raises(ValueError, match=r"environment 0 ended .* infos\[0\] has no 'terminal_observation'"):
        ppo(intrinsic_vector(Hiding([lambda: Walk(1)]))).learn(16)


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: intrinsic_vector(Walk()), "venv: expected a vector of environments, as make_vec_env gives, got Walk"),
        (
            lambda: intrinsic_vector(intrinsic=object()),
            "expected an IntrinsicReward, got object without begin, observe",
        ),
        (lambda: intrinsic_vector(coefficient="0.1"), "coefficient: expected a number, got str"),
        (lambda: intrinsic_vector(extrinsic_clip="10"), "extrinsic_clip: expected a number, got str"),
        (lambda: intrinsic_vector(keys="place"), "keys: expected a function of a batch of observations, got 'place'"),
        (lambda: with_intrinsic_rewards(intrinsic_vector()), "model: expected an algorithm of Stable-Baselines3, got"),
    ],
)
def test_what_is_of_another_type(make, message):
    with pytest.raises(TypeError, match=message):
        make()
