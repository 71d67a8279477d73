"""What every finished game was worth, what it was paid beside, and whether it was paid to the right ones."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from rewardlab.intrinsic.annotation.annotators import OracleAnnotator
from rewardlab.intrinsic.interface import Arrivals, IntrinsicReward, Starts
from rewardlab.intrinsic.message_text import decode_message

__all__ = ["EPISODE_COLUMNS", "EpisodeLedger"]

EPISODE_COLUMNS = (
    "score",
    "return",
    "success",
    "depth",
    "length",
    "frozen_share",
    "places",
    "paid",
    "rightly_paid",
    "distinct_messages",
)


class EpisodeLedger:
    """An intrinsic reward that also keeps the books: paid by game, and how much of it for messages the rules approve.

    Rewards are those of the wrapped one, unchanged, before the coefficient. What a game was paid is known when its last
    step was learned from, because the reward is evaluated then.

    Args:
        intrinsic: Whose books these are; None: nothing is paid.
        environments: Games side by side.
        window: Games finished last that `means` is over.
        clock: Which feature of the observations is the game's clock; None: not known.
    """

    def __init__(self, intrinsic: IntrinsicReward | None, *, environments: int, window: int, clock: int | None = None):
        self.intrinsic, self.environments, self.clock = intrinsic, environments, clock
        self.episodes = 0
        self.last: deque[list[float]] = deque(maxlen=window)
        self._judge, self._known, self._good = OracleAnnotator(), {}, [False]
        self._seen: list[set[int]] = [set() for _ in range(environments)]
        self._places: list[set[bytes]] = [set() for _ in range(environments)]
        self._paid, self._right = np.zeros(environments), np.zeros(environments)
        self._frozen, self._steps = np.zeros(environments), np.zeros(environments)
        self._ids: list[np.ndarray] = []
        self._dones: list[np.ndarray] = []
        self._facts: dict[tuple[int, int], dict[str, float]] = {}
        self._rewards = np.zeros((0, environments))

    def begin(self, starts: Starts) -> None:
        """Games begin."""
        if self.intrinsic is not None:
            self.intrinsic.begin(starts)

    def observe(self, arrivals: Arrivals) -> None:
        """One step of all games."""
        if self.intrinsic is not None:
            self.intrinsic.observe(arrivals)
        ids = np.zeros(self.environments, dtype=np.int64)
        if arrivals.messages is not None:
            ids[arrivals.valid] = [self._id(message.tobytes()) for message in arrivals.messages[arrivals.valid]]
        for places, key, valid in zip(self._places, arrivals.keys or (), arrivals.valid.tolist(), strict=False):
            if valid:
                places.add(key)
        self._steps += 1
        if self.clock is not None:
            before, after = arrivals.observations[:, self.clock], arrivals.next_observations[:, self.clock]
            self._frozen += (before == after) & arrivals.valid
        self._ids.append(ids)
        self._dones.append(np.array(arrivals.dones))

    def finish(self, environment: int, facts: dict[str, float]) -> None:
        """A game ended with the step observed last; `facts` are its score, return, success, depth, length, ..."""
        steps, frozen = self._steps[environment], self._frozen[environment]
        kept = {
            "places": len(self._places[environment]),
            "frozen_share": np.nan if self.clock is None else frozen / max(steps, 1),
        }
        self._facts[len(self._dones) - 1, environment] = {**facts, **kept}
        self._places[environment] = set()
        self._steps[environment] = self._frozen[environment] = 0

    def rewards(self) -> np.ndarray:
        """`(steps, n)`, as the wrapped one has them."""
        shape = (len(self._dones), self.environments)
        self._rewards = np.zeros(shape) if self.intrinsic is None else np.asarray(self.intrinsic.rewards())
        return self._rewards

    def update(self) -> dict[str, float]:
        """Let the wrapped one learn, and close the books of the games that ended."""
        numbers = {} if self.intrinsic is None else self.intrinsic.update()
        right = self._rewards * np.array(self._good)[np.array(self._ids)] if self._ids else self._rewards
        for step, (ids, dones) in enumerate(zip(self._ids, self._dones, strict=True)):
            self._paid += self._rewards[step]
            self._right += right[step]
            for environment in range(self.environments):
                self._seen[environment].add(int(ids[environment]))
            for environment in np.flatnonzero(dones):
                self._close(int(environment), self._facts.get((step, int(environment)), {}))
        self._ids, self._dones, self._facts = [], [], {}
        return numbers

    def means(self) -> dict[str, float]:
        """Means over the last games, NaN before the first; `true_positive_share`: of what they were paid together."""
        rows = np.array(self.last, dtype=float).reshape(-1, len(EPISODE_COLUMNS))
        if not len(rows):
            return dict.fromkeys((*EPISODE_COLUMNS, "true_positive_share"), np.nan)
        found = dict(zip(EPISODE_COLUMNS, rows.mean(axis=0).tolist(), strict=True))
        found["true_positive_share"] = found["rightly_paid"] / found["paid"] if found["paid"] > 0 else np.nan
        return found

    @property
    def messages(self) -> int:
        """Distinct messages of the whole run, the empty one not counted."""
        return len(self._good) - 1

    def state_dict(self) -> dict[str, Any]:
        """All but the games in progress, which begin anew when a run goes on."""
        return {
            "intrinsic": None if self.intrinsic is None else self.intrinsic.state_dict(),
            "episodes": self.episodes,
            "last": [list(row) for row in self.last],
            "known": [raw.decode("latin-1") for raw in self._known],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        if self.intrinsic is not None:
            self.intrinsic.load_state_dict(state["intrinsic"])
        self.episodes = state["episodes"]
        self.last.clear()
        self.last.extend(state["last"])
        self._known, self._good = {}, [False]
        for text in state["known"]:
            self._id(text.encode("latin-1"))

    def close(self) -> None:
        """Let go of the wrapped one's processes and files."""
        if self.intrinsic is not None:
            self.intrinsic.close()

    def _id(self, raw: bytes) -> int:
        """0 of the empty message, else a number of its own."""
        found = self._known.get(raw)
        if found is None:
            text = decode_message(raw)
            found = self._known[raw] = len(self._good) if text else 0
            if text:
                self._good.append(bool(self._judge.annotate([text])[0]))
        return found

    def _close(self, environment: int, facts: dict[str, float]) -> None:
        books = {
            "paid": float(self._paid[environment]),
            "rightly_paid": float(self._right[environment]),
            "distinct_messages": len(self._seen[environment] - {0}),
        }
        row: Sequence[float] = [float({**facts, **books}.get(name, np.nan)) for name in EPISODE_COLUMNS]
        self.last.append(list(row))
        self.episodes += 1
        self._paid[environment] = self._right[environment] = 0.0
        self._seen[environment] = set()
