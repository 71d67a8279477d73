"""Papers on the question: how do I guide an agent without changing its goal?"""

from rewardlab.catalogue.paper import Paper

__all__ = ["PAPERS"]

QUESTION = "How do I guide an agent without changing its goal, and how far do I trust the guidance?"
TOUR = "shaping_without_side_effects"

PAPERS: tuple[Paper, ...] = (
    Paper(
        title="Behavior Alignment via Reward Function Optimization",
        year=2023,
        arxiv="2310.19007",
        question=QUESTION,
        method="BARFI: learn how far to trust a heuristic by what the agent trained on it earns; here also exactly",
        functions=(
            "rewardlab.shaping.reward_hypergradient",
            "rewardlab.shaping.bilevel_gradient",
            "rewardlab.shaping.forward_hypergradient",
            "rewardlab.shaping.fisher_hypergradient",
            "rewardlab.shaping.scalar_blend",
            "rewardlab.shaping.per_state_blend",
            "rewardlab.shaping.feature_blend",
            "rewardlab.shaping.optimise_blend",
            "rewardlab.shaping.implicit_hypergradient",
            "rewardlab.shaping.hessian_vector_product",
            "rewardlab.shaping.tabular_barfi",
            "rewardlab.shaping.sampled.barfi.Barfi",
            "rewardlab.shaping.sampled.published.published_barfi",
            "rewardlab.shaping.sampled.curvature.solve_curvature",
            "rewardlab.shaping.sampled.curvature_products.curvature_product",
            "rewardlab.shaping.sampled.reinforce.Reinforce",
            "rewardlab.adapters.auxiliary_rewards.AuxiliaryRewards",
        ),
        figures=(
            "bilevel_grid",
            "sampled_barfi",
            "hypergradient_curvature",
            "neumann_is_first_order",
            "official_settings",
        ),
        notebook=TOUR,
    ),
    Paper(
        title="Useful Policy Invariant Shaping from Arbitrary Advice",
        year=2020,
        arxiv="2011.01297",
        question=QUESTION,
        method="arbitrary advice as a learned potential (DPBA), and as a fading bias on actions (PIES)",
        functions=(
            "rewardlab.shaping.advice_fixed_point",
            "rewardlab.shaping.explicit_action_values",
            "rewardlab.shaping.explicit_weight",
            "rewardlab.shaping.advised_sarsa",
        ),
        figures=("arbitrary_advice",),
        notebook=TOUR,
    ),
    Paper(
        title="Principled Methods for Advising Reinforcement Learning Agents",
        year=2003,
        arxiv=None,
        question=QUESTION,
        method="look-ahead and look-back advice: potentials that depend on the action, and how to act on them",
        functions=(
            "rewardlab.shaping.look_ahead_advice",
            "rewardlab.shaping.look_back_advice",
            "rewardlab.shaping.advised_policy",
            "rewardlab.adapters.advice_gymnasium.LookBackAdvice",
        ),
        notebook=TOUR,
    ),
    Paper(
        title="Potential-Based Shaping and Q-Value Initialization are Equivalent",
        year=2003,
        arxiv=None,
        question=QUESTION,
        method="shaping with a kept potential is Q-learning begun at that potential",
        functions=("rewardlab.shaping.q_learning", "rewardlab.shaping.q_values_from"),
        figures=("shaping_speed",),
    ),
    Paper(
        title="Dynamic Potential-Based Reward Shaping",
        year=2012,
        arxiv=None,
        question=QUESTION,
        method="potentials that change while the agent learns, kept from the arrival in a state",
        functions=(
            "rewardlab.shaping.LearnedPotential",
            "rewardlab.shaping.shape_episode",
            "rewardlab.shaping.reevaluation_error",
        ),
    ),
    Paper(
        title="On Learning Intrinsic Rewards for Policy Gradient Methods",
        year=2018,
        arxiv="1804.06459",
        question=QUESTION,
        method="LIRPG: the primary return after one update, judged by importance weights on the episodes that made it",
        functions=(
            "rewardlab.shaping.sampled.OneStep",
            "rewardlab.shaping.sampled.one_step.importance_weighted_return",
            "rewardlab.shaping.sampled.one_step.inner_update",
        ),
        figures=("one_step_relatives",),
    ),
    Paper(
        title="Learning to Utilize Shaping Rewards: A New Approach of Reward Shaping",
        year=2020,
        arxiv="2011.02669",
        question=QUESTION,
        method="BiPaRS: weights of a shaping reward by explicit mapping, one-step or carried meta-gradients",
        functions=(
            "rewardlab.shaping.sampled.OneStep",
            "rewardlab.shaping.sampled.ToldWeights",
            "rewardlab.shaping.unrolled_hypergradient",
            "rewardlab.shaping.forward_unrolled_hypergradient",
            "rewardlab.shaping.sampled.one_step.explicit_mapping_return",
            "rewardlab.shaping.sampled.one_step.meta_gradient_return",
            "rewardlab.shaping.sampled.one_step.carried_sensitivity",
        ),
        figures=("hypergradient_curvature", "one_step_relatives"),
    ),
    Paper(
        title="Optimizing Millions of Hyperparameters by Implicit Differentiation",
        year=2019,
        arxiv="1911.02590",
        question=QUESTION,
        method="Neumann series for the inverse Hessian of an inner problem",
        functions=("rewardlab.shaping.implicit_hypergradient", "rewardlab.shaping.sampled.curvature.solve_curvature"),
        figures=("hypergradient_curvature", "neumann_is_first_order"),
    ),
)
