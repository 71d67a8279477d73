"""A world whose every episode can be listed, with its probability: exact expectations of what is sampled elsewhere."""

import itertools
from typing import NamedTuple

import numpy as np
import torch
from torch.func import functional_call

from rewardlab.exact.mdp import FiniteMDP
from rewardlab.shaping.sampled.episodes import Batch
from rewardlab.shaping.sampled.features import OneHot
from rewardlab.shaping.sampled.policies import SoftmaxPolicy

END, ACTIONS, STEPS = 4, 2, 3
DISCOUNT = 0.8


class Listed(NamedTuple):
    """Every episode there can be, and all that does not depend on the policy of how probable it is."""

    batch: Batch
    chance: torch.Tensor  # of the start and the transitions, (episodes,)
    steps: torch.Tensor


def layered_world(*, early_end: bool) -> FiniteMDP:
    """States 0 -> 1 or 2 -> 3 -> end: three steps, or from 0 or 2 straight to the end with `early_end`."""
    rng = np.random.default_rng(3)
    transition = np.zeros((5, ACTIONS, 5))
    for state, following in {0: [1, 2, END], 1: [3], 2: [3, END], 3: [END]}.items():
        if not early_end and len(following) > 1:
            following = following[:-1]
        transition[state][:, following] = rng.dirichlet(np.ones(len(following)), ACTIONS)
    transition[END, :, END] = 1
    terminal = np.arange(5) == END
    return FiniteMDP(
        transition,
        DISCOUNT,
        initial=np.array([0.7, 0.0, 0.3, 0.0, 0.0]) if early_end else np.eye(5)[0],
        terminal=terminal,
    )


def policy_of(seed=0) -> SoftmaxPolicy:
    policy = SoftmaxPolicy(OneHot(5), ACTIONS, rng=seed)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(3)
    return policy


def logits_of(policy) -> np.ndarray:
    with torch.no_grad():
        return policy.net(torch.eye(5, dtype=torch.float64)).numpy()


def by_parameters(policy) -> np.ndarray:
    """How logits (5 * actions,) move with the flat parameters."""
    from rewardlab.shaping.sampled.curvature_products import flat_parameters, named_parameters

    def logits(flat):
        named = {name.removeprefix("net."): part for name, part in named_parameters(policy, flat).items()}
        return functional_call(policy.net, named, (torch.eye(5, dtype=torch.float64),)).reshape(-1)

    return torch.func.jacrev(logits)(flat_parameters(policy)).numpy()


def listed(mdp: FiniteMDP, reward: np.ndarray, advice: np.ndarray) -> Listed:
    """All episodes of the world; `reward` and `advice` are (S, A)."""
    found = []
    for start in np.flatnonzero(mdp.initial):
        _extend(mdp, [(int(start),)], float(mdp.initial[start]), found)
    count = len(found)
    states, actions = np.full((count, STEPS), END), np.zeros((count, STEPS), int)
    for row, (path, _) in enumerate(found):
        states[row, : len(path)] = [step[0] for step in path]
        actions[row, : len(path)] = [step[1] for step in path]
    mask = torch.tensor(states != END)
    x = OneHot(5)(torch.tensor(states, dtype=torch.float64).reshape(-1, 1)).reshape(count, STEPS, 5)
    primary = torch.tensor(reward[states, actions]) * mask
    auxiliary = (torch.tensor(advice[states, actions]) * mask)[..., None]
    chance = torch.tensor([probability for _, probability in found], dtype=torch.float64)
    return Listed(Batch.of(x, torch.tensor(actions), primary, auxiliary, mask, STEPS), chance, mask.sum(1))


def _extend(mdp, path, probability, found):
    (state,) = path[-1]
    for action, following in itertools.product(range(ACTIONS), range(5)):
        here = probability * float(mdp.transition[state, action, following])
        if here and following == END:
            found.append(([*path[:-1], (state, action)], here))
        elif here:
            _extend(mdp, [*path[:-1], (state, action), (following,)], here, found)


def single(batch: Batch, row: int) -> Batch:
    parts = [part[row : row + 1] for part in batch[:-1]]
    return Batch(*parts, batch.divisor)


def probabilities(world: Listed, policy) -> torch.Tensor:
    with torch.no_grad():
        log_prob = policy.log_prob(world.batch.x, world.batch.actions)
    return world.chance * torch.where(world.batch.mask, log_prob, 0).sum(1).exp()
