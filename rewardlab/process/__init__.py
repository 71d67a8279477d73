"""How do I reward the steps of a solution, and not just its end?

refine, reward_to_go, step_advantages: scores of a process reward model as rewards that cannot be farmed.
place_on_tokens, spread_over_tokens: from steps to the tokens of a language model.
StepWorld, evaluate_policy, sample_episodes: a finite world of steps, solved exactly.
"""

from rewardlab.process.credit import StepAdvantages, reward_to_go, step_advantages
from rewardlab.process.refine import MODES, refine
from rewardlab.process.step_world import Episodes, PolicyOutcome, StepWorld, evaluate_policy, sample_episodes
from rewardlab.process.tokens import place_on_tokens, spread_over_tokens

__all__ = [
    "MODES",
    "Episodes",
    "PolicyOutcome",
    "StepAdvantages",
    "StepWorld",
    "evaluate_policy",
    "place_on_tokens",
    "refine",
    "reward_to_go",
    "sample_episodes",
    "spread_over_tokens",
    "step_advantages",
]
