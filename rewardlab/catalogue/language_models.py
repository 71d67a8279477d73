"""Papers on the question: how does a reward become a change of a language model's weights?

Their functions are in the checkout's `llm_scale`, which the wheel does not hold.
"""

from rewardlab.catalogue.paper import Paper

__all__ = ["PAPERS"]

QUESTION = "What happens to a reward when a language model climbs it?"
TOUR = "from_a_toy_to_a_language_model"
LOSS = "llm_scale.objectives.loss.policy_loss"
ADVANTAGES = "llm_scale.objectives.advantages.token_level_advantages"

PAPERS: tuple[Paper, ...] = (
    Paper(
        title="DAPO: An Open-Source LLM Reinforcement Learning System at Scale",
        year=2025,
        arxiv="2503.14476",
        question=QUESTION,
        method="clip higher, average over tokens, redraw questions without signal, punish length softly near the limit",
        functions=(
            LOSS,
            "llm_scale.objectives.dapo.soft_overlong_penalty",
            "llm_scale.objectives.dapo.keeps_signal",
            "llm_scale.grpo.Loop",
        ),
        figures=("lm_addition", "lm_objectives"),
        notebook=TOUR,
    ),
    Paper(
        title="Group Sequence Policy Optimization",
        year=2025,
        arxiv="2507.18071",
        question=QUESTION,
        method="GSPO: one importance ratio a sequence, the geometric mean of its tokens'",
        functions=(LOSS,),
        figures=("lm_objectives",),
    ),
    Paper(
        title="REINFORCE++: Stabilizing Critic-Free Policy Optimization with Global Advantage Normalization",
        year=2025,
        arxiv="2501.03262",
        question=QUESTION,
        method="returns of tokens with the KL penalty taken off the reward, whitened over the whole batch",
        functions=(ADVANTAGES, "llm_scale.objectives.kl.kl_terms"),
        figures=("lm_objectives",),
    ),
    Paper(
        title="Part I: Tricks or Traps? A Deep Dive into RL for LLM Reasoning",
        year=2025,
        arxiv="2508.08221",
        question=QUESTION,
        method="Lite PPO: the group's mean, the standard deviation of the whole batch",
        functions=("rewardlab.transforms.batch_standardised", LOSS),
    ),
    Paper(
        title="On-Policy RL with Optimal Reward Baseline",
        year=2025,
        arxiv="2505.23585",
        question=QUESTION,
        method="OPO: the baseline is the group's mean reward weighted by lengths",
        functions=(ADVANTAGES,),
    ),
    Paper(
        title="Optimizing Language Models for Inference Time Objectives using Reinforcement Learning",
        year=2025,
        arxiv="2503.19595",
        question=QUESTION,
        method="pass@k: only the best sample learns, by its lead over the second",
        functions=("llm_scale.objectives.advantages.sample_advantages",),
    ),
)
