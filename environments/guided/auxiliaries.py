"""What the guided worlds share: auxiliary rewards chosen by name, and the published way to make potentials of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from rewardlab.adapters.step_signals import Step

__all__ = ["chosen", "published_potential"]

Rule = TypeVar("Rule")


def chosen(auxiliary: Sequence[str], known: Mapping[str, Rule]) -> dict[str, Rule]:
    """The auxiliary rewards of these names, in this order.

    Raises:
        TypeError: If the names come as one string, in which every letter would be a name.
        ValueError: If a name is unknown or comes twice.
    """
    if isinstance(auxiliary, str):
        raise TypeError(
            f"auxiliary: expected a sequence of names, got the string {auxiliary!r}; write ({auxiliary!r},)"
        )
    for position, name in enumerate(auxiliary):
        if name not in known:
            listed = ", ".join(repr(each) for each in known)
            raise ValueError(f"auxiliary[{position}] is {name!r}, expected one of {listed}")
    if len(set(auxiliary)) < len(auxiliary):
        raise ValueError(f"auxiliary is {tuple(auxiliary)!r}, expected every name once")
    return {name: known[name] for name in auxiliary}


def published_potential(name: str) -> Callable[[Step], float]:
    """What the published baseline calls a potential: the auxiliary reward of the transition itself.

    It depends on the action, so that shaping by it does change what is optimal: subtracted from the return, as the
    published REINFORCE does, it pushes away from the very actions that the heuristic favours. The potentials of states
    are in each world's `POTENTIALS`.

    Args:
        name: Of the auxiliary reward, one that the environment was made with.

    Returns:
        A function of a `Step`.

    Source: the official code of arXiv 2310.19007 (its REINFORCE and actor-critic baselines "with potential").
    """

    def of_the_transition(step: Step) -> Any:
        return step.info["auxiliary"][name]

    return of_the_transition
