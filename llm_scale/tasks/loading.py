"""A task by its name, as a command line or a file of settings gives it."""

import inspect
from collections.abc import Callable

from llm_scale.tasks.addition import AdditionTask
from llm_scale.tasks.chains import ChainsTask
from llm_scale.tasks.gsm8k import GSM8KTask
from llm_scale.tasks.reasoning import ReasoningTask
from llm_scale.tasks.task import Task

__all__ = ["TASKS", "task"]

TASKS: dict[str, Callable[..., Task]] = {
    "addition": AdditionTask,
    "chains": ChainsTask,
    "gsm8k": GSM8KTask,
    "reasoning_gym": ReasoningTask,
}
_WORDS = {"true": True, "false": False}


def task(name: str) -> Task:
    """The task that a name stands for, with its settings after a colon.

    Args:
        name: `addition`, `addition:digits=2,style=bare`, `chains:operations=3`, `gsm8k`, or the name of a data set of
            reasoning-gym, `reasoning_gym:chain_sum,max_terms=3`.

    Raises:
        ValueError: If there is no such task, or it does not take such a setting.
        ImportError: If it needs a package that is not installed.

    Example:
        >>> task("addition:digits=2").name
        'addition_2'
    """
    kind, _, listed = name.partition(":")
    if kind not in TASKS:
        raise ValueError(f"task is {kind!r}, expected one of {', '.join(sorted(TASKS))}")
    parts = [part.strip() for part in listed.split(",") if part.strip()]
    plain = [part for part in parts if "=" not in part]
    settings = {key.strip(): _value(value.strip()) for key, _, value in (p.partition("=") for p in parts if "=" in p)}
    try:
        inspect.signature(TASKS[kind]).bind(*plain, **settings)
    except TypeError as error:
        takes = ", ".join(inspect.signature(TASKS[kind]).parameters) or "no settings"
        raise ValueError(f"task {name!r}: {error}; {kind} takes {takes}") from None
    return TASKS[kind](*plain, **settings)


def _value(text: str) -> int | float | bool | str:
    """A whole number, a number, a truth value, or the text itself."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
