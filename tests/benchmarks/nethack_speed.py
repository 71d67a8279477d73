"""NetHack and its intrinsic rewards, against gymnasium's own NLE in the same process, on one thread.

    JAXTYPING_DISABLE=1 python -m tests.benchmarks.nethack_speed
    JAXTYPING_DISABLE=1 python -m tests.benchmarks.nethack_speed --works steps messages

`steps`: a step of a game, layer by layer around the same games and actions (`paper_figures.intrinsic_throughput`).
`messages`: 10,000 distinct messages judged for the first time by the classifier linear in hashed words.
`network`: messages a second that the published network judges, and learns from, in batches of 256.
`processes`: steps a second of the clock, beside gymnasium's vector with a process for each game.
`memory`: what 200,000 steps leave behind, after as many as warm up.

Times are the processor's, but for `processes`; the best of all rounds.
"""

import argparse
import gc
import itertools
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

from environments.nethack.games import make_game
from environments.nethack.vector import NetHackVecEnv
from paper_figures.intrinsic_throughput_study import LAYERS, played
from rewardlab.adapters.intrinsic_stable_baselines3 import VecIntrinsicReward
from rewardlab.intrinsic.annotation.annotators import OracleAnnotator
from rewardlab.intrinsic.annotation.delayed import DelayedAnnotator
from rewardlab.intrinsic.classification import ClassificationReward
from rewardlab.intrinsic.online_feedback import OnlineFeedbackReward
from rewardlab.intrinsic.retrieval import RetrievalReward

ENVIRONMENTS = 8
MESSAGES = 10_000
_BEGINNINGS = (
    "You kill",
    "You hit",
    "You miss",
    "You see here",
    "You destroy",
    "The kitten bites",
    "You hear",
    "You eat",
)
_MIDDLES = ("the", "a cursed", "a blessed", "an invisible", "a peaceful", "the shopkeeper's", "a rusty", "2", "17", "a")
_ENDS = ("newt", "jackal", "gnome lord", "scroll labelled FOO", "long sword", "sewer rat", "grid bug", "door", "wand")
_SIGNS = ("!", ".", " here.", " (weapon in hand).", ", and it dies!", " twice.", "?", " with your bare hands.")


def messages(count: int) -> list[str]:
    """So many distinct messages of the game's kind."""
    parts = itertools.product(range(count), _SIGNS, _ENDS, _MIDDLES, _BEGINNINGS)
    texts = (
        f"{first} {middle} {end}{sign}" + f" {round_} more" * (round_ > 0) for round_, sign, end, middle, first in parts
    )
    return list(itertools.islice(texts, count))


def steps(rounds: int = 8, length: int = 512) -> dict[str, float]:
    """Microseconds of a step, by layer, and the ratio that is promised."""
    sides, rng = played(ENVIRONMENTS), np.random.default_rng(0)
    times: dict[str, list[float]] = {name: [] for name in LAYERS}
    for round_ in range(-1, rounds):
        actions = rng.integers(23, size=(length, ENVIRONMENTS))
        for name in LAYERS:
            sides[name].begin(round_ + 1)
            seconds = _seconds(partial(sides[name].play, actions))
            if round_ >= 0:
                times[name].append(seconds / actions.size * 1e6)
    for side in sides.values():
        side.close()
    least = {name: min(found) for name, found in times.items()}
    promised = (least["game"] + least["intrinsic"] - least["vector"]) / least["nle"]
    return least | {
        "game_and_intrinsic_over_nle": promised,
        "with_encoding_over_nle": least["intrinsic"] / least["nle"],
    }


def judged(count: int = MESSAGES, rounds: int = 3) -> dict[str, float]:
    """Seconds for messages that the classifier has never seen, with 200 labels learned."""
    texts, generator = messages(rounds * count), torch.Generator().manual_seed(0)
    model = ClassificationReward("hashed", generator=generator)
    model.receive([(text, int(text.startswith("You kill"))) for text in texts[::50]])
    new = [texts[start : start + count] for start in range(0, len(texts), count)]  # others in every round
    return {"seconds": min(_seconds(partial(model.rewards, part)) for part in new)}


def network(count: int = 1024, rounds: int = 3) -> dict[str, float]:
    """Messages a second of the published network: judged, and learned from."""
    texts, generator = messages(count), torch.Generator().manual_seed(0)
    model = ClassificationReward("bytes", generator=generator, steps=2)
    labels = [(text, place % 2) for place, text in enumerate(texts)]
    model.receive(labels)
    judging = min(_seconds(partial(model.rewards, texts)) for _ in range(rounds))
    learning = min(_seconds(lambda: model.receive(labels[:1])) for _ in range(rounds))  # known: only the two steps
    return {"judged_per_second": count / judging, "learned_per_second": 2 * 256 / learning}


def processes(length: int = 200) -> dict[str, float]:
    """Steps a second of the clock: games in one process, and in one each."""
    rng = np.random.default_rng(0)
    actions = 1 + rng.integers(8, size=(length, ENVIRONMENTS))
    ours = NetHackVecEnv(partial(make_game, "score"), ENVIRONMENTS, seed=0)
    theirs = gymnasium.vector.AsyncVectorEnv([partial(make_game, "score") for _ in range(ENVIRONMENTS)])
    found = {}
    for name, venv in (("one_process", ours), ("processes", theirs)):
        venv.reset()
        start = time.perf_counter()
        for row in actions:
            venv.step(row)
        found[f"{name}_per_second"] = actions.size / (time.perf_counter() - start)
        venv.close()
    return found


def memory(count: int = 200_000) -> dict[str, float]:
    """Growth of the resident memory, in bytes, over so many steps of 8 games, paid by labels that keep arriving."""
    labels = DelayedAnnotator(OracleAnnotator(), labels_per_tick=20)
    reward = OnlineFeedbackReward(RetrievalReward(), labels, environments=ENVIRONMENTS)
    venv = NetHackVecEnv(partial(make_game, "score", episode_steps=500), ENVIRONMENTS, seed=0)
    venv = VecIntrinsicReward(venv, reward, coefficient=0.1)
    venv.claim("the benchmark")
    venv.reset()
    rng = np.random.default_rng(0)

    def play(steps_: int) -> int:
        for step in range(steps_ // ENVIRONMENTS):
            venv.step(rng.integers(23, size=ENVIRONMENTS))
            if step % 128 == 127:
                venv.take()
        gc.collect()
        return _resident_bytes()

    before = play(count // 10)
    growth = play(count) - before
    found = {"steps": count, "distinct_messages": len(reward.table), "labels": labels.statistics()["delivered"]}
    venv.close()
    return {"growth_bytes": growth, **found}


WORKS: dict[str, Callable[[], dict[str, float]]] = {
    "steps": steps,
    "messages": judged,
    "network": network,
    "processes": processes,
    "memory": memory,
}


def _seconds(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def _resident_bytes() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def main() -> None:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS))
    torch.set_num_threads(1)
    for work in parser.parse_args().works:
        print(work, ", ".join(f"{name} {value:,.4g}" for name, value in WORKS[work]().items()), flush=True)


if __name__ == "__main__":
    main()
