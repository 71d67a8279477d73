"""BARFI and its relatives on sampled episodes: torch policies, blends that learn, any gymnasium environment.

Which name for what:
    Barfi with BarfiSettings: behaviour alignment by reward optimisation; published_barfi: the agents of the paper, with
        published_policy and published_blend. Reinforce: its baselines, without a blend.
    OneStep with OneStepSettings: LIRPG and the three of BiPaRS, which look an update or a few ahead; ToldWeights.
    SoftmaxPolicy, GaussianPolicy on FourierFeatures, TileCoding, OneHot, RandomFeatures or RawFeatures.
    BlendNetwork: what is learned, from one number a heuristic to a function of the state. History: what is recorded.
    solve_curvature, curvature_product: the inverse Hessian of an implicit hyper-gradient, by every kind of curvature.
    importance_weighted_return, meta_gradient_return, carried_sensitivity, explicit_mapping_return: the hyper-gradients
        of OneStep, for loops of your own, on a Batch from an EpisodeBuffer.

It needs torch: `pip install 'rewardlab[torch]'`. The environments report their advice in `info["auxiliary"]`; see
`rewardlab.adapters.auxiliary_rewards`.
"""

try:
    import torch  # noqa: F401 - for the message alone
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ModuleNotFoundError(
        "rewardlab.shaping.sampled needs torch: pip install 'rewardlab[torch]'", name=error.name
    ) from error

from rewardlab.shaping.sampled.barfi import Barfi
from rewardlab.shaping.sampled.blend_network import BlendNetwork
from rewardlab.shaping.sampled.curvature import CurvatureSolution, NeumannWarning, solve_curvature
from rewardlab.shaping.sampled.curvature_products import curvature_product
from rewardlab.shaping.sampled.episodes import Batch, Episode, EpisodeBuffer
from rewardlab.shaping.sampled.features import FourierFeatures, OneHot, RandomFeatures, RawFeatures, TileCoding
from rewardlab.shaping.sampled.one_step import (
    carried_sensitivity,
    explicit_mapping_return,
    importance_weighted_return,
    meta_gradient_return,
)
from rewardlab.shaping.sampled.one_step_trainer import OneStep, OneStepSettings, ToldWeights
from rewardlab.shaping.sampled.policies import GaussianPolicy, Policy, SoftmaxPolicy
from rewardlab.shaping.sampled.published import published_barfi, published_blend, published_policy
from rewardlab.shaping.sampled.reinforce import Reinforce
from rewardlab.shaping.sampled.settings import BarfiSettings
from rewardlab.shaping.sampled.trainer import History

__all__ = [
    "Barfi",
    "BarfiSettings",
    "Batch",
    "BlendNetwork",
    "CurvatureSolution",
    "Episode",
    "EpisodeBuffer",
    "FourierFeatures",
    "GaussianPolicy",
    "History",
    "NeumannWarning",
    "OneHot",
    "OneStep",
    "OneStepSettings",
    "Policy",
    "RandomFeatures",
    "RawFeatures",
    "Reinforce",
    "SoftmaxPolicy",
    "TileCoding",
    "ToldWeights",
    "carried_sensitivity",
    "curvature_product",
    "explicit_mapping_return",
    "importance_weighted_return",
    "meta_gradient_return",
    "published_barfi",
    "published_blend",
    "published_policy",
    "solve_curvature",
]
