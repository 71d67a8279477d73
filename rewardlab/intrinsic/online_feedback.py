"""Intrinsic reward from annotations that arrive while the agent acts, paid at the newest state of knowledge."""

from array import array
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from rewardlab.checks import check_scalar
from rewardlab.intrinsic.interface import AnnotationSource, Arrivals, MessageRewardModel, Starts
from rewardlab.intrinsic.message_counts import MessageCounts, count_discount
from rewardlab.intrinsic.message_text import EMPTY, MessageTable

__all__ = ["OnlineFeedbackReward", "discounted_rewards"]


def discounted_rewards(
    rewards_of_ids: Float[np.ndarray, " distinct"],
    ids: Int[np.ndarray, "*steps"],
    counts: Int[np.ndarray, "*steps"],
    exponent: float,
) -> Float[np.ndarray, "*steps"]:
    """Reward of each step: its message's reward, less the more often the episode has seen it.

    `r(m_t) * N_t(m_t) ** -exponent`. The factor multiplies negative rewards as well. It depends on the episode so
    far, so a learner without memory sees one state paid differently.

    Args:
        rewards_of_ids: Reward of each message, by id.
        ids: Message of each step.
        counts: How often the episode has seen it, this step included; 0 for steps that are not paid.
        exponent: At least 0; see `count_discount`.

    Raises:
        ValueError: If a count or the exponent is negative.

    Source: ONI (arXiv 2410.23022) and Motif (arXiv 2310.00166), as released.
    """
    return np.asarray(rewards_of_ids, dtype=np.float64)[ids] * count_discount(counts, exponent)


