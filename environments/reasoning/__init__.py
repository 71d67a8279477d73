"""Worlds of reasoning steps, from a tabular one to real step texts; importing this registers them with gymnasium."""

from gymnasium import register as _register
from gymnasium import registry as _registry

__all__ = ["IDS", "register"]

IDS = {
    "rewardlab/FillerChain-v0": "environments.reasoning.filler_chain_env:FillerChainEnv",
    "rewardlab/ArithmeticChain-v0": "environments.reasoning.arithmetic_env:ArithmeticChainEnv",
    "rewardlab/Search-v0": "environments.reasoning.search:SearchEnv",
}
"""The environments, and where gymnasium finds each once it is made."""


def register() -> None:
    """Make the environments known to `gymnasium.make`; those that are known already stay as they are."""
    for name, entry_point in IDS.items():
        if name not in _registry:
            _register(name, entry_point)


register()
