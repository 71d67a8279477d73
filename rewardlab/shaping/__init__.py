"""Guidance that keeps the goal: potentials and advice that change no optimum, and blends that learn whom to trust.

Which function for what:
    shaping_reward, shape_episode, telescoped: potential-based shaping of steps and episodes (the wrappers are in
        `rewardlab.adapters`). TablePotential, DistancePotential, LearnedPotential, optimal_value_potential: potentials.
    look_ahead_advice, look_back_advice, advised_policy: potentials that depend on the action too, and how to act on
        them. advice_fixed_point, explicit_action_values, explicit_weight: any reward as advice, and what it comes to.
    reward_hypergradient, bilevel_gradient, scalar_blend, per_state_blend, feature_blend, optimise_blend: how far to
        trust advice, exactly, in a world that can be solved.
    implicit_hypergradient, unrolled_hypergradient, policy_gradient, hessian_vector_product: the same for agents that
        are not at their optimum, by every kind of curvature.
    q_learning, advised_sarsa, tabular_barfi: tabular learners, many runs at once.
    rewardlab.shaping.sampled: BARFI and its relatives with torch policies in any gymnasium environment.
"""

from rewardlab.shaping.advice import (
    advised_action_values,
    advised_policy,
    look_ahead_advice,
    look_back_advice,
    reevaluation_error,
)
from rewardlab.shaping.arbitrary_advice import (
    AdviceFixedPoint,
    advice_fixed_point,
    explicit_action_values,
    explicit_weight,
)
from rewardlab.shaping.bilevel.blend_optimiser import BlendPath, BlendResult, optimise_blend
from rewardlab.shaping.bilevel.blends import RewardBlend, feature_blend, per_state_blend, scalar_blend
from rewardlab.shaping.bilevel.hypergradient import (
    BilevelGradient,
    InnerSolution,
    bilevel_gradient,
    fisher_hypergradient,
    forward_hypergradient,
    reward_hypergradient,
    solve_inner,
)
from rewardlab.shaping.bilevel.implicit_gradient import (
    ImplicitGradient,
    SurrogateCurvatureWarning,
    implicit_hypergradient,
)
from rewardlab.shaping.bilevel.inner_loop import gradient_ascent, stationary_logits
from rewardlab.shaping.bilevel.policy_parameters import (
    discount_derivative,
    hessian,
    hessian_vector_product,
    mixed_derivative,
    policy_gradient,
    regularised_return,
)
from rewardlab.shaping.bilevel.unrolled import UnrolledGradient, forward_unrolled_hypergradient, unrolled_hypergradient
from rewardlab.shaping.potentials import (
    DistancePotential,
    LearnedPotential,
    Potential,
    TablePotential,
    each_observation,
    optimal_value_potential,
)
from rewardlab.shaping.rule import learner_bootstraps, shape_episode, shaping_reward, telescoped
from rewardlab.shaping.tabular.advised_sarsa import AdvisedLearner, SarsaRuns, advised_sarsa
from rewardlab.shaping.tabular.barfi import Arm, BlendRuns, tabular_barfi
from rewardlab.shaping.tabular.q_learning import LearningRuns, first_within, q_learning, q_values_from

__all__ = [
    "AdviceFixedPoint",
    "AdvisedLearner",
    "Arm",
    "BilevelGradient",
    "BlendPath",
    "BlendResult",
    "BlendRuns",
    "DistancePotential",
    "ImplicitGradient",
    "InnerSolution",
    "LearnedPotential",
    "LearningRuns",
    "Potential",
    "RewardBlend",
    "SarsaRuns",
    "SurrogateCurvatureWarning",
    "TablePotential",
    "UnrolledGradient",
    "advice_fixed_point",
    "advised_action_values",
    "advised_policy",
    "advised_sarsa",
    "bilevel_gradient",
    "discount_derivative",
    "each_observation",
    "explicit_action_values",
    "explicit_weight",
    "feature_blend",
    "first_within",
    "fisher_hypergradient",
    "forward_hypergradient",
    "forward_unrolled_hypergradient",
    "gradient_ascent",
    "hessian",
    "hessian_vector_product",
    "implicit_hypergradient",
    "learner_bootstraps",
    "look_ahead_advice",
    "look_back_advice",
    "mixed_derivative",
    "optimal_value_potential",
    "optimise_blend",
    "per_state_blend",
    "policy_gradient",
    "q_learning",
    "q_values_from",
    "reevaluation_error",
    "regularised_return",
    "reward_hypergradient",
    "scalar_blend",
    "shape_episode",
    "shaping_reward",
    "solve_inner",
    "stationary_logits",
    "tabular_barfi",
    "telescoped",
    "unrolled_hypergradient",
]
