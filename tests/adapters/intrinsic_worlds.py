"""A walk with messages, whose every step is known, and an intrinsic reward that remembers what it was shown."""

import gymnasium
import numpy as np
from gymnasium import spaces
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from rewardlab.adapters.intrinsic_stable_baselines3 import VecIntrinsicReward, with_intrinsic_rewards


def text(words):
    """A message as NetHack shows it: 256 bytes, zeros after the text."""
    message = np.zeros(256, dtype=np.uint8)
    message[: len(words)] = np.frombuffer(words.encode("latin-1"), dtype=np.uint8)
    return message


class Walk(gymnasium.Env):
    """Observation: the steps taken, and with `talks` the message "start" or "step <k>"; the k-th step is rewarded k.

    The episode ends after `length` steps, terminated or truncated.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - as gymnasium has it

    def __init__(self, length=4, ending="terminated", talks=False, reward=None):
        place = spaces.Box(0.0, 100.0, (2,), np.float32)
        message = spaces.Box(0, 255, (256,), np.uint8)
        self.observation_space = spaces.Dict({"place": place, "message": message}) if talks else place
        self.action_space = spaces.Discrete(2)
        self.length, self.ending, self.talks, self.reward = length, ending, talks, reward
        self.taken = 0

    def _observation(self):
        place = np.array([self.taken, self.length], dtype=np.float32)
        words = f"step {self.taken}" if self.taken else "start"
        return {"place": place, "message": text(words)} if self.talks else place

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.taken = 0
        return self._observation(), {}

    def step(self, action):
        self.taken += 1
        reward = float(self.taken) if self.reward is None else self.reward
        ends = self.taken >= self.length
        return (
            self._observation(),
            reward,
            ends and self.ending == "terminated",
            ends and self.ending != "terminated",
            {},
        )


def walks(*lengths, vector=DummyVecEnv, **options):
    return vector([lambda n=n: Walk(n, **options) for n in lengths])


class Remembering:
    """Pays `worth` times the place arrived at, 0 where nothing was seen, at the `worth` of the moment of asking."""

    def __init__(self, worth=1.0):
        self.worth = worth
        self.log, self.updates = [], 0
        self._places = []

    def begin(self, starts):
        self.log.append(("begin", starts))

    def observe(self, arrivals):
        self.log.append(("observe", arrivals))
        self._places.append(np.where(arrivals.valid, _places(arrivals.next_observations), 0.0))

    def rewards(self):
        return self.worth * np.array(self._places)

    def update(self):
        self._places, self.updates = [], self.updates + 1
        return {"updates": float(self.updates), "worth": self.worth}

    def state_dict(self):
        return {"worth": self.worth, "places": np.array(self._places)}

    def load_state_dict(self, state):
        self.worth, self._places = state["worth"], list(state["places"])

    def close(self):
        self.log.append(("close", None))

    def shown(self, kind):
        return [what for name, what in self.log if name == kind]


def _places(observations):
    return observations[:, 0].astype(float)


def place_of(observations):
    return observations["place"]


def intrinsic_vector(venv=None, intrinsic=None, **options):
    options.setdefault("coefficient", 0.5)
    venv = walks(2, 4) if venv is None else venv
    return VecIntrinsicReward(venv, Remembering() if intrinsic is None else intrinsic, **options)


def learner(algorithm, venv, *, steps=8, **options):
    """A small learner of any on-policy algorithm, with the policy that fits the observations, attached."""
    nested = isinstance(venv.observation_space, spaces.Dict)
    recurrent = algorithm.__name__ == "RecurrentPPO"
    policy = ("MultiInput" if nested else "Mlp") + ("Lstm" if recurrent else "") + "Policy"
    shape = {"net_arch": [8]} | ({"lstm_hidden_size": 8} if recurrent else {})
    own = {} if algorithm is A2C else {"batch_size": 8, "n_epochs": 1}
    settings = {"n_steps": steps, "seed": 0, "device": "cpu", "policy_kwargs": shape} | own | options
    return with_intrinsic_rewards(algorithm(policy, venv, **settings))


def ppo(venv, **options):
    return learner(PPO, venv, **options)


PARTS = "rewards", "values", "episode_starts", "advantages", "returns"


class Rollouts(BaseCallback):
    """Copies what the buffer held at the end of each rollout; `at_step(count)` may act in between."""

    def __init__(self, at_step=lambda count: None):
        super().__init__()
        self.seen, self.at_step, self.terminal = [], at_step, []

    def _on_step(self):
        self.at_step(self.n_calls)
        self.terminal.append([info.get("terminal_observation") for info in self.locals["infos"]])
        return True

    def _on_rollout_end(self):
        buffer = self.model.rollout_buffer
        self.seen.append({name: getattr(buffer, name).copy() for name in PARTS})


def rollouts(model, count=1, **options):
    watch = Rollouts(**options)
    model.learn(count * model.n_steps * model.n_envs, callback=watch)
    return watch.seen
