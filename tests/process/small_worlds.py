"""Tiny worlds of steps for hypothesis, and what happens in them by brute force: one loop for each sequence of steps."""

import itertools

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from rewardlab.process.step_world import StepWorld

SCORES = (0.0, 0.1, 0.3, 0.5, 0.6, 0.8, 0.9, 1.0)


@st.composite
def small_worlds(draw, *, hazards=True, solvable=True, horizon=3):
    """A world of up to 3 states, 3 steps (equal ones among them) and `horizon` steps; ties are common."""
    states, actions = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    shape = (states, actions)
    array = lambda elements, kind: np.array(  # noqa: E731
        draw(st.lists(elements, min_size=states * actions, max_size=states * actions)), kind
    ).reshape(shape)
    ends = array(st.booleans(), bool)
    world = StepWorld(
        array(st.integers(0, states - 1), int),
        array(st.sampled_from(SCORES), float),
        ends,
        ends & array(st.booleans(), bool),
        draw(st.integers(1, horizon)),
        array(st.sampled_from((0.0, 0.0, 0.25, 1.0)), float) if hazards else None,
    )
    if solvable:
        assume(max(success for _, _, success in plans(world).values()) > 0)
    return world


def walks(world):
    """Every sequence of steps that can be carried out, as (actions, states, scores, right), whatever hazards do."""
    seen = set()
    for actions in itertools.product(range(world.actions), repeat=world.horizon):
        state, states, scores, right = world.initial, [], [], False
        for action in actions:
            states.append(state)
            scores.append(float(world.scores[state, action]))
            if world.ends[state, action] or world.hazard[state, action] == 1:
                right = bool(world.success[state, action])
                break
            state = int(world.next_state[state, action])
        key = actions[: len(states)]
        if key not in seen:
            seen.add(key)
            yield key, states, scores, right


def endings(world, actions, states, right):
    """How a walk can turn out: (steps carried out, right, probability), the hazards' cuts first."""
    going = 1.0
    for place in range(len(actions) - 1):
        hazard = float(world.hazard[states[place], actions[place]])
        if hazard:
            yield place + 1, False, going * hazard
        going *= 1 - hazard
    yield len(actions), right, going


def plans(world, refine=None, weight=0.0):
    """(expected return, length, success) of each sequence of steps."""
    found = {}
    for actions, states, scores, right in walks(world):
        value = success = 0.0
        for steps, correct, chance in endings(world, actions, states, right):
            rewards = refine(np.array([scores[:steps]]), None).sum() if weight else 0.0
            value += chance * (weight * rewards + correct)
            success += chance * correct
        found[actions] = value, len(actions), success
    return found
