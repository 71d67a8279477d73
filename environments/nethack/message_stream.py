"""What NetHack says to a player who presses keys at random: a stream of messages to try reward models on."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from environments.nethack.games import make_game
from rewardlab.checks import check_scalar
from rewardlab.intrinsic.message_counts import MessageCounts
from rewardlab.intrinsic.message_text import MessageTable

__all__ = ["MessageStream", "play_at_random"]


@dataclass(frozen=True, eq=False)
class MessageStream:
    """Messages of consecutive steps, game after game.

    Attributes:
        texts: The distinct messages; the first is the empty one.
        ids: Place in `texts` of the message that each step led to; 0 where nothing was seen (a game's last screen).
        counts: How often the game had shown that message by then, the first screen included; 0 where nothing was seen.
        episodes: Number of the game that each step belongs to, from 0.
    """

    texts: list[str]
    ids: Int[np.ndarray, " steps"]
    counts: Int[np.ndarray, " steps"]
    episodes: Int[np.ndarray, " steps"]

    def __len__(self) -> int:
        return len(self.ids)


def play_at_random(steps: int, *, seed: int, task: str = "score", prompts: str = "open") -> MessageStream:
    """Messages of a player who presses each of the task's keys with equal probability.

    Args:
        steps: To play; the last game is cut there.
        seed: Of the games and of the keys.
        task: See `make_game`.
        prompts: See `make_game`; "open" leaves questions standing until a key happens to answer, as NLE does.

    Raises:
        ValueError: If the number of steps is below 1, or there is no such task.
    """
    steps = check_scalar("steps", steps, low=1, whole=True)
    game = make_game(task, prompts=prompts)
    keys = np.random.default_rng(seed).integers(game.action_space.n, size=steps).tolist()
    table, counting = MessageTable(), MessageCounts(1)
    ids, counts, episodes = np.zeros((3, steps), dtype=np.int64)
    episode, over, first_seed = -1, True, seed
    try:
        for step, key in enumerate(keys):
            if over:
                observation, _ = game.reset(seed=first_seed)
                episode, first_seed = episode + 1, None
                counting.begin([0])
                counting.see(0, table.lookup(observation["message"][None])[0])
            observation, _, terminated, truncated, info = game.step(key)
            over = terminated or truncated
            episodes[step] = episode
            if not info["blank_observation"]:
                ids[step] = table.lookup(observation["message"][None])[0]
                counts[step] = counting.see(0, int(ids[step]))
    finally:
        game.close()
    return MessageStream(table.texts, ids, counts, episodes)
