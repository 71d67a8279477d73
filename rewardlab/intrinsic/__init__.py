"""What should an agent be paid for when the game says nothing?

Every intrinsic reward here is an `IntrinsicReward`: it watches steps as they happen and is evaluated when the policy
learns. `rewardlab.adapters.intrinsic_stable_baselines3` trains PPO, A2C or RecurrentPPO on any of them.

From feedback on what the game says (ONI, Motif, ELLM):
    OnlineFeedbackReward: a reward model of messages, annotations that arrive late, the count discount.
    RetrievalReward, ClassificationReward, RankingReward, CosineReward: reward models. fit_motif: one made beforehand.
    OracleAnnotator, NoisyAnnotator, EncoderProbeAnnotator, LanguageModelAnnotator, PromptAnnotator, EndpointAnnotator:
        who labels; a process is told by name, such as "rewardlab.intrinsic:OracleAnnotator".
    DelayedAnnotator, AnnotationProcess: when labels arrive; the one repeatable, the other beside training.
    count_discount, discounted_rewards, step_precision, preference_probability: the parts on plain arrays.
From experience alone:
    LifelongCounts, EpisodicFirstVisit, ProductCounts: counts. SimHash, pseudo_count: where states do not repeat.
    RandomNetworkDistillation, IntrinsicCuriosity: errors of prediction.
Bonuses like these change what is optimal, unlike the potentials of `rewardlab.shaping`.

What needs torch (`pip install 'rewardlab[torch]'`) is loaded when first used.
"""

from importlib import import_module
from typing import Any

_PLACES = {
    "annotation.annotators": ("NoisyAnnotator", "OracleAnnotator"),
    "annotation.delayed": ("DelayedAnnotator",),
    "annotation.endpoint": ("EndpointAnnotator",),
    "annotation.language_model": ("EncoderProbeAnnotator", "LanguageModelAnnotator", "PromptAnnotator"),
    "annotation.order": ("AnnotationQueue",),
    "annotation.process": ("AnnotationProcess",),
    "bradley_terry": (
        "bradley_terry_gradient",
        "bradley_terry_loss",
        "preference_probability",
    ),
    "byte_network": ("ByteNetwork",),
    "classification": ("ClassificationReward",),
    "cosine": ("CosineReward", "packaged_encoder"),
    "curiosity": ("IntrinsicCuriosity",),
    "forward_filter": ("ForwardFilter",),
    "frozen_reward": ("FrozenReward",),
    "interface": (
        "AnnotationSource",
        "Annotator",
        "Arrivals",
        "IntrinsicReward",
        "MessageRewardModel",
        "Starts",
    ),
    "label_noise": ("step_precision",),
    "message_counts": ("MessageCounts", "count_discount", "episode_limit"),
    "message_features": ("hashed_features",),
    "message_model_files": ("load_message_reward", "save_message_reward"),
    "message_text": ("MessageTable", "decode_message", "simplified"),
    "motif": ("fit_motif",),
    "online_feedback": ("OnlineFeedbackReward", "discounted_rewards"),
    "pair_buffer": ("PairBuffer",),
    "pseudo_counts": ("pseudo_count", "pseudo_count_bonus"),
    "random_network": ("RandomNetworkDistillation",),
    "ranking": ("RankingReward",),
    "retrieval": ("RetrievalReward",),
    "running_moments": ("RunningMoments",),
    "state_hashing": ("SimHash",),
    "visitation": ("EpisodicFirstVisit", "FirstVisitGate", "LifelongCounts", "ProductCounts", "count_bonus"),
}
_PLACE_OF = {name: place for place, names in _PLACES.items() for name in names}
__all__ = sorted(_PLACE_OF)


def __getattr__(name: str) -> Any:
    """Load what is asked for on first use (PEP 562): counts need no torch, and an annotator's process none either."""
    if name in _PLACE_OF:
        return getattr(import_module(f"rewardlab.intrinsic.{_PLACE_OF[name]}"), name)
    raise AttributeError(f"module 'rewardlab.intrinsic' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
