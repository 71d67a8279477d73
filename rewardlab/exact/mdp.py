"""Finite Markov decision processes: the worlds in which every claim about a reward can be settled exactly."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from rewardlab.arrays import Array, array_namespace, as_float64, is_array, to_numpy
from rewardlab.checks import check_array, check_broadcast, check_distribution, check_finite, check_scalar

__all__ = ["FiniteMDP", "Reward"]

# the trailing shape tells which of the two it is; an annotation of both would take some batches for tables
Reward = Float[Array, "..."]
"""A reward for transitions `(*batch, S, A, S)`, or for state-action pairs `(*batch, S, A)`.

Where the last three dimensions are (S, A, S) it is the former: in a world of as many actions as states, a batch of
S rewards for state-action pairs must be given for transitions.
"""


@dataclass(frozen=True, eq=False)
class FiniteMDP:
    """A batch of finite Markov decision processes without a reward.

    Rewards are kept apart, because the question is always how several of them compare in one world. Leading
    dimensions of the arrays are batch dimensions and broadcast against those of the rewards: a thousand worlds
    are one `FiniteMDP`, and a thousand rewards in one world need no copy of the world.

    A terminal state ends the episode: it leads to itself under every action, rewards given in it are never
    collected, and its value and potential are 0.

    Attributes:
        transition: Probability of the next state, `(*batch, S, A, S)`; each row sums to 1.
        discount: Discount factor in [0, 1], a number or one a batch element `(*batch)`. 1 is accepted only where
            every policy reaches a terminal state, so that returns stay finite.
        initial: Distribution of the first state, `(*batch, S)`; by default uniform over non-terminal states.
        terminal: True for terminal states, `(*batch, S)`; by default none.

    Raises:
        TypeError: If a field is not a NumPy array or torch tensor, or the fields mix the two.
        ValueError: If shapes disagree, probabilities are negative or do not sum to 1 (the row is named), a
            discount is outside [0, 1], a terminal state can be left, or the discount is 1 and some policy
            never terminates (the state is named).

    Example:
        >>> import numpy as np
        >>> stay_or_switch = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]])
        >>> mdp = FiniteMDP(stay_or_switch, discount=0.9)
        >>> mdp.states, mdp.actions, mdp.initial
        (2, 2, array([0.5, 0.5]))
    """

    transition: Any
    discount: Any
    initial: Any = None
    terminal: Any = None

    def __post_init__(self) -> None:
        transition = as_float64(check_array("transition", self.transition))
        xp = array_namespace(transition)
        if transition.ndim < 3 or transition.shape[-1] != transition.shape[-3]:
            raise ValueError(f"transition has shape {tuple(transition.shape)}, expected (*batch, S, A, S)")
        if min(transition.shape) == 0:
            raise ValueError(
                f"transition has shape {tuple(transition.shape)}, expected at least one state and one action"
            )
        check_distribution("transition", transition, over="next states")
        terminal = _checked_terminal(self.terminal, transition)
        if bool(xp.any(xp.all(terminal, axis=-1))):
            raise ValueError("terminal is True for every state, expected at least one state where an action is taken")
        object.__setattr__(self, "transition", transition)
        object.__setattr__(self, "terminal", terminal)
        object.__setattr__(self, "initial", _checked_initial(self.initial, transition, terminal))
        object.__setattr__(self, "discount", _checked_discount(self.discount, transition))
        self._check_terminal_states_absorb()
        self._check_returns_are_finite()

    @property
    def states(self) -> int:
        """Number of states S."""
        return self.transition.shape[-1]

    @property
    def actions(self) -> int:
        """Number of actions A."""
        return self.transition.shape[-2]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Leading dimensions: one world an element."""
        return tuple(self.transition.shape[:-3])

    @cached_property
    def continuation(self) -> Float[Array, "*batch s a s"]:
        """Transition probabilities with the rows of terminal states set to 0: what happens while the episode lasts."""
        xp = array_namespace(self.transition)
        if not bool(xp.any(self.terminal)):
            return self.transition
        return xp.where(self.terminal[..., None, None], xp.zeros_like(self.transition), self.transition)

    def discount_for(self, trailing: int) -> Any:
        """The discount, shaped to multiply arrays with `trailing` dimensions after those of the batch."""
        if isinstance(self.discount, float):
            return self.discount
        return self.discount[(...,) + (None,) * trailing]

    def transition_reward(self, reward: Reward, name: str = "reward") -> Float[Array, "*rewards s a s"]:
        """The reward as `(*rewards, S, A, S)`, checked; a state-action reward is broadcast over next states.

        Raises:
            TypeError: If the reward is not an array of the same library as the MDP.
            ValueError: If its trailing shape is neither (S, A, S) nor (S, A), its batch does not broadcast against
                the MDP's, or an entry is NaN or infinite (the entry is named).
        """
        reward = self.checked_reward(reward, name)
        if self._is_transition_shaped(reward):
            return reward
        xp = array_namespace(reward)
        return xp.broadcast_to(reward[..., None], (*reward.shape, self.states))

    def state_action_reward(self, reward: Reward, name: str = "reward") -> Float[Array, "*batch s a"]:
        """Expected reward of each state-action pair, 0 in terminal states: all of it that any return depends on.

        Raises:
            TypeError, ValueError: As `transition_reward`.
        """
        reward = self.checked_reward(reward, name)
        xp = array_namespace(reward)
        if self._is_transition_shaped(reward):
            return xp.linalg.vecdot(self.continuation, reward)
        return xp.where(self.terminal[..., None], xp.zeros_like(reward), reward)

    def checked_reward(self, reward: Reward, name: str = "reward") -> Reward:
        """The reward in float64, of the shape it came in, checked.

        Raises:
            TypeError, ValueError: As `transition_reward`.
        """
        check_array(name, reward, like=self.transition)
        short, transition_shaped = (self.states, self.actions), self._is_transition_shaped(reward)
        if not transition_shaped and tuple(reward.shape[-2:]) != short:
            sizes = f"{self.states}, {self.actions}"
            expected = f"(*batch, {sizes}, {self.states}) or (*batch, {sizes})"
            raise ValueError(f"{name} has shape {tuple(reward.shape)}, expected {expected}")
        check_broadcast(**{name: tuple(reward.shape[: -3 if transition_shaped else -2]), "mdp": self.batch_shape})
        return check_finite(name, as_float64(reward))

    def checked_rewards(self, **rewards: Reward) -> list[Reward]:
        """As `checked_reward` for each of several rewards, under the names they are passed by; batches must broadcast.

        Raises:
            TypeError, ValueError: As `transition_reward`, or if the batches do not broadcast against one another.
        """
        checked = [self.checked_reward(reward, name) for name, reward in rewards.items()]
        batches = (tuple(r.shape[: -3 if self._is_transition_shaped(r) else -2]) for r in checked)
        check_broadcast(**dict(zip(rewards, batches, strict=True)), mdp=self.batch_shape)
        return checked

    def __getitem__(self, index: Any) -> "FiniteMDP":
        """The worlds at `index` of the batch, not checked again.

        Raises:
            IndexError: If the index reaches beyond the batch.
        """
        try:
            picked = tuple(self.initial[..., 0][index].shape)  # of one number a world, so that no index reaches further
        except IndexError:
            raise IndexError(f"index {index!r} does not fit a batch of shape {self.batch_shape}") from None
        part = object.__new__(FiniteMDP)
        for name in ("transition", "initial", "terminal"):
            object.__setattr__(part, name, getattr(self, name)[index])
        if tuple(part.transition.shape) != (*picked, self.states, self.actions, self.states):
            raise IndexError(f"index {index!r} counts from the end, expected one that counts from the first dimension")
        discount = self.discount if isinstance(self.discount, float) else self.discount[index]
        object.__setattr__(part, "discount", discount if np.ndim(discount) else float(discount))
        return part

    def with_discount(self, discount: Any) -> "FiniteMDP":
        """The same world with another discount."""
        return replace(self, discount=discount)

    @classmethod
    def random(
        cls,
        states: int = 32,
        actions: int = 4,
        *,
        discount: float = 0.95,
        batch: int | None = None,
        episodic: bool = False,
        clean: bool = False,
        rng: int | np.random.Generator = 0,
    ) -> "FiniteMDP":
        """Random sparse worlds as in the published study of reward distances.

        Args:
            states: Number of states.
            actions: Number of actions.
            discount: Discount factor.
            batch: Number of worlds, or None for one without a batch dimension.
            episodic: Make one random state of each world terminal.
            clean: Set the generator's residual probabilities (about 1e-10) to exactly 0.
            rng: Seed or generator; each world draws from a stream of its own.

        Source: `rewardlab.exact.random_transition`, which says how it is drawn.
        """
        from rewardlab.exact.random_mdp import random_transition

        transition, terminal = random_transition(states, actions, batch=batch, episodic=episodic, clean=clean, rng=rng)
        uniform = np.full(terminal.shape, 1 / states)
        return cls(transition, discount=discount, initial=uniform, terminal=terminal)

    def _is_transition_shaped(self, reward: Array) -> bool:
        return tuple(reward.shape[-3:]) == (self.states, self.actions, self.states)

    def _check_terminal_states_absorb(self) -> None:
        xp = array_namespace(self.transition)
        stays = xp.linalg.diagonal(xp.moveaxis(self.transition, -2, -3))  # (*batch, A, S): probability of staying
        leaves = self.terminal[..., None, :] & (stays < 1 - 1e-9)
        if bool(xp.any(leaves)):
            *batch, action, state = np.argwhere(to_numpy(leaves))[0].tolist()
            raise ValueError(
                f"terminal state {state}{f' of world {batch}' if batch else ''} is left by action {action}, "
                f"expected a self-loop with probability 1"
            )

    def _check_returns_are_finite(self) -> None:
        undiscounted = np.asarray(to_numpy(self.discount_for(1))) == 1
        if not np.any(undiscounted):
            return
        escapes = _states_that_can_avoid_termination(to_numpy(self.transition), to_numpy(self.terminal)) & undiscounted
        if escapes.any():
            raise ValueError(
                f"discount is 1 but a policy can stay away from terminal states for ever from state "
                f"{np.argwhere(escapes)[0][-1]}; expected a discount below 1, or a world where every policy terminates"
            )


