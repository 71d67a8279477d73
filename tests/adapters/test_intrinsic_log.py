import numpy as np
import pytest
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO
from stable_baselines3.common.logger import KVWriter, Logger, configure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rewardlab.adapters.intrinsic_stable_baselines3 import IntrinsicLog
from tests.adapters.intrinsic_worlds import Remembering, intrinsic_vector, learner, ppo, walks


class Kept(KVWriter):
    def __init__(self):
        self.rows, self.excluded = [], []

    def write(self, key_values, key_excluded, step=0):
        self.rows.append(dict(key_values))
        self.excluded.append(dict(key_excluded))

    def close(self):
        """Nothing is open."""


@pytest.mark.parametrize("algorithm", [PPO, RecurrentPPO])
def test_every_part_of_the_reward_is_logged_after_every_rollout(algorithm):
    venv = intrinsic_vector(walks(2, 4, ending="truncated"), coefficient=0.5, extrinsic_coefficient=3.0)
    model, kept = learner(algorithm, venv), Kept()
    model.set_logger(Logger(None, [kept]))
    model.learn(32, callback=IntrinsicLog())
    steps = np.array([[1, 1], [2, 2], [1, 3], [2, 4]]).mean()
    sums = np.mean([3, 3, 10])  # episodes of two steps end twice as often
    for update, row in enumerate(kept.rows, 1):
        expected = {}
        for place, mean in (("reward", steps), ("episode", sums)):
            parts = {"extrinsic": 1, "extrinsic_used": 3, "intrinsic": 1, "intrinsic_paid": 0.5, "total": 3.5}
            expected |= {f"{place}/{part}": factor * mean for part, factor in parts.items()}
        expected |= {"episode/length": 8 / 3, "intrinsic/updates": update, "intrinsic/worth": 1.0}
        assert {key: row[key] for key in expected} == pytest.approx(expected)


def test_the_numbers_reach_tensorboard(tmp_path):
    model = ppo(intrinsic_vector())
    model.set_logger(configure(str(tmp_path), ["tensorboard"]))
    model.learn(32, callback=IntrinsicLog())
    events = EventAccumulator(str(tmp_path)).Reload()
    tags = events.Tags()["scalars"]
    assert {"reward/intrinsic_paid", "episode/total", "intrinsic/updates"} <= set(tags)
    assert [event.step for event in events.Scalars("intrinsic/updates")] == [16, 32]


def test_keys_too_long_for_the_console_go_elsewhere():
    class Wordy(Remembering):
        def update(self):
            return super().update() | {"a" * 40 + end: 1.0 for end in "xy"}

    model, kept = ppo(intrinsic_vector(intrinsic=Wordy())), Kept()
    model.set_logger(Logger(None, [kept]))
    model.learn(16, callback=IntrinsicLog())
    assert kept.excluded[0]["intrinsic/" + "a" * 40 + "x"] == ("stdout", "log")
