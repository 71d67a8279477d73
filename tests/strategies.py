"""Worlds, rewards and policies to test with, shared by all rooms: hypothesis draws the kind, the size and a seed."""

import itertools

import numpy as np
from hypothesis import strategies as st

from rewardlab.exact import FiniteMDP, potential_shaping, random_transition, redistribution

DISCOUNTS = (0.0, 0.5, 0.9, 0.99)
KINDS = ("published", "clean", "dense", "deterministic", "episodic")

seeds = st.integers(0, 2**32 - 1)
scales = st.sampled_from([1e-6, 1e-2, 1.0, 1e3, 1e7])


def two_state_world():
    """The method's worked example: action 0 stays, 1 switches; pays for switching to 1, or for staying in 1."""
    transition = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]])
    rewards = np.zeros((2, 2, 2, 2))
    rewards[0, 0, 1, 1] = rewards[1, 1, 0, 1] = 1
    return FiniteMDP(transition, 0.9), rewards[0], rewards[1]


def corridor(discount=0.9):
    """Five cells in a row, both ends terminal; left and right, and each move slips to the other side once in ten."""
    transition = np.zeros((5, 2, 5))
    transition[[0, 4], :, [0, 4]] = 1
    for cell, action in itertools.product((1, 2, 3), (0, 1)):
        transition[cell, action, cell + 2 * action - 1] = 0.9
        transition[cell, action, cell + 1 - 2 * action] = 0.1
    return FiniteMDP(transition, discount, terminal=np.array([True, False, False, False, True]))


def forward_world(states, actions, seed):
    """Every action leads to a later state and the last state ends the episode, so nothing need be discounted."""
    weights = np.random.default_rng(seed).random((states, actions, states))
    weights *= np.arange(states) > np.arange(states)[:, None, None]
    weights[-1, :, -1] = 1
    return FiniteMDP(weights / weights.sum(-1, keepdims=True), 1.0, terminal=np.arange(states) == states - 1)


@st.composite
def worlds(
    draw,
    kinds=(*KINDS, "corridor", "undiscounted"),
    discounts=DISCOUNTS,
    starts=("uniform", "somewhere", "one state"),
    max_states=5,
    max_actions=3,
):
    """A world of 2 to `max_states` states and 2 to `max_actions` actions, started anywhere or in one state."""
    kind, discount, seed = draw(st.sampled_from(kinds)), draw(st.sampled_from(discounts)), draw(seeds)
    if kind == "corridor":
        return corridor(discount)
    states, actions = draw(st.integers(2, max_states)), draw(st.integers(2, max_actions))
    if kind == "undiscounted":
        return forward_world(states, actions, seed)
    rng = np.random.default_rng(seed)
    if kind == "dense":
        transition, terminal = rng.dirichlet(np.ones(states), (states, actions)), None
    elif kind == "deterministic":
        transition, terminal = np.eye(states)[rng.integers(states, size=(states, actions))], None
    else:
        options = {"clean": kind == "clean", "episodic": kind == "episodic"}
        transition, terminal = random_transition(states, actions, **options, rng=seed)
    start = draw(st.sampled_from(starts))
    initial = {
        "uniform": None,
        "somewhere": rng.dirichlet(np.ones(states)),
        "one state": np.eye(states)[rng.integers(states)],
    }[start]
    return FiniteMDP(transition, discount, initial=initial, terminal=terminal)


# every policy visits every state, so that returns can tell any two policies apart
visited = worlds(kinds=("published", "clean", "dense"), discounts=(0.5, 0.9), starts=("uniform",))


@st.composite
def rewards(draw, mdp, *, sparse=(1.0, 0.3), scale=scales):
    """A reward of the world: normal entries, some of them 0, at a scale that may be odd."""
    rng, kept, size = np.random.default_rng(draw(seeds)), draw(st.sampled_from(sparse)), draw(scale)
    shape = (mdp.states, mdp.actions, mdp.states)
    return size * np.where(rng.random(shape) < kept, rng.normal(size=shape), 0.0)


@st.composite
def worlds_and_rewards(draw, count=1, from_worlds=None, **options):
    """A world, and `count` rewards of it."""
    mdp = draw(worlds() if from_worlds is None else from_worlds)
    return mdp, *(draw(rewards(mdp, **options)) for _ in range(count))


def random_policy(mdp, rng):
    """Action probabilities drawn uniformly."""
    return rng.dirichlet(np.ones(mdp.actions), (*mdp.batch_shape, mdp.states))


def random_potential(mdp, rng, size=1.0):
    """A normal potential, 0 in terminal states."""
    return np.where(mdp.terminal, 0.0, size * rng.normal(size=(*mdp.batch_shape, mdp.states)))


def random_shaping(mdp, rng, size=1.0):
    return potential_shaping(mdp, random_potential(mdp, rng, size))


def random_redistribution(mdp, rng, size=1.0):
    return redistribution(mdp, size * rng.normal(size=mdp.transition.shape))


def deterministic_policies(mdp):
    """All of them, `(n, S, A)`."""
    choices = np.array(list(itertools.product(range(mdp.actions), repeat=mdp.states)))
    return np.eye(mdp.actions)[choices]


def horizon(mdp):
    """Number of steps over which errors add up: what a tolerance should grow with."""
    return mdp.states if mdp.discount == 1 else 1 / (1 - mdp.discount)
