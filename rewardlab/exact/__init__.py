"""Worlds that can be solved exactly: the ground truth against which every other room is tested."""

from rewardlab.exact.evaluation import (
    action_values,
    advantages,
    occupancy,
    policy_return,
    state_values,
    uniform_policy,
)
from rewardlab.exact.gridworld import Gridworld, gridworld
from rewardlab.exact.mdp import FiniteMDP
from rewardlab.exact.planning import OptimalPolicy, SoftOptimalPolicy, optimal_policy, soft_optimal_policy
from rewardlab.exact.polytope import RegretConstants, chebyshev_radius, flow_matrix, project_reward, regret_constants
from rewardlab.exact.random_mdp import interpolate_rewards, random_reward, random_transition
from rewardlab.exact.ranked_responses import best_of_n, best_of_n_kl, best_of_n_kl_bound, win_rate
from rewardlab.exact.regret import (
    WorstCaseRegret,
    greedy_regret,
    return_range,
    symmetric_greedy_regret,
    worst_case_regret,
)
from rewardlab.exact.response_sets import KLMatch, condition_on_goodness, kl_divergence, match_kl, tilt
from rewardlab.exact.toy_text import ToyTextWorld, from_gymnasium
from rewardlab.exact.transformations import potential_shaping, redistribution

__all__ = [
    "FiniteMDP",
    "Gridworld",
    "KLMatch",
    "OptimalPolicy",
    "RegretConstants",
    "SoftOptimalPolicy",
    "ToyTextWorld",
    "WorstCaseRegret",
    "action_values",
    "advantages",
    "best_of_n",
    "best_of_n_kl",
    "best_of_n_kl_bound",
    "chebyshev_radius",
    "condition_on_goodness",
    "flow_matrix",
    "from_gymnasium",
    "greedy_regret",
    "gridworld",
    "interpolate_rewards",
    "kl_divergence",
    "match_kl",
    "occupancy",
    "optimal_policy",
    "policy_return",
    "potential_shaping",
    "project_reward",
    "random_reward",
    "random_transition",
    "redistribution",
    "regret_constants",
    "return_range",
    "soft_optimal_policy",
    "state_values",
    "symmetric_greedy_regret",
    "tilt",
    "uniform_policy",
    "win_rate",
    "worst_case_regret",
]
