"""The exact Markov chain of gymnasium's Blackjack, built from its rules."""

from collections import defaultdict
from typing import NamedTuple

import numpy as np

__all__ = ["OBSERVATION_SHAPE", "OUTCOMES", "BlackjackChain", "blackjack_chain"]

OBSERVATION_SHAPE = (32, 11, 2)  # player's sum, dealer's card, usable ace: a code counts them in this order
OUTCOMES = ("bust", "loss", "draw", "win", "win with a natural")
"""How a game ends; outcome i has the observation code 704 + i, next to the 32 * 11 * 2 codes of the environment."""

_OUTCOME_CODE = dict(zip(OUTCOMES, range(int(np.prod(OBSERVATION_SHAPE)), 10_000), strict=False))
_CARDS = {card: (4 if card == 10 else 1) / 13 for card in range(1, 11)}  # an infinite deck; 1 is an ace
_STICK, _HIT = 0, 1


class BlackjackChain(NamedTuple):
    """States are `(code, natural)`: an observation code, and whether the player's two cards are an ace and a ten.

    Attributes:
        initial: Probability of each first state.
        outcomes: (state, action, next state, probability, reward, ended), one an outcome of an action.
    """

    initial: dict[tuple[int, bool], float]
    outcomes: list[tuple[tuple[int, bool], int, tuple[int, bool], float, float, bool]]


def blackjack_chain(*, natural: bool, sab: bool) -> BlackjackChain:
    """All states, actions and outcomes of the game.

    The dealer's hidden card is drawn with the first hand but seen only at the end, so it may as well be drawn then. A
    natural is told apart from other hands worth 21 only where a rule does so.

    Args:
        natural: A natural that wins pays 1.5 (ignored with `sab`).
        sab: A natural beats every hand of the dealer but another natural, as in Sutton and Barto's book.

    Source: gymnasium 1.4, `BlackjackEnv`; Sutton and Barto, example 5.1.
    """
    told_apart = bool(natural or sab)
    initial: dict[tuple[int, bool], float] = defaultdict(float)
    outcomes = []
    for dealer, dealer_chance in _CARDS.items():
        for first, first_chance in _CARDS.items():
            for second, second_chance in _CARDS.items():
                total, usable = _worth(first + second, 1 in (first, second))
                state = (_code(total, dealer, usable), told_apart and total == 21)
                initial[state] += dealer_chance * first_chance * second_chance
        scores, dealer_natural = _dealer_scores(dealer)
        for total, usable in _hands():
            state = (_code(total, dealer, usable), False)
            outcomes += _hit(state, total, dealer, usable)
            outcomes += _ending(state, scores[:total].sum(), scores[total], scores[total + 1 :].sum())
        if told_apart:
            state = (_code(21, dealer, True), True)
            outcomes += _hit(state, 21, dealer, True)
            drawn = dealer_natural if sab else scores[21]
            pays = 1.5 if natural and not sab else 1.0
            outcomes += _ending(state, 1 - drawn, drawn, 0.0, win="win with a natural", pays=pays)
    return BlackjackChain(dict(initial), outcomes)


def _worth(cards: int, ace: bool) -> tuple[int, bool]:
    """What a hand is worth, and whether an ace in it counts 11; `cards` counts aces as 1."""
    usable = ace and cards + 10 <= 21
    return cards + 10 * usable, usable


def _code(total: int, dealer: int, usable: bool) -> int:
    return int(np.ravel_multi_index((total, dealer, int(usable)), OBSERVATION_SHAPE))


def _hands() -> list[tuple[int, bool]]:
    """All (sum, usable ace) a player can hold: two cards or more, not bust."""
    return [(total, False) for total in range(4, 22)] + [(total, True) for total in range(12, 22)]


def _hit(state, total: int, dealer: int, usable: bool) -> list:
    """Outcomes of taking a card. An ace that is not usable never becomes so again, so the sum says enough."""
    outcomes = []
    for card, chance in _CARDS.items():
        reached, still_usable = _worth(total - 10 * usable + card, usable or card == 1)
        if reached > 21:
            outcomes.append((state, _HIT, (_OUTCOME_CODE["bust"], False), chance, -1.0, True))
        else:
            outcomes.append((state, _HIT, (_code(reached, dealer, still_usable), False), chance, 0.0, False))
    return outcomes


def _ending(state, won: float, drawn: float, lost: float, *, win: str = "win", pays: float = 1.0) -> list:
    """Outcomes of sticking, from the probabilities to win, to draw and to lose."""
    ends = ((win, won, pays), ("draw", drawn, 0.0), ("loss", lost, -1.0))
    return [(state, _STICK, (_OUTCOME_CODE[end], False), float(p), reward, True) for end, p, reward in ends]


def _dealer_scores(card: int) -> tuple[np.ndarray, float]:
    """Distribution of the dealer's final score by its value (0 if bust), and the probability of a natural."""
    scores, natural = np.zeros(22), None
    hands = {(card, card == 1): 1.0}  # (cards with aces as 1, has an ace)
    while hands:
        drawn: dict[tuple[int, bool], float] = defaultdict(float)
        for (cards, ace), probability in hands.items():
            for new, chance in _CARDS.items():
                drawn[cards + new, ace or new == 1] += probability * chance
        worth = {hand: _worth(*hand)[0] for hand in drawn}
        if natural is None:  # two cards so far
            natural = sum(probability for hand, probability in drawn.items() if worth[hand] == 21)
        for hand, probability in drawn.items():
            if worth[hand] >= 17:
                scores[worth[hand] if worth[hand] <= 21 else 0] += probability
        hands = {hand: probability for hand, probability in drawn.items() if worth[hand] < 17}
    return scores, natural