def _field(value: Any, name: str, transition: Array) -> Array | None:
    """`value` checked for kind, library and shape `(*batch, S)` or `(S)`; None stays None."""
    if value is None:
        return None
    xp, shape = array_namespace(transition), tuple(transition.shape[:-2])
    check_array(name, value, like=transition)
    if tuple(value.shape) not in (shape, shape[-1:]):
        raise ValueError(f"{name} has shape {tuple(value.shape)}, expected {shape} to go with transition")
    return xp.broadcast_to(value, shape)


def _checked_terminal(value: Any, transition: Array) -> Array:
    xp = array_namespace(transition)
    terminal = _field(value, "terminal", transition)
    if terminal is None:
        return xp.zeros_like(transition[..., 0, 0], dtype=xp.bool)
    if terminal.dtype != xp.bool:
        raise TypeError(f"terminal has dtype {terminal.dtype}, expected bool (True where the episode ends)")
    return terminal


def _checked_initial(value: Any, transition: Array, terminal: Array) -> Array:
    xp = array_namespace(transition)
    initial = _field(value, "initial", transition)
    if initial is None:
        alive = xp.astype(~terminal, xp.float64)
        return alive / xp.sum(alive, axis=-1, keepdims=True)
    return check_distribution("initial", as_float64(initial), over="states")


