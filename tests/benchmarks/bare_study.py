"""The published study's unit in bare NumPy: the solves and reductions alone, for one world, unchecked.

The yardstick of the library's overhead: 5 canonical forms x 7 normalisers x 6 metrics and the greedy regrets of a
batch of pairs, written out for uniform distributions and no terminal states.
"""

import numpy as np


def distances(transition: np.ndarray, discount: float, rewards_a: np.ndarray, rewards_b: np.ndarray) -> np.ndarray:
    """Distances `(pairs, 5, 7, 6)` of rewards `(pairs, S, A, S)`."""
    pairs = rewards_a.shape[0]
    out = np.empty((pairs, 5, 7, 6))
    weight = transition.reshape(-1)
    states, actions = transition.shape[:2]
    peak = transition.max(axis=-1).reshape(-1)
    forms = zip(_canonical(transition, discount, rewards_a), _canonical(transition, discount, rewards_b), strict=True)
    for position, (form_a, form_b) in enumerate(forms):
        compact = form_a.shape[-1] == states * actions
        layout = (None, peak, states) if compact else (weight, weight, 1)
        sizes = [[np.ones(pairs), *_norms(np.abs(form), *layout)] for form in (form_a, form_b)]
        for normaliser, (size_a, size_b) in enumerate(zip(*sizes, strict=True)):
            gap = np.abs(form_a / size_a[:, None] - form_b / size_b[:, None])
            out[:, position, normaliser] = np.stack(_norms(gap, *layout), axis=-1)
    return out


def regrets(transition: np.ndarray, discount: float, rewards_a: np.ndarray, rewards_b: np.ndarray) -> np.ndarray:
    """Mean greedy regret of each pair in both directions, `(pairs,)`."""
    (a, best_a), (b, best_b) = (_with_best(transition, discount, rewards) for rewards in (rewards_a, rewards_b))
    lost = []
    for reward, (values, _), followed in ((a, best_a, best_b[1]), (b, best_b, best_a[1])):
        worst, _ = _policy_iteration(transition, discount, -reward)
        reached = _evaluate(transition, discount, reward, followed)
        best, lowest = values.mean(axis=-1), -worst.mean(axis=-1)
        lost.append((best - reached.mean(axis=-1)) / (best - lowest))
    return (lost[0] + lost[1]) / 2


def _canonical(transition, discount, rewards):
    states, actions = transition.shape[:2]
    pairs = len(rewards)
    expected = np.vecdot(transition, rewards)
    yield rewards.reshape(pairs, -1)
    level = rewards.mean(axis=(-2, -1))
    constant = discount * level.mean(axis=-1)[:, None, None]
    shaping = discount * level[:, None, :] - level[:, :, None] - constant
    yield (rewards + shaping[:, :, None, :]).reshape(pairs, -1)
    level = expected.mean(axis=-1)
    by_action = transition.transpose(1, 0, 2)
    meeting = by_action @ rewards.transpose(0, 2, 1, 3) @ by_action.transpose(0, 2, 1)
    shaping = discount * level[:, None, :] - level[:, :, None] - discount * meeting.mean(axis=1)
    yield (rewards + shaping[:, :, None, :]).reshape(pairs, -1)
    step = transition.mean(axis=1)
    values = np.linalg.solve(np.eye(states) - discount * step, level.T).T
    shaping = discount * values[:, None, :] - values[:, :, None]
    yield (rewards + shaping[:, :, None, :]).reshape(pairs, -1)
    following = (values @ transition.reshape(-1, states).T).reshape(pairs, states, actions)
    yield (expected + discount * following - values[:, :, None]).reshape(pairs, -1)


def _norms(size, weight, peak, copies):
    weighted = size if weight is None else weight * size
    return [
        copies * size.sum(axis=-1),
        np.sqrt(copies * np.vecdot(size, size)),
        size.max(axis=-1),
        weighted.sum(axis=-1),
        np.sqrt(np.vecdot(weighted, size)),
        (weighted if peak is weight else peak * size).max(axis=-1),
    ]


def _with_best(transition, discount, rewards):
    expected = np.vecdot(transition, rewards)
    return expected, _policy_iteration(transition, discount, expected)


def _policy_iteration(transition, discount, rewards):
    states, actions = transition.shape[:2]
    rows = transition.reshape(-1, states)
    start = np.linalg.solve(np.eye(states) - discount * transition.mean(axis=1), rewards.mean(axis=-1).T).T
    policy = (rewards + discount * (start @ rows.T).reshape(-1, states, actions)).argmax(axis=-1)
    values = np.empty(rewards.shape[:2])
    active = np.arange(len(rewards))
    while len(active):
        values[active] = _evaluate(transition, discount, rewards[active], policy[active])
        ahead = rewards[active] + discount * (values[active] @ rows.T).reshape(-1, states, actions)
        gain = ahead.max(axis=-1) - np.take_along_axis(ahead, policy[active][..., None], axis=-1)[..., 0]
        better = gain > 1e-10 * np.abs(values[active]).max(axis=-1, keepdims=True)
        policy[active] = np.where(better, ahead.argmax(axis=-1), policy[active])
        active = active[better.any(axis=-1)]
    return values, policy


def _evaluate(transition, discount, rewards, policy):
    states = transition.shape[0]
    matrix = np.eye(states) - discount * transition[np.arange(states), policy]
    earned = np.take_along_axis(rewards, policy[..., None], axis=-1)
    return np.linalg.solve(matrix, earned)[..., 0]
