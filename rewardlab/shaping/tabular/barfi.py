"""A reward blend learned from sampled episodes by aligning gradients, beside the other ways of using a heuristic."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float, Int
from scipy.special import softmax

from rewardlab.checks import as_generator, check_array, check_choice, check_finite, check_scalar
from rewardlab.exact.evaluation import policy_return
from rewardlab.exact.mdp import FiniteMDP, Reward
from rewardlab.shaping.rule import shape_episode
from rewardlab.shaping.tabular.episodes import EpisodeSampler, TabularEpisodes
from rewardlab.shaping.tabular.gradients import entropy_gradient, fisher_solve, returns_to_go, score_sums, state_means

__all__ = ["Arm", "BlendRuns", "Curvature", "Method", "tabular_barfi"]

Method = Literal["primary", "naive", "potential", "potential_kept", "action_potential", "blend"]
Curvature = Literal["first_order", "fisher"]
_POTENTIALS = ("potential", "potential_kept")


@dataclass(frozen=True)
class Arm:
    """How one learner uses the heuristic. All learn by the policy gradient in the logits of a tabular policy.

    Args:
        method: What it learns from.
            "primary": the primary reward alone.
            "naive": the sum of primary and auxiliary reward.
            "potential": the primary reward, shaped by a potential that is 0 where the episode ends or is cut off, as
                it must be for a learner that counts nothing after the cut.
            "potential_kept": the same, but not 0 where the episode is cut off.
            "action_potential": what was published as potential-based shaping: the auxiliary reward of a step taken
                off its return. That depends on the action, so it is no baseline; it pushes away from what the
                heuristic favours.
            "blend": primary plus weight times auxiliary reward, and the weight is learned (BARFI).
        learning_rate: Of the policy, above 0.
        entropy: Weight of the mean entropy over the steps of an episode, summed, at least 0.
        start_weight: Of "blend": the weight it starts from.
        blend_step: Of "blend": how far the weight moves for a hyper-gradient of usual size, at least 0.
        curvature: Of "blend": "first_order" takes the curvature of the inner problem for a multiple of the identity,
            "fisher" for a multiple of the policy's Fisher matrix, which it is at the inner optimum.
        baseline: Whether the mean return of the state is taken off every return.

    Raises:
        TypeError, ValueError: If a name is unknown or a number out of range.
    """

    method: Method
    learning_rate: float = 0.5
    entropy: float = 0.01
    start_weight: float = 0.0
    blend_step: float = 0.2
    curvature: Curvature = "first_order"
    baseline: bool = True

    def __post_init__(self) -> None:
        check_choice("method", self.method, get_args(Method))
        check_choice("curvature", self.curvature, get_args(Curvature))
        check_scalar("learning_rate", self.learning_rate, low=0, open_low=True)
        check_scalar("entropy", self.entropy, low=0)
        check_scalar("start_weight", self.start_weight)
        check_scalar("blend_step", self.blend_step, low=0)


@dataclass(frozen=True, eq=False)
class BlendRuns:
    """What became of every arm with every seed.

    Attributes:
        evaluated: Updates after which policies were evaluated, `(evaluations,)`; 0 and the last among them.
        primary_return: Exact primary return then, without a horizon, `(arms, seeds, evaluations)`.
        weight: Weight of the auxiliary reward before each update and after the last, `(arms, seeds, updates + 1)`;
            NaN for arms without a blend.
        hypergradient: What moved the weight, before its size was normalised, `(arms, seeds, updates)`; NaN for arms
            without a blend and before the second update.
        cosine: Cosine of the primary gradient to itself solved for the curvature, the vector that hyper-gradients are
            made with; 1 for first-order arms by definition, NaN as above and where no gradient was found.
        policy: The policies in the end, `(arms, seeds, S, A)`.
    """

    evaluated: Int[np.ndarray, " evaluations"]
    primary_return: Float[np.ndarray, "arms seeds evaluations"]
    weight: Float[np.ndarray, "arms seeds updates_and_one"]
    hypergradient: Float[np.ndarray, "arms seeds updates"]
    cosine: Float[np.ndarray, "arms seeds updates"]
    policy: Float[np.ndarray, "arms seeds s a"]


def tabular_barfi(
    mdp: FiniteMDP,
    primary: Reward,
    auxiliary: Reward,
    arms: Sequence[Arm],
    *,
    potential: Float[np.ndarray, "*arms s"] | None = None,
    seeds: int = 10,
    batch: int = 16,
    horizon: int = 50,
    updates: int = 200,
    evaluate_every: int = 10,
    memory: float = 0.9,
    damping: float = 0.01,
    rng: int | np.random.Generator = 0,
) -> BlendRuns:
    """Trains every arm with every seed, all in one batch; one seed is the same luck for every arm.

    Each update samples a batch of episodes. Where a blend is learned, the hyper-gradient is the inner product of two
    policy gradients: that of the primary reward on the new batch, solved for the curvature, and that of the auxiliary
    reward on the batch before, on which the policy was last improved. It is divided by the root of its mean square
    so far (RMSprop, corrected for its start), so that its size, and any multiple of the curvature, drops out. Then
    the policy takes one step up the gradient of its reward and of its entropy.

    Args:
        mdp: One world, in NumPy; its discount is that of all returns.
        primary: The reward that is meant, `(S, A, S)` or `(S, A)`.
        auxiliary: The heuristic, for all arms alike or one an arm, `(arms, S, A, S)`.
        arms: The learners.
        potential: Potential of the arms that are shaped by one, `(S,)` or `(arms, S)`.
        seeds: How often each arm is trained.
        batch: Episodes an update.
        horizon: Steps after which an episode is cut off.
        updates: Steps of the policy.
        evaluate_every: Updates from one exact evaluation to the next.
        memory: Of the mean square of the hyper-gradients, in [0, 1).
        damping: Added to the diagonal of the Fisher matrix, in visits an episode, above 0.
        rng: Seed or generator; each seed has a stream of its own.

    Raises:
        TypeError, ValueError: If a number is out of range, a reward or potential does not fit, there is no arm, or
            an arm needs a potential and there is none.

    Source: Behavior Alignment via Reward Function Optimization (arXiv 2310.19007). Which batches the gradients come
        from, the baseline and the normalisation by an RMSprop step are ours: the official code solves by a Neumann
        series of five terms and step 5e-4 on many old episodes, which is the first-order form at another scale. The
        action-dependent potential is the official baseline's.
    """
    sizes = {"seeds": seeds, "batch": batch, "horizon": horizon, "updates": updates, "evaluate_every": evaluate_every}
    for name, value in sizes.items():
        check_scalar(name, value, low=1, whole=True)
    if check_scalar("memory", memory, low=0, high=1) == 1:
        raise ValueError("memory is 1, expected a number in [0, 1)")
    columns = _Columns.of(mdp, primary, auxiliary, tuple(arms), potential)
    sampler, streams = EpisodeSampler(mdp), as_generator(rng).spawn(seeds)
    runs, returns, old = (len(columns.arms), seeds), [], None
    logits, weight, square = np.zeros((*runs, mdp.states, mdp.actions)), columns.start_weight, np.zeros(runs)
    evaluated = np.unique(np.append(np.arange(0, updates, evaluate_every), updates))
    weights = np.empty((*runs, updates + 1))
    found, cosine = np.full((2, *runs, updates), np.nan)
    for update in range(updates):
        policy = softmax(logits, axis=-1)
        if update in evaluated:
            returns.append(policy_return(mdp, primary, policy))
        draws = np.stack([stream.random((batch, horizon + 1, 2)) for stream in streams])
        new = _gradients(columns, sampler.replay(policy, draws), policy)
        weights[..., update] = weight
        if old is not None:
            found[..., update], cosine[..., update] = _hypergradient(columns, new, old, damping)
            square = memory * square + (1 - memory) * found[..., update] ** 2
            size = np.sqrt(square / (1 - memory**update))
            weight = weight + columns.blend_step * _ratio(found[..., update], size)
        ascent = new.primary + weight[..., None, None] * new.second + columns.entropy * new.entropy
        logits, old = logits + columns.learning_rate * ascent, new
    weights[..., updates] = weight
    policy = softmax(logits, axis=-1)
    returns.append(policy_return(mdp, primary, policy))
    for tracked in (weights, found, cosine):
        tracked[~columns.blends] = np.nan
    return BlendRuns(evaluated, np.stack(returns, axis=-1), weights, found, cosine, policy)


class _Batch(NamedTuple):
    """Gradients in the logits from one batch of episodes, each `(arms, seeds, S, A)`, and where they were taken."""

    primary: np.ndarray
    second: np.ndarray
    entropy: np.ndarray
    policy: np.ndarray
    visits: np.ndarray


@dataclass(frozen=True, eq=False)
class _Columns:
    """Rewards, and settings of the arms as arrays that broadcast against the runs."""

    arms: tuple[Arm, ...]
    primary: np.ndarray
    auxiliary: np.ndarray
    potential: np.ndarray | None
    blends: np.ndarray
    start_weight: np.ndarray
    blend_step: np.ndarray
    learning_rate: np.ndarray
    entropy: np.ndarray
    baseline: np.ndarray

    @classmethod
    def of(cls, mdp: FiniteMDP, primary, auxiliary, arms: tuple[Arm, ...], potential) -> "_Columns":
        if mdp.batch_shape:
            raise ValueError(f"mdp has a batch of shape {mdp.batch_shape}, expected one world")
        if not arms:
            raise ValueError("arms is empty, expected at least one")
        if (primary := mdp.transition_reward(primary, "primary")).ndim > 3:
            raise ValueError(f"primary has shape {primary.shape}, expected one reward for all arms")
        auxiliary = _one_an_arm("auxiliary", mdp.transition_reward(auxiliary, "auxiliary"), 3, len(arms))
        wanting = [place for place, arm in enumerate(arms) if arm.method in _POTENTIALS]
        if potential is not None:
            check_finite("potential", check_array("potential", potential, like=mdp.transition))
            if potential.shape[-1:] != (mdp.states,):
                expected = f"({mdp.states},) or (arms, {mdp.states})"
                raise ValueError(f"potential has shape {potential.shape}, expected {expected}")
            potential = np.broadcast_to(_one_an_arm("potential", potential, 1, len(arms)), (len(arms), 1, mdp.states))
        elif wanting:
            raise ValueError(f"arms[{wanting[0]}] learns from a potential, expected `potential` to be given")
        blends = np.array([arm.method == "blend" for arm in arms])
        start = [arm.start_weight if arm.method == "blend" else float(arm.method != "primary") for arm in arms]
        step = np.where(blends, [arm.blend_step for arm in arms], 0.0)
        settings = (np.array([getattr(arm, name) for arm in arms]) for name in ("learning_rate", "entropy", "baseline"))
        columns = (column[:, None, None, None] for column in settings)
        return cls(arms, primary, auxiliary, potential, blends, np.array(start)[:, None], step[:, None], *columns)

    def of_method(self, *methods: str) -> np.ndarray:
        """Places of the arms that use one of the methods."""
        return np.array([place for place, arm in enumerate(self.arms) if arm.method in methods], int)


def _one_an_arm(name: str, value: np.ndarray, trailing: int, arms: int) -> np.ndarray:
    """The array with a dimension for the seeds after that of the arms, where it has one."""
    batch = value.shape[: value.ndim - trailing]
    if batch not in ((), (arms,)):
        raise ValueError(f"{name} has a batch of shape {batch}, expected () or ({arms},): one for each arm")
    return value[:, None] if batch else value


def _gradients(columns: _Columns, episodes: TabularEpisodes, policy: np.ndarray) -> _Batch:
    """Policy gradients of the primary reward and of what each arm adds to it, and the gradient of the entropy."""
    returns = returns_to_go(episodes.rewards(columns.primary), episodes.mdp.discount)
    gradients = []
    for each in (returns, _added_returns(columns, episodes)):
        centred = each - columns.baseline * state_means(episodes, each)
        gradients.append(score_sums(episodes, centred, policy))
    visits = episodes.state_sums(episodes.mask.astype(float)) / episodes.mask.shape[-2]
    return _Batch(*gradients, entropy_gradient(policy, visits), policy, visits)


def _added_returns(columns: _Columns, episodes: TabularEpisodes) -> np.ndarray:
    """What each arm's method adds to the primary return of every step, `(arms, seeds, episodes, steps)`."""
    auxiliary, discount = episodes.rewards(columns.auxiliary), episodes.mdp.discount
    added = auxiliary.copy()
    for method, zero_at_cut in (("potential", True), ("potential_kept", False)):
        these = columns.of_method(method)
        if len(these):  # potentials are 0 from a terminal state on, so that no mask is needed
            potentials = episodes.potentials(columns.potential)[these]
            added[these] = shape_episode(potentials, discount=discount, ended=zero_at_cut)
    added = returns_to_go(added, discount)
    these = columns.of_method("action_potential")
    added[these] = -auxiliary[these]
    return added


def _hypergradient(columns: _Columns, new: _Batch, old: _Batch, damping: float) -> tuple[np.ndarray, np.ndarray]:
    """Inner product of the solved primary gradient with the auxiliary one, and its cosine to the plain gradient."""
    vector = new.primary.copy()
    these = np.array([place for place, arm in enumerate(columns.arms) if arm.curvature == "fisher"], int)
    vector[these] = fisher_solve(vector[these], old.policy[these], old.visits[these], damping)
    product, length, plain = (
        (left * right).sum(axis=(-2, -1))
        for left, right in ((vector, new.primary), (vector, vector), (new.primary,) * 2)
    )
    cosine = np.where(plain > 0, _ratio(product, np.sqrt(length * plain)), np.nan)
    return (vector * old.second).sum(axis=(-2, -1)), cosine


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The quotient, 0 where there is nothing to divide by."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
