"""How do I reward the steps of a solution, so that padding, repeating and stalling never pay?

Which function for what:
    pad_steps, refine, reward_to_go, step_advantages, place_on_tokens, spread_over_tokens: scores of a process reward
        model as rewards and advantages of steps and tokens. join_outcome joins score and outcome step by step.
    exploit_check: run it on your own step reward before you train on it. StepWorld and its functions are the finite
        worlds it solves exactly, trained_policies what training on it comes to; filler_threshold, filler_equilibrium
        and gives_up are closed forms.
    aggregate_steps: one score of a solution. length_confound, pairs_by_length: how much of it is length. chain_scores,
        pass_rate, aggregation_error: how it gets worse as solutions grow. first_below, lowest_score, largest_drop:
        where a solution first goes wrong.
    label_prefixes, grow_tree, tree_labels: labels of steps by rollouts, or by a tree search whose steps a tool checks.
    answer_likelihood, information_gain, turn_advantages: turns of an agent that looks for a known answer.
    parse_tool_calls, tool_reward, tool_call_signals: calls of tools.
    verdict_reward, consistency_reward, solve_judge_reward, sentence_flag_reward, sentence_policy_reward: judges.
"""

from rewardlab.process.aggregation import AGGREGATIONS, Aggregation, aggregate_steps
from rewardlab.process.answer_f1 import gated_f1, token_f1
from rewardlab.process.credit import StepAdvantages, reward_to_go, step_advantages
from rewardlab.process.error_compounding import (
    AggregationError,
    ChainScores,
    StepDetector,
    aggregation_error,
    chain_scores,
    longest_chain_ahead,
    pass_rate,
)
from rewardlab.process.exploit import ExploitReport, StepTexts, exploit_check
from rewardlab.process.exploit_gradient import (
    Trained,
    expected_gradient,
    expected_return,
    expected_rewards,
    trained_policies,
)
from rewardlab.process.exploit_report import Finding, Growth, counted
from rewardlab.process.filler_theory import FillerEquilibrium, filler_equilibrium, filler_threshold, gives_up
from rewardlab.process.first_error import (
    NO_ERROR,
    FirstErrorAccuracy,
    first_below,
    first_error_accuracy,
    largest_drop,
    lowest_score,
)
from rewardlab.process.information_gain import answer_likelihood, information_gain
from rewardlab.process.length_confound import LengthConfound, PairsByLength, length_confound, pairs_by_length
from rewardlab.process.ragged import PaddedSteps, pad_steps
from rewardlab.process.refine import MODES, refine
from rewardlab.process.reward_schedules import (
    EQUAL_SCALE,
    ORIGINAL_SCALE,
    RewardScale,
    length_reward,
    length_target,
    linear_schedule,
    smooth_scale,
    two_stage_scale,
)
from rewardlab.process.rollout_labels import (
    RolloutLabels,
    expected_hard_label,
    label_prefixes,
    soft_label_variance,
    solution_prefixes,
)
from rewardlab.process.sentence_rewards import sentence_flag_reward, sentence_policy_reward
from rewardlab.process.step_outcome_join import join_outcome
from rewardlab.process.step_world import Episodes, PolicyOutcome, StepWorld, evaluate_policy, sample_episodes
from rewardlab.process.tasks import Rollout, StepTask, rollout, uniform_policy
from rewardlab.process.tokens import place_on_tokens, spread_over_tokens
from rewardlab.process.tool_calls import ParseFailure, ToolCall, parse_gold_calls, parse_tool_calls
from rewardlab.process.tool_format import DEFAULT_FORMAT, ToolFormat, format_holds
from rewardlab.process.tool_rewards import (
    CallScore,
    ToolReward,
    score_calls,
    tool_call_signal,
    tool_call_signals,
    tool_reward,
)
from rewardlab.process.tree_search import TreeLabel, grow_tree, hybrid_value, tree_labels
from rewardlab.process.turn_advantages import TurnAdvantages, TurnWeights, curriculum_weights, turn_advantages
from rewardlab.process.verdict_rewards import consistency_reward, solve_judge_gap, solve_judge_reward, verdict_reward

__all__ = [
    "AGGREGATIONS",
    "DEFAULT_FORMAT",
    "EQUAL_SCALE",
    "MODES",
    "NO_ERROR",
    "ORIGINAL_SCALE",
    "Aggregation",
    "AggregationError",
    "CallScore",
    "ChainScores",
    "Episodes",
    "ExploitReport",
    "FillerEquilibrium",
    "Finding",
    "FirstErrorAccuracy",
    "Growth",
    "LengthConfound",
    "PaddedSteps",
    "PairsByLength",
    "ParseFailure",
    "PolicyOutcome",
    "RewardScale",
    "Rollout",
    "RolloutLabels",
    "StepAdvantages",
    "StepDetector",
    "StepTask",
    "StepTexts",
    "StepWorld",
    "ToolCall",
    "ToolFormat",
    "ToolReward",
    "Trained",
    "TreeLabel",
    "TurnAdvantages",
    "TurnWeights",
    "aggregate_steps",
    "aggregation_error",
    "answer_likelihood",
    "chain_scores",
    "consistency_reward",
    "counted",
    "curriculum_weights",
    "evaluate_policy",
    "expected_gradient",
    "expected_hard_label",
    "expected_return",
    "expected_rewards",
    "exploit_check",
    "filler_equilibrium",
    "filler_threshold",
    "first_below",
    "first_error_accuracy",
    "format_holds",
    "gated_f1",
    "gives_up",
    "grow_tree",
    "hybrid_value",
    "information_gain",
    "join_outcome",
    "label_prefixes",
    "largest_drop",
    "length_confound",
    "length_reward",
    "length_target",
    "linear_schedule",
    "longest_chain_ahead",
    "lowest_score",
    "pad_steps",
    "pairs_by_length",
    "parse_gold_calls",
    "parse_tool_calls",
    "pass_rate",
    "place_on_tokens",
    "refine",
    "reward_to_go",
    "rollout",
    "sample_episodes",
    "score_calls",
    "sentence_flag_reward",
    "sentence_policy_reward",
    "smooth_scale",
    "soft_label_variance",
    "solution_prefixes",
    "solve_judge_gap",
    "solve_judge_reward",
    "spread_over_tokens",
    "step_advantages",
    "token_f1",
    "tool_call_signal",
    "tool_call_signals",
    "tool_reward",
    "trained_policies",
    "tree_labels",
    "turn_advantages",
    "two_stage_scale",
    "uniform_policy",
    "verdict_reward",
]
