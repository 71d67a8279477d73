"""Rewards plugged into the trainers people use: thin layers, one module a framework, loaded when first used.

gymnasium: `RewardPipeline` for one environment, `VectorRewardPipeline` for a vector of them; `PotentialShaping` and
    `VectorPotentialShaping` likewise. shaping_check: `check_shaping` proves of any wrapper that it shapes as it should.
    advice_gymnasium: advice on actions. auxiliary_rewards: heuristics beside the reward, for blends that learn.
stable_baselines3: `VecRewardPipeline`, and `RewardStages`, which logs every stage of the reward; `VecPotentialShaping`,
    and `DiscountCheck`, which compares it with the learner.
intrinsic_stable_baselines3: `VecIntrinsicReward`, `with_intrinsic_rewards` and `IntrinsicLog`, by which PPO, A2C and
    RecurrentPPO learn from intrinsic rewards (intrinsic_buffers, intrinsic_ledger and intrinsic_views are its parts).
offline_training: `train_offline`, SAC of Stable-Baselines3 on logged transitions and a dynamics model, plain or as MOPO
    or MOBILE (offline_settings, offline_sac, offline_buffer are its parts); offline_evaluation: what a policy earns,
    and what the model promised; offline_policy_files: policies as files of numbers.
trl, verl, openrlhf: the same pipeline as the reward path of a language model's trainer.
trl_steps: TRL's GRPO with an advantage for every step of a completion.
samples, completion_steps: what those share: scores of completions and their groups; steps of a text and their tokens.

Importing this package imports none of the frameworks; naming a module does, as in
`from rewardlab.adapters import gymnasium`.
"""

from importlib import import_module
from types import ModuleType

__all__ = [
    "advice_gymnasium",
    "auxiliary_rewards",
    "completion_steps",
    "gymnasium",
    "intrinsic_stable_baselines3",
    "offline_buffer",
    "offline_evaluation",
    "offline_policy_files",
    "offline_sac",
    "offline_settings",
    "offline_training",
    "openrlhf",
    "samples",
    "shaping_check",
    "stable_baselines3",
    "trl",
    "trl_steps",
    "verl",
]
_MODULES = frozenset(__all__)


def __getattr__(name: str) -> ModuleType:
    """Load an adapter, and with it the framework it is for, on first use (PEP 562)."""
    if name in _MODULES:
        return import_module(f"rewardlab.adapters.{name}")
    raise AttributeError(f"module 'rewardlab.adapters' has no attribute {name!r}; it has {', '.join(sorted(_MODULES))}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
