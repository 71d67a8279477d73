"""Models warmed up on a task's own demonstrations, each trained once and kept by a hash of all that made it."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from llm_scale.models.cache import made_once
from llm_scale.models.language_model import LanguageModel
from llm_scale.models.loading import LoraSettings, load
from llm_scale.models.supervised import warm_up
from llm_scale.tasks.task import Task

__all__ = ["ONE_DIGIT", "WarmUp", "warmed_up"]

NOT_THE_MODEL = ("_name_or_path", "transformers_version")  # of its configuration
VERSION = 1  # of the training in `supervised`: another one where it would give other weights


@dataclass(frozen=True)
class WarmUp:
    """How long and how hard to train on demonstrations; the arguments of `warm_up`.

    The defaults bring the model "tiny" halfway through two-digit addition, held-out sums included, in about 25 seconds
    of one core.

    Args:
        problems: Problems of the task's training split to demonstrate.
        steps: Updates, at most.
        batch_size: Demonstrations in each.
        learning_rate: Highest, of AdamW.
        matrix_learning_rate: Highest, of Muon for the layers' matrices; None, and something like 2e-5 for AdamW, suits
            a model that was trained before.
        until: Average probability of a demonstrated answer at which to stop; None goes through all steps.
    """

    problems: int = 6000
    steps: int = 400
    batch_size: int = 128
    learning_rate: float = 5e-3
    matrix_learning_rate: float | None = 2e-2
    until: float | None = 0.45


ONE_DIGIT = WarmUp(problems=75, batch_size=32, learning_rate=1e-3, matrix_learning_rate=5e-3, until=0.4)
"""For "tiny" and one-digit addition: seconds. So few sums are learned by heart, and none beyond them."""


def warmed_up(
    name: str,
    task: Task,
    settings: WarmUp = WarmUp(),
    *,
    seed: int = 0,
    dtype: str = "float32",
    device: str | torch.device = "cpu",
    lora: LoraSettings | None = None,
) -> LanguageModel:
    """A model that has seen a task's demonstrations, trained the first time and loaded from the cache from then on.

    Args:
        name: Of the model to begin with, as for `load`.
        task: Whose demonstrations; for "tiny" it should ask in few characters (addition in the style "bare").
        settings: Of the training, which is in float32 and of all weights.
        seed: Of the problems, their order, and a tiny model's first weights.
        dtype: Number type of what is returned.
        device: Where it is trained and returned.
        lora: Adapters to train from here on; the warmed-up model itself is then the reference.

    Returns:
        The model, under the name it began with.

    Raises:
        ValueError: If the task has no demonstrations, or as `load` and `warm_up`.
    """
    demonstrations = _demonstrations(task, settings.problems, seed)
    start = load(name, device=device, seed=seed)
    key = _key(start, demonstrations, settings, seed)

    def make(folder: Path) -> None:
        training = {key: value for key, value in asdict(settings).items() if key != "problems"}
        warm_up(start, demonstrations, **training, seed=seed)
        start.save(folder)

    folder = made_once(f"{Path(name).name}-{task.name}-{key}", make)
    warmed = load(str(folder), dtype=dtype, device=device, lora=lora, seed=seed)
    warmed.name = name
    return warmed


def _demonstrations(task: Task, number: int, seed: int) -> list[tuple[str, str]]:
    problems = task.problems("train", number, seed)
    answers = [task.demonstration(problem) for problem in problems]
    if None in answers:
        raise ValueError(
            f"task {task.name!r} has no demonstration for {problems[answers.index(None)].prompt!r:.60}, "
            f"so no model can be warmed up on it"
        )
    return [(problem.prompt, answer) for problem, answer in zip(problems, answers, strict=True)]


def _key(start: LanguageModel, demonstrations: Sequence, settings: WarmUp, seed: int) -> str:
    """Hash of everything that the trained weights depend on, the first weights included."""
    digest = hashlib.sha256()
    config = {key: value for key, value in start.base.config.to_dict().items() if key not in NOT_THE_MODEL}
    facts = [VERSION, asdict(settings), seed, start.device.type, config, demonstrations]
    digest.update(json.dumps(facts, sort_keys=True, default=str).encode())
    digest.update(start.tokenizer.backend_tokenizer.to_str().encode())
    for parameter in start.base.parameters():
        digest.update(parameter.detach().cpu().numpy().data)
    return digest.hexdigest()[:16]
