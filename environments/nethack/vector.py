"""Several games in one process, as a vector of environments for Stable-Baselines3."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gymnasium
import numpy as np

try:
    from stable_baselines3.common.vec_env import VecEnv
except ModuleNotFoundError as error:
    if error.name != "stable_baselines3":
        raise
    raise ModuleNotFoundError(
        "NetHackVecEnv needs Stable-Baselines3: pip install 'rewardlab[nethack]'", name=error.name
    ) from error

from environments.nethack.encoding import COLUMNS, ROWS, Encoder
from environments.nethack.potentials import HISTORY, History
from rewardlab.adapters.step_signals import COMBINED, RAW, SHAPING
from rewardlab.checks import check_scalar
from rewardlab.intrinsic.interface import Arrivals, Starts
from rewardlab.observations import take
from rewardlab.shaping.running import RunningBatchShaping

__all__ = ["NetHackVecEnv", "StateKeys"]

_SCORE, _DEPTH, _TIME = 9, 12, 20
_LARGEST_SEED = 2**31


class StateKeys(Sequence[bytes]):
    """The states of several games for counting: level and place of the player, packed when first looked at.

    Args:
        blstats: Status lines (n, 27), not changed afterwards.
    """

    def __init__(self, blstats: np.ndarray) -> None:
        self._blstats = blstats
        self._keys: list[bytes] | None = None

    def codes(self) -> np.ndarray:
        """One number (n,) int64 for each state."""
        x, y, dungeon, level = self._blstats[:, (0, 1, 23, 24)].T
        return ((dungeon << 16 | level) << 16 | y) << 16 | x

    def __len__(self) -> int:
        return len(self._blstats)

    def __getitem__(self, index: Any) -> Any:
        return self._packed()[index]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._packed())

    def _packed(self) -> list[bytes]:
        if self._keys is None:
            packed = self.codes().tobytes()
            self._keys = [packed[at : at + 8] for at in range(0, len(packed), 8)]
        return self._keys


class NetHackVecEnv(VecEnv):
    """Several games in one process, their observations encoded all at once.

    Pipes between processes cost more than the game itself, so there is one process. Every episode is a new game, whose
    seed is drawn from its environment's own generator: the same seed gives the same games, and what one environment
    plays does not depend on the others. `state_dict` keeps those generators: a resumed training plays the next games of
    the sequence; the games that were under way do not go on, they are left for new ones.

    At the end of an episode an environment's info holds "terminal_observation", "TimeLimit.truncated", "episode" with
    the return "r" and length "l" as of `Monitor`, and under "game" the score, greatest depth and turns of the game,
    beside what the game says itself. With shaping every info holds the parts of the reward, and "r" stays the unshaped
    return.

    Args:
        make_game: Makes the game of one environment, given no arguments: `functools.partial(make_game, "score")`.
            Its observations hold "chars", "blstats", "message", and "glyphs" where shaping needs them.
        environments: How many, at least 1.
        seed: Of all games. `seed` of this object, which an algorithm with a seed calls, sets it anew.
        crop: As in `Encoder`.
        with_visits: As there.
        with_message: Whether observations are dicts: "features" as otherwise, and the bytes of the "message".
        shaping: A potential of the games' own observations (n, ...), its discount and what becomes of it at cuts, as
            in `RunningBatchShaping`; None for none. Observations hold "history" as `EpisodeHistory` gives it.

    Raises:
        TypeError, ValueError: If an argument is not what is said above.

    Example:
        >>> from functools import partial
        >>> from environments.nethack.games import make_game
        >>> venv = NetHackVecEnv(partial(make_game, "score"), 2, seed=0)
        >>> venv.reset().shape
        (2, 1084)
    """

    def __init__(
        self,
        make_game: Callable[[], gymnasium.Env],
        environments: int,
        *,
        seed: int,
        crop: int = 9,
        with_visits: bool = True,
        with_message: bool = False,
        shaping: RunningBatchShaping | None = None,
    ) -> None:
        count = check_scalar("environments", environments, low=1, whole=True)
        if not callable(make_game):
            raise TypeError(f"make_game: expected a function that makes a game, got {type(make_game).__name__}")
        if shaping is not None and not isinstance(shaping, RunningBatchShaping):
            raise TypeError(f"shaping: expected a RunningBatchShaping or None, got {type(shaping).__name__}")
        self.games = [make_game() for _ in range(count)]
        actions = self.games[0].action_space
        self.encoder = Encoder(count, int(actions.n), crop=crop, with_visits=with_visits)
        box = gymnasium.spaces.Box(-np.inf, np.inf, (self.encoder.features,), np.float32)
        if with_message:
            message = gymnasium.spaces.Box(0, 255, (256,), np.uint8)
            box = gymnasium.spaces.Dict({"features": box, "message": message})
        super().__init__(count, box, actions)
        self.shaping, self._with_message = shaping, with_message
        self._history = None if shaping is None else History(count)
        self.seed(seed)
        self._chars = self.encoder.chars
        self._glyphs = np.zeros((count, ROWS, COLUMNS), dtype=np.int16)
        self._blstats = np.zeros((count, 27), dtype=np.int64)
        self._messages = np.zeros((count, 256), dtype=np.uint8)
        self._everyone = np.arange(count)
        self._features = np.zeros((count, self.encoder.features), dtype=np.float32)
        self._actions = np.zeros(count, dtype=np.int64)
        self._returns, self._lengths = np.zeros(count), np.zeros(count, dtype=np.int64)
        self._depths = np.zeros(count, dtype=np.int64)
        self._begun_at = time.perf_counter()
        self._arrivals: Arrivals | None = None
        self._starts: Starts | None = None

    def seed(self, seed: int | None = None) -> list[int | None]:
        """Set the sequences of games from the next episodes on; None changes nothing."""
        if seed is not None:
            check_scalar("seed", seed, low=0, whole=True)
            sequences = np.random.SeedSequence(seed).spawn(self.num_envs)
            self._generators = [np.random.default_rng(each) for each in sequences]
        return [seed] * self.num_envs

    def reset(self) -> Any:
        """Begin an episode in every environment."""
        self._features, self._arrivals = self._begin(self._everyone), None
        return self._shown()

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = np.asarray(actions, dtype=np.int64).reshape(self.num_envs)

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Play a step of every game, and begin a new episode where one ended."""
        before, actions = self._features, self._actions
        rewards, ended = self._play(actions)
        dones, truncated, valid = np.zeros((3, self.num_envs), dtype=bool)
        valid[:] = True
        for i, cut, info in ended:
            dones[i], truncated[i], valid[i] = True, cut, not info.get("blank_observation", False)
        seen = None if valid.all() else valid
        features = self.encoder.encode({"chars": self._chars, "blstats": self._blstats}, actions, seen=seen)
        self._arrivals = Arrivals(
            observations=before,
            actions=actions,
            next_observations=features,
            messages=self._messages,
            keys=StateKeys(self._blstats),
            dones=dones,
            valid=valid,
        )
        self._returns += rewards
        self._lengths += 1
        np.maximum(self._depths, self._blstats[:, _DEPTH], out=self._depths)
        infos: list[dict[str, Any]] = [{} for _ in self.games]
        if self.shaping is not None:
            rewards = self._shaped(rewards, dones, truncated, valid, infos)
        for i, cut, info in ended:
            infos[i] |= self._ending(i, cut, info, features)
        self._starts = None
        if ended:
            rows, features = np.flatnonzero(dones), features.copy()
            features[rows] = self._begin(rows)
        self._features = features
        return self._shown(), rewards.astype(np.float32), dones, infos

    def arrivals(self) -> Arrivals:
        """What the last step led to: the last states of finished episodes, never the first of the next.

        Raises:
            RuntimeError: If there was no step since the reset.
        """
        if self._arrivals is None:
            raise RuntimeError("arrivals: no step since the reset")
        return self._arrivals

    def starts(self) -> Starts | None:
        """The episodes that began with the last reset or step; None where none did."""
        return self._starts

    def state_dict(self) -> dict[str, Any]:
        """The sequences of games: plain dicts, strings and numbers. The games under way are not in it."""
        return {"generators": [generator.bit_generator.state for generator in self._generators]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the sequences of games from the next episodes on; call `reset` next.

        Raises:
            ValueError: If they are of another number of environments.
        """
        states = state["generators"]
        if len(states) != self.num_envs:
            raise ValueError(f"the state is of {len(states)} environments, expected {self.num_envs}")
        for generator, kept in zip(self._generators, states, strict=True):
            generator.bit_generator.state = kept

    def close(self) -> None:
        """End all games."""
        for game in self.games:
            game.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of the games; "shaping_settings" are this vector's own where it shapes."""
        if attr_name == "shaping_settings" and self.shaping is not None:
            return [self.shaping.settings for _ in self._get_indices(indices)]
        return [self.games[i].get_wrapper_attr(attr_name) for i in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the games."""
        for i in self._get_indices(indices):
            self.games[i].set_wrapper_attr(attr_name, value)

    def env_method(self, method_name: str, *method_args, indices: Any = None, **method_kwargs) -> list[Any]:
        """Call a method of the games."""
        found = [self.games[i].get_wrapper_attr(method_name) for i in self._get_indices(indices)]
        return [method(*method_args, **method_kwargs) for method in found]

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Whether the games are wrapped so."""
        from stable_baselines3.common.env_util import is_wrapped

        return [is_wrapped(self.games[i], wrapper_class) for i in self._get_indices(indices)]

    def _play(self, actions: np.ndarray) -> tuple[np.ndarray, list[tuple[int, bool, dict[str, Any]]]]:
        """Step every game; returns the rewards, and where episodes ended, whether they were cut, what the games say."""
        # new arrays, because those of the last step may be kept by whoever asked for them
        self._blstats, self._messages = np.empty_like(self._blstats), np.empty_like(self._messages)
        rewards, ended = np.empty(self.num_envs), []
        for i, (game, action) in enumerate(zip(self.games, actions.tolist(), strict=True)):
            observation, rewards[i], terminated, truncated, info = game.step(action)
            self._show(i, observation)
            if terminated or truncated:
                ended.append((i, not terminated, info))
        return rewards, ended

    def _show(self, i: int, observation: dict[str, np.ndarray]) -> None:
        """A game shows this."""
        self._chars[i] = observation["chars"]
        self._blstats[i] = observation["blstats"]
        self._messages[i] = observation["message"]
        if self.shaping is not None:
            self._glyphs[i] = observation["glyphs"]

    def _begin(self, rows: np.ndarray) -> np.ndarray:
        """Begin episodes in these environments; returns their first features."""
        self._blstats, self._messages = self._blstats.copy(), self._messages.copy()  # others may keep those before
        for i in rows.tolist():
            self._show(i, self.games[i].reset(seed=int(self._generators[i].integers(_LARGEST_SEED)))[0])
        self._returns[rows] = self._lengths[rows] = 0
        self._depths[rows] = self._blstats[rows, _DEPTH]
        self.encoder.begin(rows)
        if self.shaping is not None:
            self._history.begin(rows)
            self._history.arrive(take(self._raw(), rows), rows)
            self.shaping.begin(self._raw(), None if len(rows) == self.num_envs else rows)
        blstats, messages = self._blstats[rows], self._messages[rows]
        self._starts = Starts(environments=rows, messages=messages, keys=StateKeys(blstats))
        first = {"chars": self._chars[rows], "blstats": blstats}
        return self.encoder.encode(first, np.full(len(rows), -1), rows)

    def _raw(self) -> dict[str, np.ndarray]:
        """The games' own observations, with the histories, as potentials see them."""
        shown = {"glyphs": self._glyphs, "chars": self._chars, "blstats": self._blstats, "message": self._messages}
        return {**shown, HISTORY: self._history.so_far(self._everyone)}

    def _shaped(self, rewards: Any, dones: Any, truncated: Any, valid: Any, infos: list[dict[str, Any]]) -> np.ndarray:
        """The rewards with the shaping, whose parts go into the infos."""
        rows = np.flatnonzero(valid)
        self._history.arrive(take(self._raw(), rows), rows)
        added = self.shaping.step(self._raw(), dones & ~truncated, truncated)
        shaped = rewards + added
        for info, *parts in zip(infos, rewards.tolist(), added.tolist(), shaped.tolist(), strict=True):
            info[RAW], info[SHAPING], info[COMBINED] = parts
        return shaped

    def _ending(self, i: int, cut: bool, info: dict[str, Any], features: np.ndarray) -> dict[str, Any]:
        """What an info holds where an episode ended."""
        blstats = self._blstats[i]
        shown = {"features": features[i], "message": self._messages[i].copy()} if self._with_message else features[i]
        return {
            **info,
            "terminal_observation": shown,
            "TimeLimit.truncated": cut,
            "episode": {
                "r": float(self._returns[i]),
                "l": int(self._lengths[i]),
                "t": round(time.perf_counter() - self._begun_at, 6),
            },
            "game": {
                "score": int(blstats[_SCORE]),
                "maximal_depth": int(self._depths[i]),
                "turns": int(blstats[_TIME]),
            },
        }

    def _shown(self) -> Any:
        """What the learner sees."""
        return {"features": self._features, "message": self._messages} if self._with_message else self._features
