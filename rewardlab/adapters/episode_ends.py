"""Where episodes end in vectors of environments, for whoever changes rewards there."""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from rewardlab.observations import take, with_rows

__all__ = ["autoreset_mode", "last_infos", "last_observations", "refuse_autoreset", "vec_env_ends"]


def refuse_autoreset(env: gymnasium.Env, wrapper: str) -> None:
    """Refuse an environment that resets itself in a step of its own.

    Raises:
        ValueError: If `Autoreset` is inside; names the `wrapper` that should be.
    """
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, gymnasium.wrappers.Autoreset):
            raise ValueError(
                f"inside Autoreset the steps that only reset cannot be told from transitions; wrap the other way "
                f"round: Autoreset({wrapper}(env, ...))"
            )
        env = env.env


def autoreset_mode(envs: VectorEnv) -> AutoresetMode:
    """How a vector of environments begins the next episode.

    Raises:
        ValueError: If its metadata do not say.
    """
    mode = (envs.metadata or {}).get("autoreset_mode")
    try:
        return AutoresetMode(mode)
    except ValueError:
        raise ValueError(
            f"metadata['autoreset_mode'] of {envs} is {mode!r}, expected a gymnasium.vector.AutoresetMode: without it "
            f"the step that resets an environment cannot be told from a transition"
        ) from None


def last_observations(observations: Any, infos: dict[str, Any], done: np.ndarray) -> Any:
    """What the steps led to, where SAME_STEP has replaced it by the next episode's first observation.

    Raises:
        ValueError: If the environments do not hand over the last observations of the episodes that are `done`.
    """
    if "final_obs" not in infos:
        raise ValueError("an episode ended in autoreset mode SAME_STEP, but infos['final_obs'] is missing")
    final = infos["final_obs"]
    return with_rows(observations, {i: take(final, i) for i in np.flatnonzero(done).tolist()})


def last_infos(infos: dict[str, Any], done: np.ndarray) -> dict[str, Any]:
    """The infos of the transitions, where SAME_STEP has replaced them by the next episode's."""
    own = {key: value for key, value in infos.items() if key.lstrip("_") not in {"final_obs", "final_info"}}
    return _merged_infos(own, infos.get("final_info") or {}, done)


def vec_env_ends(
    observations: Any, dones: np.ndarray, infos: list[dict[str, Any]]
) -> tuple[Any, np.ndarray, np.ndarray]:
    """The observations that the steps of a Stable-Baselines3 vector led to, where they terminated and were truncated.

    Raises:
        ValueError: If an info does not hold the last observation of an episode that ended.
    """
    truncated, rows = np.zeros(len(dones), dtype=bool), {}
    for i in np.flatnonzero(dones).tolist():
        if "terminal_observation" not in infos[i]:
            raise ValueError(
                f"environment {i} ended its episode, but infos[{i}] has no 'terminal_observation': what the step led "
                f"to is lost, and signals of it would see the next episode"
            )
        rows[i] = infos[i]["terminal_observation"]
        truncated[i] = infos[i].get("TimeLimit.truncated", False)
    return with_rows(observations, rows), dones & ~truncated, truncated


def _merged_infos(reset: Mapping[str, Any], final: Mapping[str, Any], done: np.ndarray) -> dict[str, Any]:
    """`final` for the environments in `done`, `reset` for the others, masks included."""
    merged = {}
    for key in {**reset, **final}:
        if key.startswith("_"):
            continue
        there = reset.get(f"_{key}", np.ones_like(done)) if key in reset else np.zeros_like(done)
        ended = final.get(f"_{key}", done) if key in final else np.zeros_like(done)
        values = [part[key] for part in (reset, final) if key in part]
        if all(isinstance(value, Mapping) for value in values):
            merged[key] = _merged_infos(reset.get(key, {}), final.get(key, {}), done)
        elif len(values) == 1:
            merged[key] = values[0]
        else:
            merged[key] = with_rows(values[0], {i: values[1][i] for i in np.flatnonzero(done & ended).tolist()})
        merged[f"_{key}"] = np.where(done, ended, there)
    return merged
