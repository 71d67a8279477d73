"""Data sets recorded here by the protocols of the published ones, each with where it comes from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import gymnasium
import numpy as np
import torch

from environments.offline.made.behaviours import Behaviour, versions
from environments.offline.made.recorder import EpisodeRecorder
from rewardlab.checks import check_choice, check_scalar
from rewardlab.transition_table import TransitionTable

__all__ = ["MadeDataset", "Protocol", "make_dataset"]

Protocol = Literal["random", "medium", "medium-replay", "expert", "mixed", "mostly-mean"]
Act = Callable[[np.ndarray, np.random.Generator], np.ndarray]
MEAN_SHARES = {"medium": 0.0, "expert": 1.0, "mostly-mean": 0.8}


@dataclass(frozen=True, eq=False)
class MadeDataset:
    """A recording and where it comes from.

    Args:
        table: Whole episodes.
        provenance: Environment, protocol, seed, policy, versions of the libraries, returns: what JSON can hold.
        seeds: Of each episode's reset; None where it was not seeded by itself.
    """

    table: TransitionTable
    provenance: dict[str, Any]
    seeds: tuple[int | None, ...]


def make_dataset(
    env_id: str,
    policy: Any,
    protocol: Protocol,
    *,
    rows: int | None = 10_000,
    seed: int,
    mean_share: float | None = None,
) -> MadeDataset:
    """Record a data set.

    Episodes are recorded until there are `rows` rows, and the last one to its end. Each has a seed of its own, from
    which both its first state and its actions follow.

    Args:
        env_id: Of gymnasium, with flat `Box` observations and actions.
        policy: `Behaviour`; or a model of Stable-Baselines3; or a function of an observation and a NumPy generator.
            None for "random", and two of them for "mixed": the lesser and the better one.
        protocol: "random" is uniform actions; "medium" samples the policy; "expert" takes its mean action (D4RL samples
            here too, which for a maximum-entropy policy is a lesser expert); "mostly-mean" is NeoRL's, the mean action
            with probability 0.8; "mixed" is "medium" of the first policy and then "expert" of the second, half the rows
            each; "medium-replay" is what the `Behaviour` was trained on.
        rows: At least so many; of a replay: so many from whole episodes drawn without replacement and left in order, or
            None for all of it.
        seed: Of everything.
        mean_share: Probability of the mean action, where another than the protocol's is wanted.

    Returns:
        The recording.

    Raises:
        TypeError: If the policy is none of these, or the environment has other observations or actions.
        ValueError: If the protocol is unknown, a number out of range, or the replay too short.

    Source: Fu et al. 2020 (D4RL), the collection script; Qin et al. 2022 (NeoRL) for "mostly-mean".
    """
    check_choice("protocol", protocol, get_args(Protocol))
    check_scalar("seed", seed, low=0, whole=True)
    if rows is not None:
        check_scalar("rows", rows, low=1, whole=True)
    elif protocol != "medium-replay":
        raise ValueError(f"rows is None, expected a number: only a replay has an end of its own, not {protocol!r}")
    if protocol == "mixed":
        table, seeds = _mixed(env_id, policy, rows, seed, mean_share)
    elif protocol == "medium-replay":
        if not isinstance(policy, Behaviour):
            raise TypeError(f"policy is a {type(policy).__name__}, expected a Behaviour, which knows its replay")
        if policy.env_id != env_id:
            raise ValueError(f"env_id is {env_id!r}, and the replay is of {policy.env_id!r}")
        table = policy.replay if rows is None else _thinned(policy.replay, rows, seed)
        seeds = (None,) * len(table.episode_starts)
    else:
        share = MEAN_SHARES.get(protocol, 0.0) if mean_share is None else mean_share
        act = _uniform(env_id) if protocol == "random" else _acting(policy, share)
        table, seeds = _recorded(env_id, act, rows, seed)
    asked = {"env_id": env_id, "protocol": protocol, "seed": seed, "mean_share": mean_share}
    return MadeDataset(table, {**asked, **_facts(table), "policy": _described(policy), "versions": versions()}, seeds)


def _recorded(env_id: str, act: Act, rows: int, seed: int) -> tuple[TransitionTable, tuple[int | None, ...]]:
    recorder = EpisodeRecorder(gymnasium.make(env_id))
    low, high = recorder.action_space.low, recorder.action_space.high
    episode = taken = 0
    while taken < rows:
        own = int(np.random.default_rng([seed, episode]).integers(2**31))
        rng = np.random.default_rng(own)
        observation, _ = recorder.reset(seed=own)
        over = False
        while not over:
            action = np.clip(act(observation, rng), low, high)
            observation, _, terminated, truncated, _ = recorder.step(action)
            over, taken = terminated or truncated, taken + 1
        episode += 1
    recorder.close()
    return recorder.table(), recorder.seeds


def _mixed(env_id: str, policies: Any, rows: int, seed: int, mean_share: float | None):
    if not isinstance(policies, tuple | list) or len(policies) != 2:
        raise TypeError(f"policy is a {type(policies).__name__}, expected two of them for 'mixed'")
    seeds = np.random.SeedSequence(seed).generate_state(2)
    halves = [
        make_dataset(env_id, policy, protocol, rows=share, seed=int(own), mean_share=mean_share)
        for policy, protocol, share, own in zip(
            policies, ("medium", "expert"), (rows // 2 or 1, rows - rows // 2), seeds, strict=True
        )
    ]
    return TransitionTable.concatenate([half.table for half in halves]), halves[0].seeds + halves[1].seeds


def _thinned(replay: TransitionTable, rows: int, seed: int) -> TransitionTable:
    if rows > len(replay):
        raise ValueError(f"rows is {rows}, and the replay has {len(replay)}")
    order = np.random.default_rng(seed).permutation(len(replay.episode_starts))
    enough = np.searchsorted(np.cumsum(replay.episode_lengths[order]), rows) + 1
    return replay.episodes(np.sort(order[:enough]))


def _uniform(env_id: str) -> Act:
    env = gymnasium.make(env_id)
    space = env.action_space
    env.close()
    return lambda _, rng: rng.uniform(space.low, space.high).astype(np.float32)


def _acting(policy: Any, mean_share: float) -> Act:
    check_scalar("mean_share", mean_share, low=0.0, high=1.0)
    if isinstance(policy, Behaviour):
        return lambda observation, rng: policy.act(observation, rng, mean_share=mean_share)
    if callable(getattr(policy, "predict", None)):  # a model of Stable-Baselines3 draws from torch's global generator

        def predicted(observation: np.ndarray, rng: np.random.Generator) -> np.ndarray:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(rng.integers(2**63)))
                return policy.predict(observation, deterministic=bool(rng.random() < mean_share))[0]

        return predicted
    if callable(policy) and not isinstance(policy, type):
        return policy
    raise TypeError(
        f"policy is a {type(policy).__name__}, expected a Behaviour, a model of Stable-Baselines3, or a function of an "
        f"observation and a generator"
    )


def _described(policy: Any) -> Any:
    if policy is None:
        return "uniform actions"
    if isinstance(policy, tuple | list):
        return [_described(one) for one in policy]
    return (
        policy.provenance() if isinstance(policy, Behaviour) else f"{type(policy).__module__}.{type(policy).__name__}"
    )


def _facts(table: TransitionTable) -> dict[str, Any]:
    returns = table.episode_returns
    closed = table.terminals | table.timeouts
    return {
        "rows": len(table),
        "episodes": len(returns),
        "terminals": int(table.terminals.sum()),
        "timeouts": int(table.timeouts.sum()),
        "open_episodes": int(len(returns) - closed.sum()),
        "returns": {name: float(getattr(np, name)(returns)) for name in ("mean", "std", "min", "max")},
    }
