"""How do I reshape reward values and combine several into one, safely?

Functions on arrays, NumPy or torch: `log_sigmoid` and its kin, references, combinations, ensembles, group advantages.
Objects that compose them: stages in a `chain`, chains in a `Pipeline`.
"""

from rewardlab.transforms.advantage_kinds import (
    BatchStandardised,
    LeaveOneOut,
    MeanCentred,
    NormaliseThenSum,
    Standardised,
)
from rewardlab.transforms.advantages import (
    batch_standardised,
    leave_one_out,
    mean_centred,
    normalise_then_sum,
    standardised,
    token_advantages,
)
from rewardlab.transforms.chains import Chain, chain
from rewardlab.transforms.combination import (
    conjunction,
    median,
    minimum,
    product,
    soft_minimum,
    weighted_mean,
    weighted_sum,
)
from rewardlab.transforms.combiners import (
    Conjunction,
    Median,
    Minimum,
    Product,
    SoftMinimum,
    WeightedMean,
    WeightedSum,
)
from rewardlab.transforms.conflicts import PipelineWarning, conflicts
from rewardlab.transforms.dynamic_scaling import all_pairs_accuracy, dpo_loss, dynamic_beta, margin_accuracy
from rewardlab.transforms.ensemble import centre_members, mean_minus_std, uncertainty_weighted, worst_case
from rewardlab.transforms.groups import Groups
from rewardlab.transforms.hybrid import group_length_penalty, hybrid_reward
from rewardlab.transforms.normalise import min_max, quantile_reward, rank_reward, z_score
from rewardlab.transforms.outliers import clamp_outliers, drop_outliers, robust_clip
from rewardlab.transforms.pipeline import Pipeline, PipelineResult
from rewardlab.transforms.reference import gaussian_quantile_reference, mean_reference, quantile_reference
from rewardlab.transforms.running import RunningStatistics
from rewardlab.transforms.saturating import (
    clip_at_reference,
    concave_utility,
    log_sigmoid,
    preference_as_reward,
    sigmoid,
)
from rewardlab.transforms.stages import (
    Centre,
    ClipAbove,
    ConcaveUtility,
    Context,
    Fixed,
    Given,
    GroupMean,
    GroupQuantile,
    LogSigmoid,
    MinMax,
    Rank,
    RunningStandardise,
    Scale,
    Sigmoid,
    Stage,
    ZScore,
)

__all__ = [
    "BatchStandardised",
    "Centre",
    "Chain",
    "ClipAbove",
    "ConcaveUtility",
    "Conjunction",
    "Context",
    "Fixed",
    "Given",
    "GroupMean",
    "GroupQuantile",
    "Groups",
    "LeaveOneOut",
    "LogSigmoid",
    "MeanCentred",
    "Median",
    "MinMax",
    "Minimum",
    "NormaliseThenSum",
    "Pipeline",
    "PipelineResult",
    "PipelineWarning",
    "Product",
    "Rank",
    "RunningStandardise",
    "RunningStatistics",
    "Scale",
    "Sigmoid",
    "SoftMinimum",
    "Stage",
    "Standardised",
    "WeightedMean",
    "WeightedSum",
    "ZScore",
    "all_pairs_accuracy",
    "batch_standardised",
    "centre_members",
    "chain",
    "clamp_outliers",
    "clip_at_reference",
    "concave_utility",
    "conflicts",
    "conjunction",
    "dpo_loss",
    "drop_outliers",
    "dynamic_beta",
    "gaussian_quantile_reference",
    "group_length_penalty",
    "hybrid_reward",
    "leave_one_out",
    "log_sigmoid",
    "margin_accuracy",
    "mean_centred",
    "mean_minus_std",
    "mean_reference",
    "median",
    "min_max",
    "minimum",
    "normalise_then_sum",
    "preference_as_reward",
    "product",
    "quantile_reference",
    "quantile_reward",
    "rank_reward",
    "robust_clip",
    "sigmoid",
    "soft_minimum",
    "standardised",
    "token_advantages",
    "uncertainty_weighted",
    "weighted_mean",
    "weighted_sum",
    "worst_case",
    "z_score",
]
