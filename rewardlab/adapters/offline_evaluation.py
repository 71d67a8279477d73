"""What a policy earns in the real environment, and what a dynamics model promised."""

from collections.abc import Callable
from dataclasses import dataclass

import gymnasium
import numpy as np
import torch
from jaxtyping import Float, Int

from rewardlab.checks import check_scalar
from rewardlab.dynamics.filtered_model import FilteredModel, PlainModel
from rewardlab.dynamics.rollouts import rollout

__all__ = ["Evaluation", "evaluate_policy", "model_returns"]

Policy = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Episodes of a policy.

    Attributes:
        returns: `(n,)` undiscounted, float64.
        discounted_returns: `(n,)`.
        lengths: `(n,)` steps.
        scores: `(n,)` normalised scores of the returns; None where no function was given.
    """

    returns: Float[np.ndarray, " n"]
    discounted_returns: Float[np.ndarray, " n"]
    lengths: Int[np.ndarray, " n"]
    scores: Float[np.ndarray, " n"] | None = None


def evaluate_policy(
    policy: Policy,
    make_environment: Callable[[], gymnasium.Env],
    *,
    episodes: int,
    seed: int,
    parallel: int = 10,
    discount: float = 1.0,
    max_steps: int | None = None,
    normalised_score: Callable[[np.ndarray], np.ndarray] | None = None,
    device: torch.device | str = "cpu",
) -> Evaluation:
    """Episodes in the real environment, several side by side so that the policy is asked for all of them at once.

    Args:
        policy: Actions `(n, m)` in the environment's space, of float32 observations `(n, d)`; `OfflineSAC.act` gives
            the mean action. Actions are clipped to the space.
        make_environment: Makes one; closed afterwards. It must end its episodes: by a time limit at the latest.
        episodes: n, at least 1.
        seed: Of the resets: episode i has the same start however many run side by side.
        parallel: Environments side by side.
        discount: Of `discounted_returns`, in [0, 1].
        max_steps: Cut episodes here; None for the environment's own limit.
        normalised_score: Score of returns; None for none.
        device: Of the policy.

    Raises:
        ValueError: If a number is out of range, or the policy gives actions of another shape or not finite.
    """
    check_scalar("episodes", episodes, low=1, whole=True)
    check_scalar("parallel", parallel, low=1, whole=True)
    check_scalar("discount", discount, low=0, high=1)
    limit = np.inf if max_steps is None else check_scalar("max_steps", max_steps, low=1, whole=True)
    environments = [make_environment() for _ in range(min(parallel, episodes))]
    totals, lengths = np.zeros((2, episodes)), np.zeros(episodes, dtype=np.int64)
    try:
        waiting = iter(range(episodes))
        running = [_begin(environment, next(waiting), seed) for environment in environments]
        while running:
            actions = _actions(policy, [seen for _, _, seen in running], environments[0].action_space, device)
            still = []
            for (environment, episode, _), action in zip(running, actions, strict=True):
                seen, reward, terminated, truncated, _ = environment.step(action)
                totals[:, episode] += float(reward), discount ** int(lengths[episode]) * float(reward)
                lengths[episode] += 1
                if not (terminated or truncated or lengths[episode] >= limit):
                    still.append((environment, episode, seen))
                elif (following := next(waiting, None)) is not None:
                    still.append(_begin(environment, following, seed))
            running = still
    finally:
        for environment in environments:
            environment.close()
    scores = None if normalised_score is None else np.asarray(normalised_score(totals[0]), dtype=np.float64)
    return Evaluation(totals[0], totals[1], lengths, scores)


def model_returns(
    model: PlainModel,
    policy: Policy,
    starts: Float[torch.Tensor, "n d"],
    *,
    horizon: int,
    generator: torch.Generator,
    discount: float = 1.0,
) -> Evaluation:
    """What a dynamics model promises a policy: its returns in the model, without penalties.

    A filter chooses among the candidates as it does in training, but rejects no step: a rollout goes on to where the
    task ends it, like an episode in the environment. The *model-vs-real gap* of a policy is the mean return here less
    that of `evaluate_policy` over as many steps.

    Args:
        model: `PlainModel` or `FilteredModel`.
        policy: As in `evaluate_policy`.
        starts: Observations that episodes begin with.
        horizon: Most steps.
        generator: Of the model's chance.
        discount: Of `discounted_returns`, in [0, 1].

    Returns:
        One entry a start. A rollout that the model breaks off with numbers that are not finite ends there.
    """
    check_scalar("discount", discount, low=0, high=1)
    rolled = rollout(_never_rejecting(model), policy, starts, horizon=horizon, generator=generator)
    lengths = rolled.lengths.cpu().numpy()
    which, rewards = rolled.starts.cpu().numpy(), rolled.rewards.double().cpu().numpy()
    steps = np.empty(len(which), dtype=np.int64)
    order = np.argsort(which, kind="stable")  # rows of a start stay in the order of their steps
    steps[order] = np.arange(len(which)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    totals = [
        np.bincount(which, weights, minlength=len(starts)) for weights in (rewards, rewards * float(discount) ** steps)
    ]
    return Evaluation(totals[0], totals[1], lengths)


def _never_rejecting(model: PlainModel) -> PlainModel:
    if not isinstance(model, FilteredModel) or model.threshold is None:
        return model
    return model.with_threshold(None)


def _begin(environment: gymnasium.Env, episode: int, seed: int) -> tuple[gymnasium.Env, int, np.ndarray]:
    own = int(np.random.SeedSequence((seed, episode)).generate_state(1)[0])
    return environment, episode, environment.reset(seed=own)[0]


def _actions(policy: Policy, seen: list, space: gymnasium.spaces.Box, device: torch.device | str) -> np.ndarray:
    observations = torch.as_tensor(np.asarray(seen, dtype=np.float32), device=device)
    actions = policy(observations).detach().cpu().numpy()
    wanted = (len(seen), *space.shape)
    if actions.shape != wanted or not np.isfinite(actions).all():
        raise ValueError(f"the policy gave actions of shape {actions.shape}, expected {wanted}, all of them finite")
    return actions.clip(space.low, space.high).astype(space.dtype)
