"""Random walks as intrinsic rewards are shown them."""

import numpy as np

from rewardlab.intrinsic.interface import Arrivals, Starts


def key(state: int) -> bytes:
    return int(state).to_bytes(2, "little")


def begin(environments, states) -> Starts:
    return Starts(environments=np.array(environments), keys=[key(state) for state in states])


def arrive(states, valid=None, actions=None, dones=None) -> Arrivals:
    return Arrivals(
        dones=np.zeros(len(states), bool) if dones is None else np.array(dones),
        valid=np.ones(len(states), bool) if valid is None else np.array(valid),
        keys=[key(state) for state in states],
        actions=None if actions is None else np.array(actions),
    )


def random_arrivals(rng, environments=3, shape=(5,), actions=4, images=False, valid=0.9) -> Arrivals:
    """A step between random observations."""

    def draw():
        if images:
            return rng.integers(0, 256, (environments, *shape), dtype=np.uint8)
        return rng.normal(size=(environments, *shape)).astype(np.float32)

    return Arrivals(
        dones=np.zeros(environments, bool),
        valid=rng.random(environments) < valid,
        observations=draw(),
        actions=rng.integers(0, actions, environments),
        next_observations=draw(),
    )
