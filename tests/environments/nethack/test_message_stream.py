"""The random player's messages: the same seed gives the same stream, and counts are those of each game."""

import numpy as np
import pytest

from environments.nethack.games import make_game
from environments.nethack.message_stream import play_at_random
from rewardlab.intrinsic.message_text import decode_message


def test_the_same_seed_gives_the_same_stream():
    first, again, other = (play_at_random(400, seed=seed) for seed in (3, 3, 4))
    assert first.texts == again.texts
    for name in ("ids", "counts", "episodes"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert first.texts != other.texts
    assert len(first) == 400


def test_the_stream_is_what_the_game_says():
    """Against the game played by hand, over several ends of games."""
    steps, seed = 4000, 5
    stream = play_at_random(steps, seed=seed)
    game, keys = make_game("score", prompts="open"), np.random.default_rng(seed).integers(23, size=steps)
    observation, _ = game.reset(seed=seed)
    said, episode, blanks = [observation["message"].tobytes()], 0, 0
    for step, key in enumerate(keys):
        observation, _, terminated, truncated, info = game.step(int(key))
        message = observation["message"].tobytes()
        assert stream.episodes[step] == episode
        if info["blank_observation"]:
            blanks += 1
            assert (stream.ids[step], stream.counts[step]) == (0, 0)
        else:
            said.append(message)
            assert stream.texts[stream.ids[step]] == decode_message(message)
            assert stream.counts[step] == said.count(message)
        if terminated or truncated:
            observation, _ = game.reset()
            said, episode = [observation["message"].tobytes()], episode + 1
    game.close()
    assert blanks >= 1
    assert episode >= 1
    assert stream.texts[0] == ""


def test_bad_input():
    with pytest.raises(ValueError, match="steps is 0"):
        play_at_random(0, seed=0)
    with pytest.raises(ValueError, match="task"):
        play_at_random(1, seed=0, task="chess")
