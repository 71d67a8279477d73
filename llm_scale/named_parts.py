"""The parts of a training run that its settings name: the objective and the language model."""

import torch

from llm_scale.models.language_model import LanguageModel
from llm_scale.models.loading import LoraSettings, load
from llm_scale.models.tiny import SIZES
from llm_scale.models.warm_start import WarmUp, warmed_up
from llm_scale.objectives.objective import OBJECTIVES, Objective, objective
from llm_scale.rewards.reward_path import RewardPath
from llm_scale.running.distributed import World
from llm_scale.settings import Settings
from llm_scale.tasks.task import Task

__all__ = ["named_language_model", "named_objective"]


def named_objective(settings: Settings, reward_path: RewardPath) -> Objective:
    """The algorithm, with the settings' changes; credit by token where the reward file pays for steps.

    Raises:
        ValueError: If it cannot go with the other settings.
    """
    process = reward_path.process
    by_step = "token" if process is not None and process.credit == "token" else None
    names = ("kl_weight", "kl_estimator", "kl_place", "clip_low", "clip_high", "step_baseline")
    changes = {name: getattr(settings, name) for name in names} | {"credit": settings.credit or by_step}
    if settings.group == 1 and OBJECTIVES[settings.objective].advantage != "raw":
        raise ValueError(f"group is 1, but {settings.objective} compares the samples of a question; expected 2 or more")
    named = objective(settings.objective, **{name: value for name, value in changes.items() if value is not None})
    if named.kl_in_reward and reward_path.pipeline.advantage is not None:
        own = f"{settings.reward} takes advantages of its own, so {named.name} cannot take it off the reward"
        raise ValueError(f"kl_weight is {named.kl_weight}, but {own}; expected 0, or another objective")
    return named


def named_language_model(settings: Settings, task: Task, world: World) -> LanguageModel:
    """The model on its device, warmed up where the settings ask for it.

    Raises:
        ValueError: If there is no such model, or no such device.
    """
    device = settings.device
    if device == "auto":
        device = f"cuda:{world.local_rank}" if torch.cuda.is_available() else "cpu"
    elif device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device is {device!r}, but torch finds no CUDA device; expected auto or cpu")
    lora = LoraSettings(rank=settings.lora_rank) if settings.lora_rank else None
    if not settings.warm_up:
        return load(settings.model, device=device, lora=lora, seed=settings.seed)
    # a model that was trained before is only to learn the form
    gentle = {"batch_size": 32, "learning_rate": 2e-5, "matrix_learning_rate": None, "until": None}
    how = WarmUp(steps=settings.warm_up, **({} if settings.model in SIZES else gentle))
    return warmed_up(settings.model, task, how, seed=settings.seed, device=device, lora=lora)
