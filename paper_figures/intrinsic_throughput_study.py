"""What each layer around NetHack costs, all in one process, in turns, over the very same games and actions."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pandas as pd
import torch
from stable_baselines3 import PPO

from environments.nethack.games import make_game
from environments.nethack.vector import NetHackVecEnv
from paper_figures.figure import Scale
from rewardlab.adapters.intrinsic_stable_baselines3 import VecIntrinsicReward, with_intrinsic_rewards
from rewardlab.intrinsic.annotation.annotators import OracleAnnotator
from rewardlab.intrinsic.annotation.delayed import DelayedAnnotator
from rewardlab.intrinsic.classification import ClassificationReward
from rewardlab.intrinsic.interface import MessageRewardModel
from rewardlab.intrinsic.online_feedback import OnlineFeedbackReward
from rewardlab.intrinsic.ranking import RankingReward
from rewardlab.intrinsic.retrieval import RetrievalReward

__all__ = ["ENVIRONMENTS", "LAYERS", "MODELS", "played", "run_all"]

ENVIRONMENTS = 8
ROLLOUT = 128  # steps of each environment between two updates
ACTIONS = 23
LAYERS = ("nle", "game", "vector", "intrinsic")
MODELS = ("none", "retrieval", "classification", "ranking")
LABELS_PER_TICK = 20  # in 1000 environment steps
KEYS = ("glyphs", "chars", "blstats", "message")


def run_all(scale: Scale, rng: int) -> pd.DataFrame:
    """Seconds of the processor by round: part ("step" or "learning"), variant, round, microseconds a step.

    "step": of one environment, for each of `LAYERS`, which lie around one another: gymnasium's own NLE, our game, the
    games encoded as a vector, the intrinsic reward around that with every label known, evaluated once in a rollout.
    "learning": of the whole loop of PPO, for each of `MODELS`.
    """
    rounds = scale.pick(smoke=2, small=12, paper=40)
    steps = scale.pick(smoke=40, small=512, paper=1024)
    learned = scale.pick(smoke=16, small=ROLLOUT)
    updates = scale.pick(smoke=1, small=2, paper=4)
    with _one_thread():
        layers = _step_rows(rounds, steps, min(ROLLOUT, learned), rng)
        loops = _learning_rows(scale.pick(smoke=2, small=8, paper=40), learned, updates, rng)
    return pd.DataFrame([*layers, *loops])


class RawGames:
    """Games of gymnasium's own NLE, seeded as those of `NetHackVecEnv` are."""

    def __init__(self, environments: int) -> None:
        self.games = [
            gymnasium.make("NetHackScore-v0", observation_keys=KEYS, fix_moon_phase=True, max_episode_steps=10**9)
            for _ in range(environments)
        ]

    def begin(self, seed: int) -> None:
        self._seeds = _seeds(seed, len(self.games))
        for i in range(len(self.games)):
            self._reset(i)

    def play(self, actions: np.ndarray) -> None:
        for row in actions.tolist():
            for i, (game, action) in enumerate(zip(self.games, row, strict=True)):
                _, _, terminated, truncated, _ = game.step(action)
                if terminated or truncated:
                    self._reset(i)

    def statuses(self) -> list[np.ndarray]:
        """Status line of every game, as it is now."""
        return [game.unwrapped.last_observation[KEYS.index("blstats")].copy() for game in self.games]

    def _reset(self, i: int) -> None:
        core, display = np.random.default_rng(next(self._seeds[i])).integers(2**62, size=2).tolist()
        self.games[i].unwrapped.seed(core, display, False)
        self.games[i].reset()

    def close(self) -> None:
        for game in self.games:
            game.close()


class OurGames(RawGames):
    """Our games one by one."""

    def __init__(self, environments: int) -> None:
        self.games = [_game() for _ in range(environments)]

    def statuses(self) -> list[np.ndarray]:
        return [game._last["blstats"] for game in self.games]

    def _reset(self, i: int) -> None:
        self.games[i].reset(seed=next(self._seeds[i]))


class Vector:
    """Our games as a vector, encoded."""

    def __init__(self, environments: int) -> None:
        self.games = self.environments = NetHackVecEnv(_game, environments, seed=0)

    def begin(self, seed: int) -> None:
        self.games.seed(seed)
        self.environments.reset()

    def play(self, actions: np.ndarray) -> None:
        for row in actions:
            self.environments.step(row)

    def statuses(self) -> list[np.ndarray]:
        return list(self.games._blstats)

    def close(self) -> None:
        self.games.close()


