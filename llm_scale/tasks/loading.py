"""A task by its name."""

from llm_scale.tasks.addition import AdditionTask
from llm_scale.tasks.task import Task

__all__ = ["task"]

TASKS = {"addition": AdditionTask}


def task(name: str) -> Task:
    """The task that a name such as `addition`, `addition:digits=2` or `addition:digits=2,style=bare` stands for."""
    kind, _, settings = name.partition(":")
    options = {}
    for part in filter(None, settings.split(",")):
        key, _, value = part.partition("=")
        options[key.strip()] = int(value) if value.strip().lstrip("-").isdecimal() else value.strip()
    return TASKS[kind.strip()](**options)
