"""Episodes of many policies at once in a finite world: one vector operation a step, however many learners there are."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from rewardlab.checks import as_generator, check_array, check_broadcast, check_distribution, check_finite, check_scalar
from rewardlab.exact.mdp import FiniteMDP, Reward

__all__ = ["EpisodeSampler", "TabularEpisodes"]


@dataclass(frozen=True, eq=False)
class TabularEpisodes:
    """What happened: episodes of `runs` policies, padded to the horizon.

    Attributes:
        mdp: The world.
        states: State at each step and after the last, `(*runs, episodes, steps + 1)`; in the padding, the terminal
            state that the episode ended in.
        actions: Action taken, `(*runs, episodes, steps)`; 0 in the padding.
        mask: True where a step was taken, `(*runs, episodes, steps)`; where the episode was cut off at the horizon,
            that is everywhere.
    """

    mdp: FiniteMDP
    states: Int[np.ndarray, "*runs episodes steps_and_one"]
    actions: Int[np.ndarray, "*runs episodes steps"]
    mask: Bool[np.ndarray, "*runs episodes steps"]

    @property
    def runs(self) -> tuple[int, ...]:
        """Batch shape: one policy an element."""
        return self.states.shape[:-2]

    @property
    def ended(self) -> Bool[np.ndarray, "*runs episodes"]:
        """Whether the episode reached a terminal state, rather than the horizon."""
        return self.at_states(self.mdp.terminal)[..., -1]

    def rewards(self, reward: Reward) -> Float[np.ndarray, "*runs episodes steps"]:
        """The reward of every step, 0 in the padding; `reward` has a batch that broadcasts to that of the runs.

        Raises:
            TypeError, ValueError: If the reward does not fit the world, or its batch not that of the runs.
        """
        reward = self.mdp.transition_reward(reward)
        batch, size = reward.shape[:-3], self.mdp.states * self.mdp.actions * self.mdp.states
        row = self._rows(batch, "reward") * size
        inside = (self.states[..., :-1] * self.mdp.actions + self.actions) * self.mdp.states + self.states[..., 1:]
        return np.where(self.mask, reward.reshape(-1)[row + inside], 0.0)

    def potentials(self, potential: Float[np.ndarray, "*#runs s"]) -> Float[np.ndarray, "*runs episodes steps_and_one"]:
        """The potential of every state visited, 0 from the end of the episode on.

        Raises:
            TypeError, ValueError: If the potential is no array, of another shape or not finite.
        """
        check_finite("potential", check_array("potential", potential, like=self.mdp.transition))
        if potential.shape[-1:] != (self.mdp.states,):
            raise ValueError(f"potential has shape {potential.shape}, expected (*runs, {self.mdp.states})")
        return self.at_states(np.where(self.mdp.terminal, 0.0, potential))

    def at_states(self, table: Shaped[np.ndarray, "*#runs s"]) -> Shaped[np.ndarray, "*runs episodes steps_and_one"]:
        """The entry of the table for every state visited, the last and those in the padding too."""
        return table.reshape(-1)[self._rows(table.shape[:-1], "table") * self.mdp.states + self.states]

    def state_sums(self, weights: Float[np.ndarray, "*runs episodes steps"]) -> Float[np.ndarray, "*runs s"]:
        """Sum of the weights of all steps of a run that start from each state; those in the padding do not count."""
        return self._sums(self.states[..., :-1], weights, self.mdp.states)

    def state_action_sums(self, weights: Float[np.ndarray, "*runs episodes steps"]) -> Float[np.ndarray, "*runs s a"]:
        """As `state_sums`, of the steps that take each action there."""
        actions = self.mdp.actions
        sums = self._sums(self.states[..., :-1] * actions + self.actions, weights, self.mdp.states * actions)
        return sums.reshape(*self.runs, self.mdp.states, actions)

    def _sums(self, place: np.ndarray, weights: np.ndarray, size: int) -> np.ndarray:
        place = self._rows(self.runs, "runs") * size + place
        sums = np.bincount(place.ravel(), np.where(self.mask, weights, 0.0).ravel(), math.prod(self.runs) * size)
        return sums.reshape(*self.runs, size)

    def _rows(self, batch: tuple[int, ...], name: str) -> np.ndarray:
        """Which element of a batch each run uses, with dimensions for episodes and steps."""
        if check_broadcast(**{name: batch}, episodes=self.runs) != self.runs:
            raise ValueError(f"{name} has a batch of shape {batch}, expected one that broadcasts to {self.runs}")
        return _rows(batch, self.runs).reshape(*self.runs, 1, 1)


class EpisodeSampler:
    """Draws episodes in one world, or a batch of worlds, by looking up thresholds that are computed once.

    Args:
        mdp: World, in NumPy; its batch broadcasts against that of the policies.

    Raises:
        TypeError: If the world is in torch.

    Example:
        >>> import numpy as np
        >>> from rewardlab.exact import gridworld, uniform_policy
        >>> corridor = gridworld("S.G").mdp
        >>> found = EpisodeSampler(corridor).sample(uniform_policy(corridor), episodes=3, horizon=30, rng=0)
        >>> found.states.shape, found.ended.tolist()
        ((3, 31), [True, True, True])
    """

    def __init__(self, mdp: FiniteMDP) -> None:
        if not isinstance(mdp.transition, np.ndarray):
            raise TypeError(f"mdp holds {type(mdp.transition).__name__}s, expected NumPy arrays")
        self.mdp = mdp
        self._initial = _table(mdp.initial)
        successors = int((mdp.transition > 0).sum(axis=-1).max())
        likeliest = np.argsort(-mdp.transition, axis=-1, kind="stable")[..., :successors]
        self._successor = likeliest.reshape(-1, successors)
        self._thresholds = _table(np.take_along_axis(mdp.transition, likeliest, axis=-1))
        self._terminal = mdp.terminal.reshape(-1)

    def sample(
        self,
        policy: Float[np.ndarray, "*policies s a"],
        *,
        episodes: int,
        horizon: int,
        rng: int | np.random.Generator,
    ) -> TabularEpisodes:
        """Independent episodes of every policy.

        Args:
            policy: Action probabilities.
            episodes: How many of each policy in each world, at least 1.
            horizon: Steps after which an episode is cut off, at least 1.
            rng: Seed or generator.

        Raises:
            TypeError, ValueError: If a number is out of range or the policy does not fit the world.
        """
        check_scalar("episodes", episodes, low=1, whole=True)
        check_scalar("horizon", horizon, low=1, whole=True)
        policy = self._checked(policy)
        runs = np.broadcast_shapes(policy.shape[:-2], self.mdp.batch_shape)
        return self.replay(policy, as_generator(rng).random((*runs, episodes, horizon + 1, 2)))

    def replay(
        self, policy: Float[np.ndarray, "*policies s a"], draws: Float[np.ndarray, "*draws episodes steps_and_one 2"]
    ) -> TabularEpisodes:
        """The episodes that these draws make: learners that share them differ by what they do, not by luck.

        Args:
            policy: Action probabilities.
            draws: Numbers in [0, 1). The first row of an episode decides where it starts; of each later one the first
                number decides the action and the second what comes of it.

        Returns:
            Episodes whose runs are the broadcast of policies, draws and worlds.

        Raises:
            TypeError, ValueError: If a draw is outside [0, 1), shapes do not fit, or the policy not the world.
        """
        policy, draws = self._checked(policy), _checked_draws(draws)
        runs = check_broadcast(policy=policy.shape[:-2], draws=draws.shape[:-3], mdp=self.mdp.batch_shape)
        episodes, horizon, (states, actions) = draws.shape[-3], draws.shape[-2] - 1, policy.shape[-2:]
        choice = _table(policy)
        # of each episode of each run: where its policy, its world and its draws are
        acting, world = (
            np.repeat(_rows(b, runs), episodes) * states for b in (policy.shape[:-2], self.mdp.batch_shape)
        )
        drawn = (_rows(draws.shape[:-3], runs)[:, None] * episodes + np.arange(episodes)).ravel()
        draws = np.ascontiguousarray(np.moveaxis(draws.reshape(-1, horizon + 1, 2), 0, -1))
        visited, taken = np.empty((horizon + 1, drawn.size), int), np.zeros((horizon, drawn.size), int)
        visited[0] = (draws[0, 0, drawn, None] >= self._initial[world // states]).sum(-1)
        alive = np.flatnonzero(~self._terminal[world + visited[0]])
        for step in range(horizon):
            here, luck = visited[step, alive], draws[step + 1][:, drawn[alive]]
            action = (luck[0, :, None] >= choice[acting[alive] + here]).sum(-1)
            row = (world[alive] + here) * actions + action
            reached = self._successor[row, (luck[1, :, None] >= self._thresholds[row]).sum(-1)]
            visited[step + 1] = visited[step]
            visited[step + 1, alive], taken[step, alive] = reached, action
            alive = alive[~self._terminal[world[alive] + reached]]
        mask = ~self._terminal[world + visited[:-1]]
        shape = (*runs, episodes, -1)
        return TabularEpisodes(self.mdp, *(np.ascontiguousarray(p.T).reshape(shape) for p in (visited, taken, mask)))

    def _checked(self, policy: np.ndarray) -> np.ndarray:
        check_array("policy", policy, like=self.mdp.transition)
        if policy.shape[-2:] != (self.mdp.states, self.mdp.actions):
            expected = f"(*policies, {self.mdp.states}, {self.mdp.actions})"
            raise ValueError(f"policy has shape {policy.shape}, expected {expected}")
        check_broadcast(policy=policy.shape[:-2], mdp=self.mdp.batch_shape)
        return check_distribution("policy", policy.astype(float, copy=False), over="actions")


def _table(probabilities: np.ndarray) -> np.ndarray:
    """What a draw must reach to move on to the next outcome, one row a distribution.

    It is 1, which no draw reaches, from the last possible outcome on: the sum of probabilities may fall short of it.
    """
    probabilities = probabilities.reshape(math.prod(probabilities.shape[:-1]), -1)
    follows = np.cumsum(probabilities[:, :0:-1], axis=-1)[:, ::-1]
    return np.where(follows > 0, np.cumsum(probabilities[:, :-1], axis=-1), 1.0)


def _rows(batch: tuple[int, ...], runs: tuple[int, ...]) -> np.ndarray:
    """Which element of a batch each of the runs uses, laid out flat."""
    return np.broadcast_to(np.arange(math.prod(batch)).reshape(batch), runs).reshape(-1)


def _checked_draws(draws: np.ndarray) -> np.ndarray:
    check_finite("draws", check_array("draws", draws))
    if draws.ndim < 3 or draws.shape[-1] != 2 or draws.shape[-2] < 2 or draws.shape[-3] < 1:
        raise ValueError(f"draws has shape {draws.shape}, expected (*runs, episodes, horizon + 1, 2)")
    if (draws < 0).any() or (draws >= 1).any():
        place = np.argwhere((draws < 0) | (draws >= 1))[0]
        raise ValueError(f"draws{place.tolist()} is {draws[tuple(place)]:g}, expected a number in [0, 1)")
    return draws
