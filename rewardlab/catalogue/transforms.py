"""Papers on the question: how do I reshape and combine rewards?"""

from rewardlab.catalogue.paper import Paper

__all__ = ["PAPERS"]

QUESTION = "How do I reshape and combine rewards?"
TOUR = "combining_rewards_that_disagree"

PAPERS: tuple[Paper, ...] = (
    Paper(
        title="Transforming and Combining Rewards for Aligning Large Language Models",
        year=2024,
        arxiv="2402.00742",
        question=QUESTION,
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
        figures=(
            "transform_underfitting",
            "transform_hacking",
            "transform_conjunction",
            "group_standardisation",
            "lm_transforms",
            "lm_three_signals",
        ),
        notebook=TOUR,
    ),
    Paper(
        title="Reward Shaping to Mitigate Reward Hacking in RLHF",
        year=2025,
        arxiv="2502.18770",
        question=QUESTION,
        method="preference as reward: the mean probability of beating several reference responses",
        functions=("rewardlab.transforms.preference_as_reward", "rewardlab.transforms.gaussian_quantile_reference"),
    ),
    Paper(
        title="DeepSeekMath: Pushing the Limits of Mathematical Reasoning in Open Language Models",
        year=2024,
        arxiv="2402.03300",
        question=QUESTION,
        method="GRPO: rewards in standard deviations of their group of samples",
        functions=(
            "rewardlab.transforms.standardised",
            "rewardlab.adapters.trl.with_pipeline",
            "llm_scale.objectives.loss.policy_loss",
            "llm_scale.grpo.Loop",
        ),
        figures=(
            "group_standardisation",
            "reward_scale",
            "normalise_before_accumulating",
            "lm_addition",
            "lm_objectives",
        ),
        notebook=TOUR,
    ),
    Paper(
        title="Understanding R1-Zero-Like Training: A Critical Perspective",
        year=2025,
        arxiv="2503.20783",
        question=QUESTION,
        method="Dr. GRPO: take the group's mean off, and divide by nothing",
        functions=(
            "rewardlab.transforms.mean_centred",
            "llm_scale.objectives.loss.policy_loss",
        ),
        figures=("reward_scale", "lm_objectives"),
    ),
    Paper(
        title="Back to Basics: Revisiting REINFORCE Style Optimization for Learning from Human Feedback in LLMs",
        year=2024,
        arxiv="2402.14740",
        question=QUESTION,
        method="RLOO: reward less the mean of the group's other samples",
        functions=(
            "rewardlab.transforms.leave_one_out",
            "llm_scale.objectives.loss.policy_loss",
        ),
        figures=("lm_objectives",),
    ),
    Paper(
        title="GDPO: Group reward-Decoupled Normalization Policy Optimization for Multi-reward RL Optimization",
        year=2026,
        arxiv="2601.05242",
        question=QUESTION,
        method="standardise each reward in its group, then sum, then standardise over the batch",
        functions=("rewardlab.transforms.normalise_then_sum",),
        figures=("reward_scale", "lm_three_signals"),
    ),
    Paper(
        title="Beyond Monolithic Rewards: A Hybrid and Multi-Aspect Reward Optimization for MLLM Alignment",
        year=2025,
        arxiv="2510.05283",
        question=QUESTION,
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
        question=QUESTION,
        method="MM-DPO: a beta for each pair from an outside reward model's margin; ACC and ACC+",
        functions=(
            "rewardlab.transforms.dynamic_beta",
            "rewardlab.transforms.dpo_loss",
            "rewardlab.transforms.margin_accuracy",
            "rewardlab.transforms.all_pairs_accuracy",
        ),
        figures=("dynamic_beta",),
    ),
)
