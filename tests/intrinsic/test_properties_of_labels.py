"""The published numbers, and what becomes of two labels of one message on their way through queue and model."""

import inspect

import numpy as np
import pytest
import torch

from rewardlab.intrinsic.annotation.delayed import DelayedAnnotator
from rewardlab.intrinsic.annotation.order import AnnotationQueue
from rewardlab.intrinsic.annotation.process import AnnotationProcess
from rewardlab.intrinsic.classification import ClassificationReward
from rewardlab.intrinsic.curiosity import CuriosityLosses, IntrinsicCuriosity
from rewardlab.intrinsic.forward_filter import ForwardFilter
from rewardlab.intrinsic.interface import Arrivals, Starts
from rewardlab.intrinsic.message_learner import LEARNING_RATES
from rewardlab.intrinsic.motif import fit_motif
from rewardlab.intrinsic.online_feedback import OnlineFeedbackReward
from rewardlab.intrinsic.pseudo_counts import pseudo_count_bonus
from rewardlab.intrinsic.random_network import RandomNetworkDistillation
from rewardlab.intrinsic.ranking import RankingReward
from rewardlab.intrinsic.retrieval import RetrievalReward
from tests.intrinsic.message_rows import rows

LEARNING = {"batch_size": 256, "steps": 32, "many": 25_000}
PUBLISHED = {
    OnlineFeedbackReward: {"exponent": 3.0, "simplify": False},
    RetrievalReward: {"relabel": "last"},
    ClassificationReward: {"threshold": 0.5, **LEARNING},
    RankingReward: {"threshold": -0.5, "gradient_norm": 10.0, "every": 10, "pairs": 10, "pairs_when_below": 200}
    | LEARNING,
    fit_motif: {"quantile": 0.5, "epochs": 10, "batch_size": 1024, "network": "bytes"},
    AnnotationQueue: {"order": "lifo", "capacity": 10_000_000},
    DelayedAnnotator: {"order": "lifo", "capacity": 10_000_000, "tick_steps": 1000},
    AnnotationProcess: {"order": "lifo", "capacity": 10_000_000, "batch": 100},
    RandomNetworkDistillation: {"learning_rate": 1e-4, "discount": 0.99, "features": 512, "update_fraction": 1.0},
    ForwardFilter: {"discount": 0.99},
    IntrinsicCuriosity: {"eta": 0.01},
    CuriosityLosses.combined: {"forward_weight": 0.2, "scale": 10.0},
    pseudo_count_bonus: {"bonus": 0.05, "offset": 0.01},
}


@pytest.mark.parametrize("made", PUBLISHED, ids=lambda made: made.__qualname__)
def test_published_numbers_are_the_defaults(made):
    given = {name: one.default for name, one in inspect.signature(made).parameters.items()}
    assert {name: given.get(name) for name in PUBLISHED[made]} == PUBLISHED[made]
    assert LEARNING_RATES["bytes"] == 1e-4


def test_pairs_wait_up_to_the_newest_ten_thousand():
    queue = AnnotationQueue("lifo", 10_000, duplicates=True)
    pairs = [(str(number), "b") for number in range(10_300)]
    assert sum(queue.push(pairs[start : start + 100]) for start in range(0, 10_300, 100)) == 300
    assert queue.pop(10_300) == pairs[:299:-1]


class ChangesItsMind:
    """Calls a message helpful when it is asked for the first time, and not from then on."""

    def __init__(self):
        self.asked = []

    def annotate(self, messages, goal, rng):
        labels = [int(message not in [*self.asked, *messages[:place]]) for place, message in enumerate(messages)]
        self.asked += messages
        return labels

    def compare(self, pairs, goal, rng):
        raise NotImplementedError


@pytest.mark.parametrize("duplicates", [True, False])
def test_a_message_labelled_twice_pays_the_last_label_and_teaches_the_first(duplicates):
    """As released, a message that waits is queued again by the next rollout; waiting once, it is labelled once."""
    models = RetrievalReward(), ClassificationReward(generator=torch.Generator().manual_seed(0), steps=1)
    for model in models:
        annotator = ChangesItsMind()
        source = DelayedAnnotator(annotator, labels_per_tick=4, tick_steps=4, duplicates=duplicates)
        reward = OnlineFeedbackReward(model, source, environments=1)
        reward.begin(Starts(environments=np.array([0]), messages=rows(b"")))
        for _ in range(6):
            arrived = rows(b"It is dark.")
            reward.observe(Arrivals(dones=np.zeros(1, bool), valid=np.ones(1, bool), messages=arrived))
            reward.rewards()
            reward.update()
        assert annotator.asked == ["It is dark."] * (3 if duplicates else 1)
    retrieval, classification = models
    assert retrieval.labels == {"It is dark.": 0 if duplicates else 1}
    assert classification.state_dict()["labels"] == [1]
