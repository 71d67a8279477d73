"""What an intrinsic reward is shown of the steps of a Stable-Baselines3 vector: messages, keys, encodings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from gymnasium import spaces

from rewardlab.adapters.episode_ends import vec_env_ends
from rewardlab.intrinsic.interface import Arrivals, Starts
from rewardlab.observations import count_rows, snapshot, take

__all__ = ["BLANK", "OfObservations", "Views"]

BLANK = "blank_observation"  # the key in `info` of a step whose last state the game did not show
_MESSAGE = "message"

OfObservations: TypeAlias = Callable[[Any], Any]
"""A function of a batch of observations, one row for each environment."""


@dataclass(frozen=True, eq=False)
class _RowKeys(Sequence):
    """The bytes of each observation, made when they are asked for: most intrinsic rewards never ask."""

    observations: Any

    def __len__(self) -> int:
        return count_rows(self.observations)

    def __getitem__(self, index: int) -> bytes:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return _row_bytes(self.observations, index)


class Views:
    """Turns observations into `Starts` and `Arrivals`.

    Args:
        venv: The vector. With methods `starts()` and `arrivals()`, which return what the last reset and the last step
            led to, it is asked; what it leaves None is read from the observations.
        messages: Function of a batch of observations that returns (rows, 256) bytes. Left out: the entry "message" of
            dict observations, where it is bytes.
        keys: Function of a batch that returns one hashable state a row. Left out: the bytes of the whole observation.
        encoding: Function of a batch that returns an array with one row each. Left out: the observations, where they
            are arrays.

    Raises:
        TypeError: If a function is none.
        ValueError: If the vector has only one of the two methods.
    """

    def __init__(
        self,
        venv: Any,
        messages: OfObservations | None = None,
        keys: OfObservations | None = None,
        encoding: OfObservations | None = None,
    ) -> None:
        for name, function in (("messages", messages), ("keys", keys), ("encoding", encoding)):
            if function is not None and not callable(function):
                raise TypeError(f"{name}: expected a function of a batch of observations, got {function!r}")
        self._starts, self._arrivals = getattr(venv, "starts", None), getattr(venv, "arrivals", None)
        if (self._starts is None) != (self._arrivals is None):
            has, lacks = ("starts", "arrivals") if self._arrivals is None else ("arrivals", "starts")
            raise ValueError(f"the vector of environments has {has}() but no {lacks}(); expected both or neither")
        self._given = {
            name for name, function in (("messages", messages), ("keys", keys), ("encoding", encoding)) if function
        }
        self._messages = messages or _messages_of(venv.observation_space)
        self._keys = keys or _RowKeys
        self._encoding = encoding or _encoding_of(venv.observation_space)
        self._before: np.ndarray | None = None

    def begin(self, observations: Any, environments: np.ndarray) -> Starts:
        """What episodes begin with in these environments, of a batch of observations of all of them."""
        rows = observations if len(environments) == count_rows(observations) else take(observations, environments)
        shown = Starts(environments=environments)
        if self._starts is not None:
            shown = self._starts()
            if not np.array_equal(shown.environments, environments):
                raise ValueError(
                    f"starts() of the vector says that episodes began in environments "
                    f"{np.asarray(shown.environments).tolist()}, "
                    f"expected {environments.tolist()}"
                )
        self._before = self._encoded(observations)
        return replace(shown, **self._missing(shown, rows))

    def arrive(self, actions: np.ndarray, observations: Any, dones: np.ndarray, infos: list[dict]) -> Arrivals:
        """What a step led to; where an episode ended its last state, not the first of the next."""
        ended = True in dones.tolist()
        arrived = vec_env_ends(observations, dones, infos)[0] if ended else observations
        if self._arrivals is not None:
            shown = self._arrivals()
        else:
            valid = np.ones(len(dones), dtype=bool)
            for i in np.flatnonzero(dones).tolist() if ended else ():
                valid[i] = not infos[i].get(BLANK, False)
            shown = Arrivals(dones=dones.copy(), valid=valid)
        if (shown.observations is None) != (shown.next_observations is None):
            has, lacks = ("observations", "next_observations")[:: 1 if shown.next_observations is None else -1]
            raise ValueError(f"arrivals() of the vector gives {has} but no {lacks}; expected both or neither")
        values = self._missing(shown, arrived)
        if shown.actions is None:
            values["actions"] = snapshot(np.asarray(actions))
        if shown.observations is None or "encoding" in self._given:
            values["observations"] = self._before
        if shown.next_observations is None or "encoding" in self._given:
            values["next_observations"] = self._encoded(arrived)
        self._before = values.get("next_observations")  # where an episode ended, `begin` puts the first of the next
        return replace(shown, **values) if values else shown  # a copy of nothing new takes a sixth of the wrapper

    def _missing(self, shown: Starts | Arrivals, rows: Any) -> dict[str, Any]:
        values: dict[str, Any] = {}
        if self._messages is not None and (shown.messages is None or "messages" in self._given):
            values["messages"] = _as_messages(self._messages(rows), count_rows(rows))
        if shown.keys is None or "keys" in self._given:
            values["keys"] = self._keys(rows)
        return values

    def _encoded(self, observations: Any) -> np.ndarray | None:
        return None if self._encoding is None else snapshot(np.asarray(self._encoding(observations)))


def _messages_of(space: spaces.Space) -> OfObservations | None:
    if not isinstance(space, spaces.Dict) or _MESSAGE not in space.spaces:
        return None
    entry = space[_MESSAGE]
    is_text = isinstance(entry, spaces.Box) and entry.dtype == np.uint8 and len(entry.shape) == 1
    return (lambda observations: observations[_MESSAGE]) if is_text else None


def _encoding_of(space: spaces.Space) -> OfObservations | None:
    return None if isinstance(space, spaces.Dict | spaces.Tuple) else lambda observations: observations


def _as_messages(messages: Any, rows: int) -> np.ndarray:
    messages = np.asarray(messages)
    if messages.dtype != np.uint8 or messages.ndim != 2 or len(messages) != rows:
        raise ValueError(
            f"messages have dtype {messages.dtype} and shape {messages.shape}, expected uint8 bytes of shape "
            f"({rows}, 256); a wrapper that changes observations, such as VecNormalize, belongs outside"
        )
    return messages


def _row_bytes(observation: Any, index: int) -> bytes:
    if isinstance(observation, Mapping):
        return b"".join(_row_bytes(observation[key], index) for key in sorted(observation))
    if isinstance(observation, tuple):
        return b"".join(_row_bytes(part, index) for part in observation)
    return np.asarray(observation[index]).tobytes()
