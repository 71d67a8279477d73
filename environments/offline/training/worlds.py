"""What is known of a task beside its recording: when it ends, what a policy may do, and where the policy is tried."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import gymnasium
import numpy as np
import torch

from environments.offline.made.recipes import RECIPES
from environments.offline.scores import normalised_score, scored_tasks
from environments.offline.terminations import TERMINATIONS, termination_of
from environments.offline.training.settings import TrainingSettings
from rewardlab.transition_table import TransitionTable

__all__ = ["World", "world_of"]


@dataclass(frozen=True)
class World:
    """What is known of a task.

    Args:
        termination: Whether the task ends, of (observations, actions, next_observations).
        action_space: What a policy may do.
        make_environment: Makes the real environment; None where there is none.
        score: Normalised score of returns; None where the task has no published references.
    """

    termination: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
    action_space: gymnasium.spaces.Box
    make_environment: Callable[[], gymnasium.Env] | None
    score: Callable[[np.ndarray], np.ndarray] | None


def world_of(settings: TrainingSettings, table: TransitionTable) -> World:
    """What is known of the task of a run.

    The environment is the one that is named, else that of data that were made here. The task is the one that is named;
    else the environment's; else that of the data, if their name says it. Without an environment, actions are taken to
    lie in [-1, 1].

    Raises:
        ValueError: If nobody knows when the task ends, or environment and recording have other sizes.
    """
    environment = settings.environment or _environment_of_data(settings.data)
    task = settings.task or _task_of_environment(environment) or _task_of_data(settings.data)
    if task is None:
        raise ValueError(
            f"nobody says when the task of {settings.data!r} ends: name an environment, or a task, one of "
            f"{', '.join(TERMINATIONS)}"
        )
    make, space = None, gymnasium.spaces.Box(-1.0, 1.0, (table.action_size,), np.float32)
    if environment is not None:
        make = partial(gymnasium.make, environment)
        space = _checked_action_space(make, table)
    scored = next((name for name in (task, f"d4rl/{task}") if name in scored_tasks()), None)
    score = None if scored is None else partial(normalised_score, scored)
    return World(termination_of(task), space, make, score)


def _task_of_environment(environment: str | None) -> str | None:
    """The name that terminations and scores have for an environment's task: hopper of Hopper-v5."""
    if environment is None:
        return None
    termination = termination_of(environment)
    return next(name for name, known in TERMINATIONS.items() if known is termination)


def _environment_of_data(name: str) -> str | None:
    """Hopper-v5 of made/hopper/medium."""
    recipe = RECIPES.get(name.removeprefix("made/")) if name.startswith("made/") else None
    return None if recipe is None else recipe.env_id


def _task_of_data(name: str) -> str | None:
    """neorl2/DMSD of neorl2/DMSD-train."""
    task = name.rpartition("-")[0]
    return task if task in TERMINATIONS else None


def _checked_action_space(make: Callable[[], gymnasium.Env], table: TransitionTable) -> gymnasium.spaces.Box:
    environment = make()
    seen, acted = environment.observation_space.shape, environment.action_space
    environment.close()
    if seen != (table.observation_size,) or acted.shape != (table.action_size,):
        raise ValueError(
            f"{environment.spec.id} has observations {seen} and actions {acted.shape}, the recording "
            f"({table.observation_size},) and ({table.action_size},)"
        )
    return acted
