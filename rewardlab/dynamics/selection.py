"""Which candidate is taken, given the dynamics reward of each: the largest, a softmax draw, or any."""

from typing import Literal

import torch
from jaxtyping import Float, Int

from rewardlab.checks import check_choice, check_scalar
from rewardlab.dynamics.draws import uniform_index

__all__ = ["Selection", "expected_selected_reward", "select", "selection_probabilities"]

Selection = Literal["argmax", "softmax", "uniform"]
KINDS = ("argmax", "softmax", "uniform")


def selection_probabilities(
    rewards: Float[torch.Tensor, "*b n"], kind: Selection = "softmax", temperature: float = 0.1
) -> Float[torch.Tensor, "*b n"]:
    """Probability that each candidate is taken.

    Args:
        rewards: Dynamics rewards of N candidates; -inf excludes a candidate.
        kind: `argmax`: the largest, of equals the first. `softmax`: proportional to exp(reward / temperature).
            `uniform`: all that are not excluded alike, whatever their rewards.
        temperature: Of the softmax, above 0: towards 0 it becomes the argmax, towards infinity uniform.

    Returns:
        Probabilities that sum to 1 over the last axis, in the dtype of `rewards`.

    Raises:
        ValueError: If a reward is NaN or +inf, or a row excludes all candidates; names the first. If the temperature
            is not above 0, or the kind is unknown.

    Source: MOREC's official code (there the temperature is always 0.1).

    Example:
        >>> selection_probabilities(torch.tensor([0.4, 0.7, 1.0]))
        tensor([0.0024, 0.0473, 0.9503])
    """
    _check(rewards, kind, temperature)
    if kind == "softmax":
        return torch.softmax((rewards - rewards.amax(-1, keepdim=True)) / temperature, -1)
    if kind == "argmax":
        return torch.zeros_like(rewards).scatter(-1, rewards.argmax(-1, keepdim=True), 1.0)
    allowed = (rewards != -torch.inf).to(rewards.dtype)
    return allowed / allowed.sum(-1, keepdim=True)


def select(
    rewards: Float[torch.Tensor, "b n"],
    choice: Float[torch.Tensor, " b"],
    kind: Selection = "softmax",
    temperature: float = 0.1,
) -> Int[torch.Tensor, " b"]:
    """Candidate taken in each row, by the inverse of the cumulative probabilities.

    Args:
        rewards: As in `selection_probabilities`.
        choice: Uniform in [0, 1), one a row; the argmax does not use it.
        kind: See there.
        temperature: See there.

    Returns:
        Index of a candidate that is not excluded.

    Raises:
        ValueError: As `selection_probabilities`, or if `choice` has another shape, or a number outside [0, 1).
    """
    _check(rewards, kind, temperature)
    if choice.shape != rewards.shape[:-1] or rewards.ndim != 2:
        raise ValueError(
            f"choice has shape {tuple(choice.shape)} and rewards {tuple(rewards.shape)}, expected B and B, N"
        )
    if not bool(((choice >= 0) & (choice < 1)).all()):
        raise ValueError("choice holds a number outside [0, 1), expected uniform ones")
    if kind == "argmax":
        return rewards.argmax(-1)
    if kind == "uniform" and not bool((rewards == -torch.inf).any()):
        return uniform_index(choice, rewards.shape[-1])
    # in float64: there choice * total rounds to less than the total, so that nothing excluded is ever reached
    cumulative = selection_probabilities(rewards.double(), kind, temperature).cumsum(-1)
    reached = (choice.double() * cumulative[:, -1]).unsqueeze(-1)
    return (cumulative[:, :-1] <= reached).sum(-1)


def expected_selected_reward(
    rewards: Float[torch.Tensor, "*b n"], kind: Selection = "softmax", temperature: float = 0.1
) -> Float[torch.Tensor, "*b"]:
    """Mean dynamics reward of the candidate taken; at least the plain mean, and rising as the temperature falls.

    Raises:
        ValueError: As `selection_probabilities`.
    """
    probabilities = selection_probabilities(rewards, kind, temperature)
    return (probabilities * torch.where(probabilities > 0, rewards, 0)).sum(-1)


def _check(rewards: torch.Tensor, kind: str, temperature: float) -> None:
    check_choice("kind", kind, KINDS)
    check_scalar("temperature", temperature, low=0, open_low=True)
    if rewards.shape[-1] == 0:
        raise ValueError(f"rewards has shape {tuple(rewards.shape)}, expected at least one candidate")
    if bool((wrong := torch.isnan(rewards) | (rewards == torch.inf)).any()):
        place = wrong.nonzero()[0].tolist()
        raise ValueError(f"rewards{place} is {rewards[tuple(place)].item()}, expected a finite number, or -inf")
    if bool((none := (rewards == -torch.inf).all(-1)).any()):
        raise ValueError(f"rewards{none.nonzero()[0].tolist()} is -inf for every candidate, expected one to choose")
