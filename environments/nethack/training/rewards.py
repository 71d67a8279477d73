"""The intrinsic reward that settings ask for, and who labels for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from environments.nethack.training.settings import AnnotationSettings, TrainingSettings
from rewardlab.intrinsic.annotation.delayed import DelayedAnnotator
from rewardlab.intrinsic.annotation.worker import Spec, build_annotator
from rewardlab.intrinsic.interface import AnnotationSource, IntrinsicReward, MessageRewardModel
from rewardlab.intrinsic.online_feedback import OnlineFeedbackReward

__all__ = ["intrinsic_reward"]

ANNOTATION = "rewardlab.intrinsic.annotation"
TICK = 1000  # steps of all games, in which so many labels are given


def intrinsic_reward(
    settings: TrainingSettings, folder: Path, *, features: int, actions: int
) -> tuple[IntrinsicReward | None, AnnotationSource | None]:
    """What is paid beside the task's reward, and where its labels come from; None where there is none.

    Args:
        settings: Of the run.
        folder: Of the run; annotation in a process of its own keeps its journal there.
        features: Numbers in an encoded observation.
        actions: How many actions there are.
    """
    kind, games = settings.intrinsic.kind, settings.policy.games
    if kind == "none":
        return None, None
    if kind in _OF_PLACES:
        return _OF_PLACES[kind](settings, features, actions), None
    annotations = _annotations(settings, folder) if settings.annotated else None
    chosen = settings.intrinsic
    reward = OnlineFeedbackReward(
        _OF_MESSAGES[kind](settings),
        annotations,
        environments=games,
        exponent=chosen.exponent,
        simplify=chosen.simplify,
    )
    return reward, annotations


def _counts(settings: TrainingSettings, features: int, actions: int) -> IntrinsicReward:
    from rewardlab.intrinsic.visitation import LifelongCounts

    return LifelongCounts(environments=settings.policy.games)


def _first_visit(settings: TrainingSettings, features: int, actions: int) -> IntrinsicReward:
    from rewardlab.intrinsic.visitation import EpisodicFirstVisit

    return EpisodicFirstVisit(environments=settings.policy.games)


def _product(settings: TrainingSettings, features: int, actions: int) -> IntrinsicReward:
    from rewardlab.intrinsic.visitation import ProductCounts

    return ProductCounts(environments=settings.policy.games)


def _rnd(settings: TrainingSettings, features: int, actions: int) -> IntrinsicReward:
    from rewardlab.intrinsic.random_network import RandomNetworkDistillation

    return RandomNetworkDistillation((features,), environments=settings.policy.games, seed=settings.seed)


def _icm(settings: TrainingSettings, features: int, actions: int) -> IntrinsicReward:
    from rewardlab.intrinsic.curiosity import IntrinsicCuriosity

    return IntrinsicCuriosity((features,), actions, environments=settings.policy.games, seed=settings.seed)


def _retrieval(settings: TrainingSettings) -> MessageRewardModel:
    from rewardlab.intrinsic.retrieval import RetrievalReward

    return RetrievalReward()


def _classification(settings: TrainingSettings) -> MessageRewardModel:
    from rewardlab.intrinsic.classification import ClassificationReward

    return ClassificationReward(**_learned(settings, 0.5))


def _ranking(settings: TrainingSettings) -> MessageRewardModel:
    from rewardlab.intrinsic.ranking import RankingReward

    chosen = settings.intrinsic
    duplicates, normalisation = chosen.pairs == "all", chosen.normalisation
    return RankingReward(**_learned(settings, -0.5), duplicates=duplicates, normalisation=normalisation)


def _learned(settings: TrainingSettings, threshold: float) -> dict[str, Any]:
    chosen = settings.intrinsic
    return {
        "network": chosen.network,
        "threshold": threshold if chosen.threshold is None else chosen.threshold,
        "generator": _generator(settings.seed),
    }


def _cosine(settings: TrainingSettings) -> MessageRewardModel:
    from rewardlab.intrinsic.cosine import CosineReward, packaged_encoder

    threshold = settings.intrinsic.threshold
    encoder = packaged_encoder("words")
    return CosineReward(encoder, settings.intrinsic.goal, threshold=0.5 if threshold is None else threshold)


def _motif(settings: TrainingSettings) -> MessageRewardModel:
    from rewardlab.intrinsic.message_model_files import load_message_reward

    return load_message_reward(str(settings.intrinsic.model_file))


_OF_PLACES = {"counts": _counts, "first_visit": _first_visit, "product": _product, "rnd": _rnd, "icm": _icm}
_OF_MESSAGES: dict[str, Callable[[TrainingSettings], MessageRewardModel]] = {
    "retrieval": _retrieval,
    "classification": _classification,
    "ranking": _ranking,
    "cosine": _cosine,
    "motif": _motif,
}


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _annotations(settings: TrainingSettings, folder: Path) -> AnnotationSource:
    chosen, goal = settings.annotation, settings.intrinsic.goal
    queue: dict[str, Any] = {
        "order": chosen.order,
        "capacity": chosen.capacity,
        "duplicates": chosen.duplicates,
        "goal": goal,
        "seed": settings.seed,
    }
    spec = _annotator(chosen, settings.seed)
    if chosen.where == "process":
        from rewardlab.intrinsic.annotation.process import AnnotationProcess

        return AnnotationProcess(spec, journal=folder / "labels.jsonl", **queue)
    return DelayedAnnotator(
        build_annotator(spec),
        labels_per_tick=chosen.labels_per_tick,
        delay_ticks=chosen.delay,
        tick_steps=TICK,
        **queue,
    )


def _annotator(chosen: AnnotationSettings, seed: int) -> Spec:
    """What to build, here or in another process."""
    oracle = {"factory": f"{ANNOTATION}.annotators:OracleAnnotator"}
    if chosen.annotator == "oracle":
        return oracle
    if chosen.annotator == "noisy":
        arguments = {"base": oracle, "accuracy": chosen.accuracy, "mode": chosen.noise, "seed": seed}
        return {"factory": f"{ANNOTATION}.annotators:NoisyAnnotator", "arguments": arguments}
    if chosen.annotator == "endpoint":
        arguments = {"base_url": chosen.base_url, "model": chosen.model}
        return {"factory": f"{ANNOTATION}.endpoint:EndpointAnnotator", "arguments": arguments}
    return chosen.annotator
