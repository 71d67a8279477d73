"""How good is a reward model? The scoring rules of the benchmarks, exactly, and readers of what they publish."""

from rewardlab.scoring.formats import (
    BestOfN,
    JudgedPair,
    PreferencePair,
    RewardBench2Row,
    RewardBenchRow,
    ToolAnswer,
    ToolPair,
    read_hh_rlhf,
    read_llmbar,
    read_reward_bench,
    read_reward_bench_2,
    read_rmb_best_of_n,
    read_tara,
)
from rewardlab.scoring.judges import judged, scores_of_pairwise_judge
from rewardlab.scoring.one_against_many import (
    Standing,
    accuracy,
    accuracy_at_k,
    accuracy_with_ties,
    best_of_n_accuracy,
    reciprocal_rank,
    share_of_the_top,
    standing,
)
from rewardlab.scoring.reward_bench import REWARD_BENCH_SECTIONS, RewardBenchScores, pair_accuracy, reward_bench
from rewardlab.scoring.reward_bench_2 import REWARD_BENCH_2_DOMAINS, TiesScore, reward_bench_2, ties_score
from rewardlab.scoring.reward_math import RewardMathScores, reward_math
from rewardlab.scoring.reward_math_dumps import (
    PairwiseVerdicts,
    SolutionScores,
    StepScores,
    read_pairwise_verdicts,
    read_solution_scores,
    read_step_pairs,
    read_step_scores,
)
from rewardlab.scoring.rm_bench import RM_BENCH_STYLES, RmBenchScores, rm_bench
from rewardlab.scoring.rmb import RmbScores, rmb
from rewardlab.scoring.rows import FormatError

__all__ = [
    "REWARD_BENCH_2_DOMAINS",
    "REWARD_BENCH_SECTIONS",
    "RM_BENCH_STYLES",
    "BestOfN",
    "FormatError",
    "JudgedPair",
    "PairwiseVerdicts",
    "PreferencePair",
    "RewardBench2Row",
    "RewardBenchRow",
    "RewardBenchScores",
    "RewardMathScores",
    "RmBenchScores",
    "RmbScores",
    "SolutionScores",
    "Standing",
    "StepScores",
    "TiesScore",
    "ToolAnswer",
    "ToolPair",
    "accuracy",
    "accuracy_at_k",
    "accuracy_with_ties",
    "best_of_n_accuracy",
    "judged",
    "pair_accuracy",
    "read_hh_rlhf",
    "read_llmbar",
    "read_pairwise_verdicts",
    "read_reward_bench",
    "read_reward_bench_2",
    "read_rmb_best_of_n",
    "read_solution_scores",
    "read_step_pairs",
    "read_step_scores",
    "read_tara",
    "reciprocal_rank",
    "reward_bench",
    "reward_bench_2",
    "reward_math",
    "rm_bench",
    "rmb",
    "scores_of_pairwise_judge",
    "share_of_the_top",
    "standing",
    "ties_score",
]