class OnlineFeedbackReward:
    """Reward models of messages, annotations and the count discount as one intrinsic reward.

    Of each step only the message's id and its count are kept; the reward is computed when the learner asks, with the
    model of that moment, so a label that arrived meanwhile pays steps taken before it. The coefficient is the
    caller's.

    Args:
        model: What a message pays.
        annotations: Where labels come from; None for models that need none (those that do learn nothing then).
        environments: How many run side by side.
        exponent: Of the count discount; 3 is published, 0 switches it off.
        simplify: Take messages for one that differ in bracketed choices or numbers only.
        maximum_messages: Distinct messages to keep; see `MessageTable`.

    Attributes:
        step: Environment steps observed, of all environments together.
        table: The distinct messages so far.

    Source: ONI (arXiv 2410.23022), as released: counts are of the raw message, reset with the episode, and the first
        screen counts. There a step is paid for the message it set out from, here for the one it led to, like any
        other reward; the last screen of a finished game is blank and is neither counted nor paid.
    """

    def __init__(
        self,
        model: MessageRewardModel,
        annotations: AnnotationSource | None,
        *,
        environments: int,
        exponent: float = 3.0,
        simplify: bool = False,
        maximum_messages: int = 1_000_000,
    ) -> None:
        if not isinstance(model, MessageRewardModel):
            raise TypeError(f"model: expected a reward model of messages, got {type(model).__name__}")
        if annotations is not None and not isinstance(annotations, AnnotationSource):
            raise TypeError(
                f"annotations: expected a source of labels, such as DelayedAnnotator(annotator, labels_per_tick=20), "
                f"got {type(annotations).__name__}"
            )
        self.model, self.annotations = model, annotations
        self.exponent = float(check_scalar("exponent", exponent, low=0.0))
        self.table = MessageTable(simplify=simplify, maximum=maximum_messages)
        self._counts = MessageCounts(environments)
        self.environments = self._counts.environments
        self.step = 0
        self._ended = set(range(self.environments))  # environments whose next episode has not begun
        self._ids, self._seen = array("i"), array("i")
        self._log: dict[str, float] = {}

    def begin(self, starts: Starts) -> None:
        """Episodes begin: counts start anew, and the first message is counted.

        Raises:
            ValueError: If there are no messages, or not one for each environment named.
            IndexError: If there is no such environment.
        """
        places = np.asarray(starts.environments).tolist()
        if starts.messages is None or len(starts.messages) != len(places):
            came = "no messages" if starts.messages is None else f"{len(starts.messages)} messages"
            raise ValueError(f"starts has {came}, expected {len(places)}")
        ids = self.table.lookup(starts.messages)
        self._counts.begin(places)
        for environment, message in zip(places, ids, strict=True):
            self._counts.see(environment, message)
        self._ended.difference_update(places)

    def observe(self, arrivals: Arrivals) -> None:
        """Keep id and count of each environment's message.

        Raises:
            ValueError: If there are no messages, or not one for each environment.
            RuntimeError: If an episode ended and the next one was not begun.
        """
        if self._ended:
            raise RuntimeError(f"environment {min(self._ended)} has no running episode; call begin first")
        if arrivals.messages is None:
            raise ValueError("arrivals has no messages, expected them")
        valid = arrivals.valid.tolist()
        ids = self.table.lookup(arrivals.messages)
        counts = self._counts.visit_list(ids, valid)
        self._ids.fromlist(ids)
        self._seen.fromlist(counts)
        self.step += len(ids)
        dones = arrivals.dones.tolist()
        if True in dones:
            self._ended.update(place for place, done in enumerate(dones) if done)

    def rewards(self) -> Float[np.ndarray, "steps n"]:
        """Rewards of the steps since the last update, with every label that has arrived by now."""
        self._collect()
        ids, counts = self._kept()
        values_of_ids = np.zeros(len(self.table))
        distinct = self._distinct(ids)
        texts = [self.table.texts[id_] for id_ in distinct]
        values = np.asarray(self.model.rewards(texts) if texts else [], dtype=np.float64)
        if values.shape != distinct.shape:
            raise ValueError(f"model.rewards has shape {values.shape}, expected {distinct.shape}")
        if not np.isfinite(values).all():
            place = int(np.flatnonzero(~np.isfinite(values))[0])
            raise ValueError(f"model.rewards is {values[place]} for {texts[place]!r}, expected a finite number")
        values_of_ids[distinct] = values
        return discounted_rewards(values_of_ids, ids, counts, self.exponent)

    def update(self) -> dict[str, float]:
        """Ask for labels of these steps' messages, learn from those that came, forget the steps."""
        ids, counts = self._kept()
        texts = self.table.texts
        if self.annotations is not None and hasattr(self.model, "waiting"):
            self.model.waiting = self.annotations.waiting  # a model that asks only while few wait
        requests = self.model.requests([texts[id_] for id_ in ids[counts > 0].tolist()])
        if self.annotations is not None:
            self.annotations.submit(requests)
        self._collect()
        log = {**self._log, **self.model.update()}
        log |= {"messages": float(len(self.table)), "messages_refused": float(self.table.refused)}
        if self.annotations is not None:
            log |= self.annotations.statistics() | {"waiting": float(self.annotations.waiting)}
        self._ids, self._seen, self._log = array("i"), array("i"), {}
        return log

    def state_dict(self) -> dict[str, Any]:
        """Everything, the steps not yet learned from included."""
        return {
            "model": self.model.state_dict(),
            "annotations": None if self.annotations is None else self.annotations.state_dict(),
            "table": self.table.state_dict(),
            "counts": self._counts.state_dict(),
            "step": self.step,
            "ended": sorted(self._ended),
            "kept_ids": self._ids.tolist(),
            "kept_counts": self._seen.tolist(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there.

        Raises:
            ValueError: If the state is of another number of environments, or has annotations where this has none.
        """
        if (state["annotations"] is None) != (self.annotations is None):
            raise ValueError("state and this reward must both have annotations, or neither")
        self._counts.load_state_dict(state["counts"])
        self.table.load_state_dict(state["table"])
        self.model.load_state_dict(state["model"])
        if self.annotations is not None:
            self.annotations.load_state_dict(state["annotations"])
        self.step, self._ended = int(state["step"]), set(state["ended"])
        self._ids, self._seen = array("i", state["kept_ids"]), array("i", state["kept_counts"])

    def close(self) -> None:
        """Let go of the annotations."""
        if self.annotations is not None:
            self.annotations.close()

    def _collect(self) -> None:
        if self.annotations is not None and (answers := self.annotations.collect(self.step)):
            self._log |= self.model.receive(answers)

    def _distinct(self, ids: Int[np.ndarray, "steps n"]) -> Int[np.ndarray, " distinct"]:
        """Ids that occur, in order, without the empty message's, which no model is asked about."""
        occurs = np.zeros(len(self.table), dtype=bool)
        occurs[ids] = True
        occurs[EMPTY] = False
        return np.flatnonzero(occurs)

    def _kept(self) -> tuple[np.ndarray, np.ndarray]:
        shape = (-1, self.environments)
        return tuple(np.array(kept, dtype=np.int64).reshape(shape) for kept in (self._ids, self._seen))