class Intrinsic(Vector):
    """The same with an intrinsic reward around it, whose labels are all known: what ONI costs once it has asked.

    Args:
        environments: How many games.
        rollout: Steps after which the rewards are evaluated.
    """

    def __init__(self, environments: int, rollout: int) -> None:
        super().__init__(environments)
        self.rollout = rollout
        self.model = RetrievalReward()
        reward = OnlineFeedbackReward(self.model, None, environments=environments)
        self.environments = VecIntrinsicReward(self.games, reward, coefficient=0.1)
        self.environments.claim("the figure")

    def begin(self, seed: int) -> None:
        super().begin(seed)
        texts = [text for text in self.environments.intrinsic.table.texts if text and text not in self.model.labels]
        self.model.receive([(text, 1) for text in texts])
        self.environments.forget()

    def play(self, actions: np.ndarray) -> None:
        for start in range(0, len(actions), self.rollout):
            super().play(actions[start : start + self.rollout])
            self.environments.take()


def played(environments: int, rollout: int = ROLLOUT) -> dict[str, Any]:
    """What plays each of `LAYERS`: `begin(seed)`, `play(actions)`, `statuses()`, `close()`."""
    makers = (RawGames, OurGames, Vector, partial(Intrinsic, rollout=rollout))
    return {name: make(environments) for name, make in zip(LAYERS, makers, strict=True)}


def _step_rows(rounds: int, steps: int, rollout: int, rng: int) -> list[dict]:
    sides, draws, rows = played(ENVIRONMENTS, rollout), np.random.default_rng(rng), []
    for round_ in range(-1, rounds):  # the first warms up
        seed, actions = int(draws.integers(2**31)), draws.integers(ACTIONS, size=(steps, ENVIRONMENTS))
        for name in np.roll(LAYERS, round_):  # no side always comes first
            sides[name].begin(seed)
            seconds = _seconds(lambda side=sides[name], actions=actions: side.play(actions))
            if round_ >= 0:
                rows.append(_row("step", name, round_, seconds / actions.size))
    for side in sides.values():
        side.close()
    return rows


def _learning_rows(rounds: int, steps: int, updates: int, rng: int) -> list[dict]:
    learners = {name: _learner(name, steps, rng) for name in MODELS}
    length, rows = updates * steps * ENVIRONMENTS, []
    for round_ in range(-1, rounds):
        for name in np.roll(MODELS, round_):
            seconds = _seconds(partial(learners[name].learn, length, reset_num_timesteps=False))
            if round_ >= 0:
                rows.append(_row("learning", name, round_, seconds / length))
    for learner in learners.values():
        learner.env.close()
    return rows


def _learner(name: str, steps: int, rng: int) -> PPO:
    """PPO as it learned several tasks within minutes; its annotator answers by rule, in this process."""
    venv = NetHackVecEnv(_game, ENVIRONMENTS, seed=rng)
    if name != "none":
        annotator = DelayedAnnotator(OracleAnnotator(), labels_per_tick=LABELS_PER_TICK, seed=rng)
        reward = OnlineFeedbackReward(_model(name, rng), annotator, environments=ENVIRONMENTS)
        venv = VecIntrinsicReward(venv, reward, coefficient=0.4, extrinsic_coefficient=0.1)
    model = PPO(
        "MlpPolicy",
        venv,
        n_steps=steps,
        batch_size=min(256, steps * ENVIRONMENTS),
        n_epochs=4,
        ent_coef=0.01,
        policy_kwargs={"net_arch": [128, 128]},
        seed=rng,
        device="cpu",
    )
    return model if name == "none" else with_intrinsic_rewards(model)


def _model(name: str, rng: int) -> MessageRewardModel:
    generator = torch.Generator().manual_seed(rng)
    return {
        "retrieval": RetrievalReward,
        "classification": partial(ClassificationReward, generator=generator),
        "ranking": partial(RankingReward, generator=generator),
    }[name]()


def _game() -> gymnasium.Env:
    """The score task as NLE plays it, without a limit."""
    return make_game("score", prompts="open", episode_steps=10**9)


def _seeds(seed: int, environments: int) -> list[Iterator[int]]:
    """Of the games of each environment, as `NetHackVecEnv` draws them."""

    def drawn(generator: np.random.Generator) -> Iterator[int]:
        while True:
            yield int(generator.integers(2**31))

    return [drawn(np.random.default_rng(each)) for each in np.random.SeedSequence(seed).spawn(environments)]


def _seconds(call: Callable[[], Any]) -> float:
    """Of the processor, which other processes on the machine do not change much."""
    start = time.process_time()
    call()
    return time.process_time() - start


def _row(part: str, variant: str, round_: int, seconds: float) -> dict:
    return {"part": part, "variant": str(variant), "round": round_, "microseconds": seconds * 1e6}


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
