"""Policies to record: Stable-Baselines3's SAC, trained up to a step, with all that it saw on the way."""

import hashlib
import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

from environments.offline.made.cache import made_once
from environments.offline.made.recorder import EpisodeRecorder
from rewardlab.checks import check_scalar
from rewardlab.transition_table import TransitionTable

__all__ = ["Behaviour", "BehaviourSettings", "kept_behaviour", "train_behaviour", "versions"]

VERSION = 1  # of the training: another one where it would give another policy
PACKAGES = ("gymnasium", "mujoco", "numpy", "stable-baselines3", "torch")


@dataclass(frozen=True, kw_only=True)
class BehaviourSettings:
    """How a behaviour is trained; all else is Stable-Baselines3's default for SAC.

    Args:
        steps: Environment steps, after which training stops.
        hidden: Widths of the hidden layers of actor and critics.
        learning_rate: Of all of SAC's optimisers.
        batch_size: Transitions in an update.
        learning_starts: Steps of uniform actions before the first update.
    """

    steps: int
    hidden: tuple[int, ...] = (64, 64)
    learning_rate: float = 1e-3
    batch_size: int = 256
    learning_starts: int = 1000


@dataclass(frozen=True, eq=False)
class Behaviour:
    """A policy as it was at a step of its training, and the transitions of that training.

    Args:
        env_id: Of the environment it was trained in.
        settings: Of the training.
        seed: Of the training.
        policy: Stable-Baselines3's `SACPolicy`.
        replay: Every transition of the training, in order: next observations as the environment gave them, never the
            reset observation that a vector of environments hands on.
        made: Versions of the libraries and CPU seconds.
    """

    env_id: str
    settings: BehaviourSettings
    seed: int
    policy: Any
    replay: TransitionTable
    made: dict[str, Any]

    def act(self, observation: np.ndarray, rng: np.random.Generator, *, mean_share: float = 0.0) -> np.ndarray:
        """One action, in the environment's units.

        Args:
            observation: `(d,)`.
            rng: Draws the choice and the sample.
            mean_share: Probability of the mean action; otherwise it is sampled from the policy.

        Returns:
            `(m,)` float32.
        """
        with torch.no_grad():
            batch = torch.as_tensor(observation, dtype=torch.float32)[None]
            mean, log_deviation, _ = self.policy.actor.get_action_dist_params(batch)
        noise = rng.standard_normal(mean.shape[1], dtype=np.float32)  # drawn either way: the share moves no other draw
        take_mean = rng.random() < mean_share
        raw = mean[0].numpy() + (0.0 if take_mean else np.exp(log_deviation[0].numpy()) * noise)
        return self.policy.unscale_action(np.tanh(raw)).astype(np.float32)

    def provenance(self) -> dict[str, Any]:
        """Where it comes from: what JSON can hold."""
        settings = {**asdict(self.settings), "hidden": list(self.settings.hidden)}
        return {
            "algorithm": "SAC (Stable-Baselines3)",
            "env_id": self.env_id,
            "checkpoint_step": self.settings.steps,
            "settings": settings,
            "seed": self.seed,
            **self.made,
        }

    def save(self, folder: str | Path) -> None:
        """Write `policy.safetensors`, `replay.npz` and `behaviour.json` into a folder that exists."""
        from safetensors.torch import save_file

        folder = Path(folder)
        tensors = {name: tensor.detach().contiguous() for name, tensor in self.policy.state_dict().items()}
        save_file(tensors, folder / "policy.safetensors")
        np.savez_compressed(folder / "replay.npz", **self.replay.rows(slice(None)))
        (folder / "behaviour.json").write_text(json.dumps(self.provenance(), indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> "Behaviour":
        """What `save` wrote; nothing in the files can run.

        Raises:
            OSError: If a file is missing.
            ValueError: If a file is not what `save` writes.
        """
        from safetensors.torch import load_file

        folder = Path(folder)
        facts = json.loads((folder / "behaviour.json").read_text(encoding="utf-8"))
        try:
            settings = BehaviourSettings(**{**facts["settings"], "hidden": tuple(facts["settings"]["hidden"])})
            made = {name: facts[name] for name in ("versions", "cpu_seconds")}
            policy = _policy(facts["env_id"], settings)
            policy.load_state_dict(load_file(folder / "policy.safetensors"))
            with np.load(folder / "replay.npz", allow_pickle=False) as columns:
                replay = TransitionTable(**columns)
        except (KeyError, TypeError, RuntimeError) as error:
            raise ValueError(f"{folder} holds no behaviour: {error}") from error
        return cls(facts["env_id"], settings, facts["seed"], policy, replay, made)


def train_behaviour(
    env_id: str,
    settings: BehaviourSettings,
    *,
    seed: int,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
    on_step_every: int = 1000,
) -> Behaviour:
    """Train SAC in an environment and stop at a step.

    Args:
        env_id: Of gymnasium, with flat `Box` observations and actions.
        settings: Of the training.
        seed: Of the environment, the weights and every draw. The process's own random state is left as it was.
        on_step: Told the step and {"return": of the episodes that ended since it was last told, averaged; NaN if none}.
        on_step_every: Steps between its calls.

    Returns:
        The policy, and every transition that it was trained on.

    Raises:
        ImportError: If Stable-Baselines3 is missing.
        TypeError: If the environment has other observations or actions.
        ValueError: If a number is out of range.
    """
    try:
        from stable_baselines3 import SAC
    except ImportError as error:
        raise ImportError("training a behaviour needs Stable-Baselines3: pip install 'rewardlab[sb3]'") from error
    check_scalar("settings.steps", settings.steps, low=1, whole=True)
    check_scalar("seed", seed, low=0, whole=True)
    recorder = EpisodeRecorder(gymnasium.make(env_id))
    started = time.process_time()
    with _own_random_state():
        learner = SAC(
            "MlpPolicy",
            recorder,
            learning_rate=settings.learning_rate,
            batch_size=settings.batch_size,
            learning_starts=settings.learning_starts,
            buffer_size=settings.steps,
            policy_kwargs={"net_arch": list(settings.hidden)},
            seed=seed,
            device="cpu",
        )
        learner.learn(settings.steps, callback=_reporter(on_step, on_step_every))
    policy = learner.policy
    policy.set_training_mode(False)
    made = {"versions": versions(), "cpu_seconds": round(time.process_time() - started, 1)}
    behaviour = Behaviour(env_id, settings, seed, policy, recorder.table(), made)
    recorder.close()
    return behaviour


def kept_behaviour(
    env_id: str,
    settings: BehaviourSettings,
    *,
    seed: int = 0,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> Behaviour:
    """`train_behaviour` the first time, and from then on what it kept in the cache (`environments.offline.made.cache`).

    It is found again by its environment, settings, seed and the versions of the libraries.
    """
    facts = [VERSION, env_id, asdict(settings), seed, versions()]
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    folder = made_once(
        f"behaviour-{env_id}-{settings.steps}-{key}",
        lambda empty: train_behaviour(env_id, settings, seed=seed, on_step=on_step).save(empty),
    )
    return Behaviour.load(folder)


def versions() -> dict[str, str]:
    """Versions of the libraries that the numbers of a recording depend on."""
    return {package: version(package) for package in PACKAGES}


def _policy(env_id: str, settings: BehaviourSettings):
    from stable_baselines3.sac.policies import SACPolicy

    env = gymnasium.make(env_id)
    policy = SACPolicy(env.observation_space, env.action_space, lambda _: 0.0, net_arch=list(settings.hidden))
    policy.set_training_mode(False)
    env.close()
    return policy


def _reporter(on_step, every: int):
    if on_step is None:
        return None

    def report(local: dict[str, Any], _: dict[str, Any]) -> bool:
        learner, finished = local["self"], report.finished
        finished += [info["episode"]["r"] for info in local["infos"] if "episode" in info]
        if learner.num_timesteps % every == 0:
            on_step(learner.num_timesteps, {"return": float(np.mean(finished)) if finished else float("nan")})
            finished.clear()
        return True

    report.finished = []
    return report


@contextmanager
def _own_random_state() -> Iterator[None]:
    """SAC of Stable-Baselines3 draws from the global generators: put them back as they were."""
    python, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy_state)  # noqa: NPY002
