"""The label itself as the reward: a message pays what the annotator said of it, and nothing until it has."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float

from rewardlab.checks import check_choice
from rewardlab.intrinsic.interface import Item

__all__ = ["RetrievalReward", "check_answers", "newest_last"]

Relabel = Literal["last", "first"]


class RetrievalReward:
    """Reward 1 for messages labelled 1, 0 for those labelled 0 and for those not labelled yet.

    Args:
        relabel: Which label holds where an annotator labels one message twice (a queue with duplicates lets it):
            "last" as in the released retrieval reward, or "first" as in the released classification's training set.

    Attributes:
        labels: Label of each annotated message.

    Source: ONI (arXiv 2410.23022), the retrieval reward, as released.

    Example:
        >>> model = RetrievalReward()
        >>> model.receive([("You kill the newt!", 1), ("The door is closed.", 0)])
        {'labels': 2.0, 'labels_positive': 1.0}
        >>> model.rewards(["You kill the newt!", "The door is closed.", "It is dark.", ""])
        array([1., 0., 0., 0.])
    """

    def __init__(self, *, relabel: Relabel = "last") -> None:
        check_choice("relabel", relabel, get_args(Relabel))
        self.relabel = relabel
        self.labels: dict[str, int] = {}

    def rewards(self, texts: Sequence[str]) -> Float[np.ndarray, " texts"]:
        """Label of each message, 0 for those without one; the empty message is never paid."""
        label = self.labels.get
        return np.array([float(label(text, 0)) if text else 0.0 for text in texts], dtype=np.float64)

    def requests(self, texts: Sequence[str]) -> list[Item]:
        """The distinct messages without a label, the one that came up last at the end; waiting ones are asked again."""
        return [text for text in newest_last(texts) if text and text not in self.labels]

    def receive(self, answers: Sequence[tuple[Item, int]]) -> dict[str, float]:
        """Keep labels.

        Raises:
            TypeError: If an item is not one message.
            ValueError: If a label is neither 0 nor 1.
        """
        for text, label in check_answers(answers):
            if self.relabel == "last" or text not in self.labels:
                self.labels[text] = label
        return {"labels": float(len(self.labels)), "labels_positive": float(sum(self.labels.values()))}

    def update(self) -> dict[str, float]:
        """Nothing is learned between labels."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Messages and their labels."""
        return {"messages": list(self.labels), "labels": list(self.labels.values())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with these labels."""
        labels = [label for _, label in check_answers(list(zip(state["messages"], state["labels"], strict=True)))]
        self.labels = dict(zip(state["messages"], labels, strict=True))


def newest_last(texts: Sequence[str]) -> list[str]:
    """Distinct texts in the order of first sight, so that what came up last stands where a stack takes from.

    By last sight the end would always be an everyday message, and a stack that gives out few labels would spend them
    all on those: of NetHack's stream, a label in 1000 steps then pays 9 % of the good steps instead of 25 %.

    Example:
        >>> newest_last(["a", "b", "a"])
        ['a', 'b']
    """
    return list(dict.fromkeys(texts))


def check_answers(answers: Sequence[tuple[Item, int]]) -> list[tuple[str, int]]:
    """Labels of single messages, each 0 or 1.

    Raises:
        TypeError: If an item is not one message.
        ValueError: If a label is neither 0 nor 1; names the place.
    """
    for place, (text, label) in enumerate(answers):
        if not isinstance(text, str):
            raise TypeError(f"answers[{place}] is about a {type(text).__name__}, expected one message")
        if label not in (0, 1):
            raise ValueError(f"answers[{place}] is {label!r} for {text!r}, expected label 0 or 1")
    return [(text, int(label)) for text, label in answers]