def _checked_discount(value: Any, transition: Array) -> Any:
    """A float, or a float64 array of the batch shape in the library of `transition`."""
    batch = tuple(transition.shape[:-3])
    if not is_array(value) or value.ndim == 0:
        return float(check_scalar("discount", value if not is_array(value) else float(value), low=0, high=1))
    if tuple(value.shape) != batch:
        raise ValueError(f"discount has shape {tuple(value.shape)}, expected a number or the batch shape {batch}")
    check_finite("discount", check_array("discount", value, like=transition))
    xp = array_namespace(transition)
    if bool(xp.any((value < 0) | (value > 1))):
        position = np.argwhere(~to_numpy((value >= 0) & (value <= 1)))[0].tolist()
        raise ValueError(f"discount{position} is {to_numpy(value)[tuple(position)]}, expected a number in [0, 1]")
    return as_float64(value)


def _states_that_can_avoid_termination(transition: np.ndarray, terminal: np.ndarray) -> np.ndarray:
    """States from which some policy never terminates: the largest set that some action in each state never leaves."""
    trapped = ~terminal
    while True:
        leak = np.einsum("...sat,...t->...sa", transition, ~trapped)
        still = trapped & (leak <= 0).any(axis=-1)
        if (still == trapped).all():
            return trapped
        trapped = still
