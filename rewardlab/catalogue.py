"""Which paper is implemented where, which figures test it, and which notebook explains it."""

from dataclasses import dataclass

__all__ = ["PAPERS", "Paper"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """A paper and what this project makes of it.

    Args:
        title: Full title.
        year: Year of its first appearance.
        arxiv: arXiv id, or None where the paper is not there.
        question: The question its room answers.
        method: The method in a line.
        functions: Dotted names of the public functions that implement it.
        figures: Ids of the figures that test its claims.
        notebook: Name of the notebook that walks through it, without its suffix, or None.
    """

    title: str
    year: int
    arxiv: str | None
    question: str
    method: str
    functions: tuple[str, ...]
    figures: tuple[str, ...] = ()
    notebook: str | None = None


_HOW_DIFFERENT = "How different are two rewards?"
_TOUR = "how_different_are_two_rewards"
_COMBINE = "How do I reshape and combine rewards?"
_COMBINE_TOUR = "combining_rewards_that_disagree"
_SAFE = "Is this reward safe to optimise?"
_SCORE = "How good is a reward model?"

PAPERS: tuple[Paper, ...] = (
    Paper(
        title="STARC: A General Framework For Quantifying Differences Between Reward Functions",
        year=2023,
        arxiv="2309.15257",
        question=_HOW_DIFFERENT,
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
        ),
        notebook=_TOUR,
    ),
    Paper(
        title="Quantifying Differences in Reward Functions",
        year=2020,
        arxiv="2006.13900",
        question=_HOW_DIFFERENT,
        method="EPIC: shape by a policy-free value of random transitions, then the Pearson distance",
        functions=("rewardlab.distance.epic", "rewardlab.distance.sample_epic"),
        figures=("epic_gridworld", "regret_correlation", "redistribution_dial", "transition_coverage"),
        notebook=_TOUR,
    ),
    Paper(
        title="Dynamics-Aware Comparison of Learned Reward Functions",
        year=2022,
        arxiv="2201.10081",
        question=_HOW_DIFFERENT,
        method="DARD: EPIC's idea, evaluated only on transitions that the dynamics can make",
        functions=("rewardlab.distance.dard", "rewardlab.distance.sample_dard"),
        figures=("regret_correlation", "redistribution_dial", "transition_coverage", "out_of_distribution"),
        notebook=_TOUR,
    ),
    Paper(
        title="Reward Distance Comparisons Under Transition Sparsity",
        year=2025,
        arxiv="2504.11508",
        question=_HOW_DIFFERENT,
        method="SRRD: a canonical form that keeps its invariance when few transitions are sampled",
        functions=("rewardlab.distance.srrd", "rewardlab.distance.sample_srrd"),
        figures=("transition_coverage", "out_of_distribution"),
    ),
    Paper(
        title="Policy Invariance Under Reward Transformations: Theory and Application to Reward Shaping",
        year=1999,
        arxiv=None,
        question=_HOW_DIFFERENT,
        method="potential shaping leaves every optimal policy as it was, in every world",
        functions=(
            "rewardlab.exact.potential_shaping",
            "rewardlab.distance.explain_difference",
            "rewardlab.distance.same_optimal_policies",
        ),
        figures=("toy_text",),
        notebook=_TOUR,
    ),
    Paper(
        title="Invariance in Policy Optimisation and Partial Identifiability in Reward Learning",
        year=2022,
        arxiv="2203.07475",
        question=_HOW_DIFFERENT,
        method="the transformations that each source of data cannot see: shaping, redistribution, scale, masks",
        functions=(
            "rewardlab.exact.redistribution",
            "rewardlab.distance.same_policy_order",
            "rewardlab.distance.same_optimal_policies",
        ),
        figures=("toy_text",),
        notebook=_TOUR,
    ),
    Paper(
        title="Defining and Characterizing Reward Hacking",
        year=2022,
        arxiv="2209.13085",
        question=_HOW_DIFFERENT,
        method="over all policies, a proxy is safe from hacking only if it orders policies as the true reward does",
        functions=("rewardlab.distance.same_policy_order",),
    ),
    Paper(
        title="Transforming and Combining Rewards for Aligning Large Language Models",
        year=2024,
        arxiv="2402.00742",
        question=_COMBINE,
        method="log-sigmoid of the centred reward; a sum of them is the log-probability of being good in every respect",
        functions=(
            "rewardlab.transforms.log_sigmoid",
            "rewardlab.transforms.conjunction",
            "rewardlab.transforms.quantile_reference",
            "rewardlab.transforms.Pipeline",
            "rewardlab.exact.tilt",
            "rewardlab.exact.match_kl",
            "rewardlab.exact.condition_on_goodness",
        ),
        figures=("transform_underfitting", "transform_hacking", "transform_conjunction", "group_standardisation"),
        notebook=_COMBINE_TOUR,
    ),
    Paper(
        title="Reward Shaping to Mitigate Reward Hacking in RLHF",
        year=2025,
        arxiv="2502.18770",
        question=_COMBINE,
        method="preference as reward: the mean probability of beating several reference responses",
        functions=("rewardlab.transforms.preference_as_reward", "rewardlab.transforms.gaussian_quantile_reference"),
    ),
    Paper(
        title="DeepSeekMath: Pushing the Limits of Mathematical Reasoning in Open Language Models",
        year=2024,
        arxiv="2402.03300",
        question=_COMBINE,
        method="GRPO: rewards in standard deviations of their group of samples",
        functions=("rewardlab.transforms.standardised", "rewardlab.adapters.trl.with_pipeline"),
        figures=("group_standardisation", "reward_scale"),
        notebook=_COMBINE_TOUR,
    ),
    Paper(
        title="Understanding R1-Zero-Like Training: A Critical Perspective",
        year=2025,
        arxiv="2503.20783",
        question=_COMBINE,
        method="Dr. GRPO: take the group's mean off, and divide by nothing",
        functions=("rewardlab.transforms.mean_centred",),
        figures=("reward_scale",),
    ),
    Paper(
        title="Back to Basics: Revisiting REINFORCE Style Optimization for Learning from Human Feedback in LLMs",
        year=2024,
        arxiv="2402.14740",
        question=_COMBINE,
        method="RLOO: reward less the mean of the group's other samples",
        functions=("rewardlab.transforms.leave_one_out",),
    ),
    Paper(
        title="GDPO: Group reward-Decoupled Normalization Policy Optimization for Multi-reward RL Optimization",
        year=2026,
        arxiv="2601.05242",
        question=_COMBINE,
        method="standardise each reward in its group, then sum, then standardise over the batch",
        functions=("rewardlab.transforms.normalise_then_sum",),
        figures=("reward_scale",),
    ),
    Paper(
        title="Beyond Monolithic Rewards: A Hybrid and Multi-Aspect Reward Optimization for MLLM Alignment",
        year=2025,
        arxiv="2510.05283",
        question=_COMBINE,
        method="HARMO: a rule where the prompt is verifiable, a model elsewhere, a length term (partly reconstructed)",
        functions=(
            "rewardlab.transforms.hybrid_reward",
            "rewardlab.transforms.group_length_penalty",
            "rewardlab.transforms.mean_centred",
            "rewardlab.transforms.weighted_sum",
        ),
        figures=("hybrid_brevity",),
    ),
    Paper(
        title="MM-RLHF: The Next Step Forward in Multimodal LLM Alignment",
        year=2025,
        arxiv="2502.10391",
        question=_COMBINE,
        method="MM-DPO: a beta for each pair from an outside reward model's margin; ACC and ACC+",
        functions=(
            "rewardlab.transforms.dynamic_beta",
            "rewardlab.transforms.dpo_loss",
            "rewardlab.transforms.margin_accuracy",
            "rewardlab.transforms.all_pairs_accuracy",
        ),
        figures=("dynamic_beta",),
    ),
    Paper(
        title="Helping or Herding? Reward Model Ensembles Mitigate but do not Eliminate Reward Hacking",
        year=2023,
        arxiv="2312.09244",
        question=_SAFE,
        method="pretraining seeds make better ensembles than fine-tuning seeds; none removes what all get wrong",
        functions=(
            "rewardlab.transforms.centre_members",
            "rewardlab.transforms.median",
            "rewardlab.transforms.mean_minus_std",
            "rewardlab.audit.RewardModelError",
            "rewardlab.audit.draw_scores",
        ),
        figures=("ensemble_errors",),
    ),
    Paper(
        title="Reward Model Ensembles Help Mitigate Overoptimization",
        year=2023,
        arxiv="2310.02743",
        question=_SAFE,
        method="worst case (WCO) and variance-penalised mean (UWO) of five reward models; best-of-n estimator",
        functions=(
            "rewardlab.transforms.worst_case",
            "rewardlab.transforms.uncertainty_weighted",
            "rewardlab.audit.best_of_n_gold",
        ),
        figures=("ensemble_errors", "overoptimisation_laws"),
    ),
    Paper(
        title="Scaling Laws for Reward Model Overoptimization",
        year=2022,
        arxiv="2210.10760",
        question=_SAFE,
        method="gold against d = sqrt(KL): d (alpha - beta d) for best-of-n, d (alpha - beta log d) for RL",
        functions=(
            "rewardlab.audit.fit_law",
            "rewardlab.audit.OveroptimisationLaw",
            "rewardlab.audit.expected_gold",
            "rewardlab.exact.best_of_n",
            "rewardlab.exact.best_of_n_kl",
        ),
        figures=("overoptimisation_laws", "ensemble_errors"),
    ),
    Paper(
        title="Evaluating Robustness of Reward Models for Mathematical Reasoning",
        year=2024,
        arxiv="2410.01729",
        question=_SCORE,
        method="RewardMATH: one right solution against nine wrong ones from several models",
        functions=(
            "rewardlab.scoring.reward_math",
            "rewardlab.scoring.standing",
            "rewardlab.scoring.accuracy_at_k",
            "rewardlab.scoring.best_of_n_accuracy",
            "rewardlab.scoring.aggregate_steps",
            "rewardlab.scoring.scores_of_pairwise_judge",
            "rewardlab.scoring.read_solution_scores",
        ),
        figures=("rewardmath_goodhart",),
        notebook=_COMBINE_TOUR,
    ),
    Paper(
        title="RewardBench: Evaluating Reward Models for Language Modeling",
        year=2024,
        arxiv="2403.13787",
        question=_SCORE,
        method="chosen above rejected, in 23 subsets and four weighted sections",
        functions=(
            "rewardlab.scoring.reward_bench",
            "rewardlab.scoring.pair_accuracy",
            "rewardlab.scoring.judged",
            "rewardlab.scoring.read_reward_bench",
        ),
        figures=("rewardmath_goodhart",),
    ),
    Paper(
        title="RewardBench 2: Advancing Reward Model Evaluation",
        year=2025,
        arxiv="2506.01937",
        question=_SCORE,
        method="best of four in five domains, and margins between many right answers in Ties",
        functions=(
            "rewardlab.scoring.reward_bench_2",
            "rewardlab.scoring.ties_score",
            "rewardlab.scoring.share_of_the_top",
            "rewardlab.scoring.read_reward_bench_2",
        ),
    ),
    Paper(
        title="RM-Bench: Benchmarking Reward Models of Language Models with Subtlety and Style",
        year=2024,
        arxiv="2410.16184",
        question=_SCORE,
        method="accuracy for each pair of styles of the right and the wrong answer",
        functions=("rewardlab.scoring.rm_bench",),
    ),
    Paper(
        title="RMB: Comprehensively Benchmarking Reward Models in LLM Alignment",
        year=2024,
        arxiv="2410.09893",
        question=_SCORE,
        method="pairs and best-of-n lists, for helpfulness and harmlessness",
        functions=("rewardlab.scoring.rmb", "rewardlab.scoring.read_rmb_best_of_n"),
    ),
)
