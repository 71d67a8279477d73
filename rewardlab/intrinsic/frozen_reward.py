"""A learned reward of messages that learns no more."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import expit

from rewardlab.checks import check_choice, check_scalar
from rewardlab.intrinsic.interface import Item
from rewardlab.intrinsic.message_learner import MessageNetwork, network_scores

__all__ = ["FORMS", "FrozenReward"]

FORMS = {"classification": 2, "ranking": 1}
"""Forms of reward, and the scores of a message that each reads."""


class FrozenReward:
    """Pays messages by a trained network: fitted offline (Motif), or taken from a run that learned online.

    Args:
        network: Copied; with two scores of a message for classification, one for ranking.
        form: "classification" pays 1 where the probability of the second class is above the threshold; "ranking" pays
            the normalised score z where it is above the threshold.
        threshold: See `form`.
        mean: Of the scores, for ranking.
        deviation: Standard deviation of the scores, for ranking; above 0.

    Raises:
        ValueError: If the form is unknown or not of the network's scores, or a number is out of range.
    """

    def __init__(
        self, network: MessageNetwork, *, form: str, threshold: float, mean: float = 0.0, deviation: float = 1.0
    ):
        check_choice("form", form, FORMS)
        if network.outputs != FORMS[form]:
            raise ValueError(f"network gives {network.outputs} scores of a message, {form} needs {FORMS[form]}")
        self.network, self.form = copy.deepcopy(network).requires_grad_(False).eval(), form
        self.threshold = float(check_scalar("threshold", threshold))
        self.mean = float(check_scalar("mean", mean))
        self.deviation = float(check_scalar("deviation", deviation, low=0, open_low=True))

    def values(self, texts: Sequence[str]) -> Float[np.ndarray, " texts"]:
        """What the threshold is held against: the probability, or the normalised score."""
        scores = network_scores(self.network, texts)
        if self.form == "classification":
            return expit(scores[:, 1] - scores[:, 0])
        return (scores[:, 0] - self.mean) / self.deviation

    def rewards(self, texts: Sequence[str]) -> Float[np.ndarray, " texts"]:
        """Reward of each message; 0 for the empty message."""
        values = self.values(texts)
        paid = (values > self.threshold) & np.array([bool(text) for text in texts], dtype=bool)
        return np.where(paid, 1.0 if self.form == "classification" else values, 0.0)

    def requests(self, texts: Sequence[str]) -> list[Item]:
        """Nothing is asked."""
        return []

    def receive(self, answers: Sequence[tuple[Item, int]]) -> dict[str, float]:
        """Nothing is learned."""
        return {}

    def update(self) -> dict[str, float]:
        """Nothing changes."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Weights and numbers."""
        weights = {name: value.clone() for name, value in self.network.state_dict().items()}
        return {"network": weights, "threshold": self.threshold, "mean": self.mean, "deviation": self.deviation}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over another such reward's weights and numbers."""
        self.network.load_state_dict(state["network"])
        self.threshold, self.mean, self.deviation = state["threshold"], state["mean"], state["deviation"]
