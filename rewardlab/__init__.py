"""What does a reward function really say, how far is it from what you mean, and what happens when it is optimised?

Rooms, one a question, loaded when first used:
    rewardlab.exact: worlds solved exactly, the ground truth for everything else.
    rewardlab.distance: how different are two rewards?
    rewardlab.transforms: how do I reshape reward values and combine several into one, safely?
    rewardlab.process: how do I reward the steps of a solution, so that padding, repeating and stalling never pay?
    rewardlab.shaping: how do I guide an agent without changing its goal, and how far do I trust the guidance?
    rewardlab.intrinsic: what should an agent be paid for when the game says nothing?
    rewardlab.dynamics: which predictions of a learned dynamics model should a planner believe?
    rewardlab.scoring: how good is a reward model?
    rewardlab.audit: is this reward safe to optimise?
    rewardlab.adapters: how do I use it in gymnasium, Stable-Baselines3, TRL, verl or OpenRLHF?
    rewardlab.catalogue: which paper is implemented where, and which figure tests it.
"""

from importlib import import_module
from types import ModuleType

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "adapters",
    "audit",
    "catalogue",
    "distance",
    "dynamics",
    "exact",
    "intrinsic",
    "process",
    "scoring",
    "shaping",
    "transforms",
]

_ROOMS = frozenset(__all__) - {"__version__"}


def __getattr__(name: str) -> ModuleType:
    """Load a room on first use (PEP 562), so that `import rewardlab` costs next to nothing."""
    if name in _ROOMS:
        return import_module(f"rewardlab.{name}")
    raise AttributeError(f"module 'rewardlab' has no attribute {name!r}; it has {', '.join(sorted(_ROOMS))}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS})
