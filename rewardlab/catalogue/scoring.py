"""Papers on the question: how good is a reward model?"""

from rewardlab.catalogue.paper import Paper

__all__ = ["PAPERS"]

QUESTION = "How good is a reward model?"
TOUR = "combining_rewards_that_disagree"

PAPERS: tuple[Paper, ...] = (
    Paper(
        title="Evaluating Robustness of Reward Models for Mathematical Reasoning",
        year=2024,
        arxiv="2410.01729",
        question=QUESTION,
        method="RewardMATH: one right solution against nine wrong ones from several models",
        functions=(
            "rewardlab.scoring.reward_math",
            "rewardlab.scoring.standing",
            "rewardlab.scoring.accuracy_at_k",
            "rewardlab.scoring.best_of_n_accuracy",
            "rewardlab.process.aggregate_steps",
            "rewardlab.process.length_confound",
            "rewardlab.process.pairs_by_length",
            "rewardlab.scoring.scores_of_pairwise_judge",
            "rewardlab.scoring.read_solution_scores",
        ),
        figures=("rewardmath_goodhart", "real_step_scores"),
        notebook=TOUR,
    ),
    Paper(
        title="RewardBench: Evaluating Reward Models for Language Modeling",
        year=2024,
        arxiv="2403.13787",
        question=QUESTION,
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
        question=QUESTION,
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
        question=QUESTION,
        method="accuracy for each pair of styles of the right and the wrong answer",
        functions=("rewardlab.scoring.rm_bench",),
    ),
    Paper(
        title="RMB: Comprehensively Benchmarking Reward Models in LLM Alignment",
        year=2024,
        arxiv="2410.09893",
        question=QUESTION,
        method="pairs and best-of-n lists, for helpfulness and harmlessness",
        functions=("rewardlab.scoring.rmb", "rewardlab.scoring.read_rmb_best_of_n"),
    ),
)
