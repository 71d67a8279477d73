"""A trained policy as a file that holds numbers only, and the policy again, ready to act."""

import json
from pathlib import Path

import gymnasium
import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from stable_baselines3 import SAC
from stable_baselines3.sac.policies import SACPolicy

from rewardlab.adapters.offline_buffer import unscale_actions

__all__ = ["SavedPolicy", "load_policy", "save_policy"]

KIND = "rewardlab SAC policy"


class SavedPolicy:
    """The mean actions of a saved policy.

    Args:
        policy: Stable-Baselines3's, in evaluation mode.
    """

    def __init__(self, policy: SACPolicy):
        self.policy = policy

    @torch.no_grad()
    def __call__(self, observations: Float[torch.Tensor, "n d"]) -> Float[torch.Tensor, "n m"]:
        """Actions in the environment's units."""
        return unscale_actions(self.policy.actor(observations, deterministic=True), self.policy.action_space)


def save_policy(path: str | Path, sac: SAC) -> None:
    """Write the weights of a policy, and what its networks are built from, as safetensors.

    Args:
        path: Where; its folder exists.
        sac: Trained; its spaces are boxes, its networks fully connected.
    """
    box = sac.action_space
    facts = {
        "observation_size": sac.observation_space.shape[0],
        "action_low": box.low.tolist(),
        "action_high": box.high.tolist(),
        "hidden": list(sac.policy.net_arch),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in sac.policy.state_dict().items()}
    save_file(tensors, Path(path), metadata={"kind": KIND, "facts": json.dumps(facts)})


def load_policy(path: str | Path) -> SavedPolicy:
    """Read what `save_policy` wrote; nothing in the file can run.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is no such file, or a weight is missing, of another shape or not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata, tensors = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file: {error}") from error
    if metadata.get("kind") != KIND:
        raise ValueError(f"{path} is a {metadata.get('kind', 'file without a kind')}, expected a {KIND}")
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{path}: {name} holds numbers that are not finite")
    try:
        facts = json.loads(metadata["facts"])
        low, high = (np.asarray(facts[name], dtype=np.float32) for name in ("action_low", "action_high"))
        policy = SACPolicy(
            gymnasium.spaces.Box(-np.inf, np.inf, (facts["observation_size"],), np.float32),
            gymnasium.spaces.Box(low, high, dtype=np.float32),
            lambda _: 0.0,
            net_arch=list(facts["hidden"]),
        )
        policy.load_state_dict(tensors)
    except (KeyError, TypeError, RuntimeError, AssertionError) as error:
        raise ValueError(f"{path} holds no such policy: {error}") from error
    policy.set_training_mode(False)
    return SavedPolicy(policy)
