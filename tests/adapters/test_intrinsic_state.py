import numpy as np
import pytest
from sb3_contrib import RecurrentPPO
from stable_baselines3 import A2C, PPO

from rewardlab.adapters.intrinsic_stable_baselines3 import VecIntrinsicReward, with_intrinsic_rewards
from rewardlab.intrinsic.visitation import LifelongCounts
from tests.adapters.intrinsic_worlds import intrinsic_vector, learner, ppo, rollouts, walks


@pytest.mark.parametrize("algorithm", [PPO, A2C, RecurrentPPO])
def test_a_saved_model_and_the_state_of_its_intrinsic_reward_go_on(algorithm, tmp_path):
    def world():
        intrinsic = LifelongCounts(environments=2)
        return VecIntrinsicReward(walks(2, 4), intrinsic, coefficient=1.0, extrinsic_coefficient=0.0)

    venv = world()
    model = learner(algorithm, venv)
    model.learn(16)
    model.save(tmp_path / "model")
    state = venv.state_dict()
    again = world()
    again.load_state_dict(state)
    loaded = with_intrinsic_rewards(algorithm.load(tmp_path / "model", env=again, device="cpu"))
    (rollout,) = rollouts(loaded)
    visits = np.array([[5, 3], [5, 3], [6, 3], [6, 3], [7, 4], [7, 4], [8, 4], [8, 4]])
    np.testing.assert_allclose(rollout["rewards"], 1 / np.sqrt(visits), rtol=1e-6)


def test_a_state_made_in_the_middle_of_a_rollout_leaves_its_steps_unpaid():
    venv = intrinsic_vector(walks(2, 4), LifelongCounts(environments=2), coefficient=1.0, extrinsic_coefficient=0.0)
    venv.claim("this test")
    venv.reset()
    venv.step(np.array([0, 0]))
    other = intrinsic_vector(walks(2, 4), LifelongCounts(environments=2), coefficient=1.0, extrinsic_coefficient=0.0)
    other.load_state_dict(venv.state_dict())
    (rollout,) = rollouts(ppo(other))
    assert rollout["rewards"][0, 0] == pytest.approx(1 / np.sqrt(2))


def test_a_state_of_other_environments_is_refused():
    with pytest.raises(ValueError, match=r"the state is of 2 environments, and this vector has 1"):
        intrinsic_vector(walks(2)).load_state_dict(intrinsic_vector(walks(2, 4)).state_dict())
