"""Papers on the question: how different are two rewards?"""

from rewardlab.catalogue.paper import Paper

__all__ = ["PAPERS"]

QUESTION = "How different are two rewards?"
TOUR = "how_different_are_two_rewards"

PAPERS: tuple[Paper, ...] = (
    Paper(
        title="STARC: A General Framework For Quantifying Differences Between Reward Functions",
        year=2023,
        arxiv="2309.15257",
        question=QUESTION,
        method="canonicalise, normalise, compare: a distance that bounds worst-case regret from both sides",
        functions=(
            "rewardlab.distance.starc",
            "rewardlab.distance.compare_all",
            "rewardlab.distance.minimal_potential",
            "rewardlab.distance.learned_value.starc_from_samples",
            "rewardlab.distance.explain_difference",
            "rewardlab.exact.greedy_regret",
            "rewardlab.exact.worst_case_regret",
            "rewardlab.exact.chebyshev_radius",
            "rewardlab.exact.regret_constants",
        ),
        figures=(
            "regret_correlation",
            "redistribution_dial",
            "worst_case_bounds",
            "toy_text",
            "reacher",
            "discount_sweep",
            "cost_growth",
            "lm_proxy_distance",
        ),
        notebook=TOUR,
    ),
    Paper(
        title="Quantifying Differences in Reward Functions",
        year=2020,
        arxiv="2006.13900",
        question=QUESTION,
        method="EPIC: shape by a policy-free value of random transitions, then the Pearson distance",
        functions=("rewardlab.distance.epic", "rewardlab.distance.sample_epic"),
        figures=(
            "epic_gridworld",
            "regret_correlation",
            "redistribution_dial",
            "transition_coverage",
            "lm_proxy_distance",
        ),
        notebook=TOUR,
    ),
    Paper(
        title="Dynamics-Aware Comparison of Learned Reward Functions",
        year=2022,
        arxiv="2201.10081",
        question=QUESTION,
        method="DARD: EPIC's idea, evaluated only on transitions that the dynamics can make",
        functions=("rewardlab.distance.dard", "rewardlab.distance.sample_dard"),
        figures=("regret_correlation", "redistribution_dial", "transition_coverage", "out_of_distribution"),
        notebook=TOUR,
    ),
    Paper(
        title="Reward Distance Comparisons Under Transition Sparsity",
        year=2025,
        arxiv="2504.11508",
        question=QUESTION,
        method="SRRD: a canonical form that keeps its invariance when few transitions are sampled",
        functions=("rewardlab.distance.srrd", "rewardlab.distance.sample_srrd"),
        figures=("transition_coverage", "out_of_distribution"),
    ),
    Paper(
        title="Policy Invariance Under Reward Transformations: Theory and Application to Reward Shaping",
        year=1999,
        arxiv=None,
        question=QUESTION,
        method="potential shaping leaves every optimal policy as it was, in every world",
        functions=(
            "rewardlab.exact.potential_shaping",
            "rewardlab.distance.explain_difference",
            "rewardlab.distance.same_optimal_policies",
            "rewardlab.shaping.shaping_reward",
            "rewardlab.shaping.shape_episode",
            "rewardlab.shaping.telescoped",
            "rewardlab.shaping.optimal_value_potential",
            "rewardlab.adapters.gymnasium.PotentialShaping",
            "rewardlab.adapters.gymnasium.VectorPotentialShaping",
            "rewardlab.adapters.stable_baselines3.VecPotentialShaping",
            "rewardlab.adapters.shaping_check.check_shaping",
        ),
        figures=("toy_text", "shaping_speed", "shaping_truncation"),
        notebook=TOUR,
    ),
    Paper(
        title="Invariance in Policy Optimisation and Partial Identifiability in Reward Learning",
        year=2022,
        arxiv="2203.07475",
        question=QUESTION,
        method="the transformations that each source of data cannot see: shaping, redistribution, scale, masks",
        functions=(
            "rewardlab.exact.redistribution",
            "rewardlab.distance.same_policy_order",
            "rewardlab.distance.same_optimal_policies",
        ),
        figures=("toy_text",),
        notebook=TOUR,
    ),
    Paper(
        title="Defining and Characterizing Reward Hacking",
        year=2022,
        arxiv="2209.13085",
        question=QUESTION,
        method="over all policies, a proxy is safe from hacking only if it orders policies as the true reward does",
        functions=("rewardlab.distance.same_policy_order",),
    ),
)
