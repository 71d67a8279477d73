"""Twenty questions: something is hidden, some questions reveal a part of it and most nothing, then comes the answer.

Small enough to be exact: what a policy knows is a set of revealed bits, and the likelihood of the hidden thing given
that set is a power of 2. One question can be a distractor: it makes the agent surer without telling it anything. With
`early_answer` the agent may also answer before its questions are used up.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Bool, Float, Int

from rewardlab.checks import as_generator, check_array, check_distribution, check_scalar

__all__ = ["SearchEnv", "SearchEpisodes", "SearchOutcome", "SearchWorld"]

ATTRIBUTES = (
    ("size", "small", "large"),
    ("colour", "red", "blue"),
    ("material", "wooden", "metal"),
    ("shape", "round", "square"),
    ("weight", "light", "heavy"),
    ("age", "old", "new"),
)
TOPICS = ("weather", "news", "time", "menu", "city", "team", "traffic", "tide", "calendar", "music", "garden", "zoo")
DISTRACTOR, ANSWER = "rumour", "answer"


@dataclass(frozen=True)
class SearchWorld:
    """Twenty questions as a finite world.

    Actions are questions: first the `bits` that reveal something, then the `useless` ones, the distractor if there is
    one, and last the early answer if it is allowed. A state is what has been revealed, as a number in binary, plus
    2^bits once the distractor has been asked. Turns are no part of it, and asking again reveals nothing new.

    Answers, early or forced after the last turn, are drawn from what is really known.

    Args:
        bits: Attributes of the hidden thing, each of two values, 1 to 6; there are 2^bits things, all alike likely.
        useless: Questions that reveal nothing, 0 to 12.
        turns: Questions that may be asked.
        distraction: None for a world without distractor; else the share of its doubt that the agent loses by asking
            it, in [0, 1]: a likelihood p of the hidden thing is then seen as p + distraction (1 - p), while the answer
            stays as it was.
        early_answer: Whether the agent may answer before the last turn.

    Raises:
        ValueError: If a number is outside its range.

    Example:
        >>> world = SearchWorld()
        >>> world.actions, world.states, world.success[[0, 0b1, 0b1011, 0b1111]].tolist()
        (16, 16, [0.0625, 0.125, 0.5, 1.0])
    """

    bits: int = 4
    useless: int = 12
    turns: int = 4
    distraction: float | None = None
    early_answer: bool = False

    def __post_init__(self) -> None:
        check_scalar("bits", self.bits, low=1, high=len(ATTRIBUTES), whole=True)
        check_scalar("useless", self.useless, low=0, high=len(TOPICS), whole=True)
        check_scalar("turns", self.turns, low=1, whole=True)
        if self.distraction is not None:
            check_scalar("distraction", self.distraction, low=0.0, high=1.0)

    @cached_property
    def action_names(self) -> tuple[str, ...]:
        """What an agent says to take each action."""
        names = [name for name, _, _ in ATTRIBUTES[: self.bits]] + list(TOPICS[: self.useless])
        names += [DISTRACTOR] * (self.distraction is not None) + [ANSWER] * self.early_answer
        return tuple(names)

    @property
    def actions(self) -> int:
        """Number of actions."""
        return len(self.action_names)

    @property
    def answers(self) -> int:
        """Number of things that may be hidden."""
        return 2**self.bits

    @property
    def states(self) -> int:
        """Number of states."""
        return self.answers * (1 if self.distraction is None else 2)

    @property
    def distractor(self) -> int | None:
        """The action that asks the distractor."""
        return None if self.distraction is None else self.bits + self.useless

    @property
    def answer_action(self) -> int | None:
        """The action that answers early."""
        return self.actions - 1 if self.early_answer else None

    @cached_property
    def next_state(self) -> Int[np.ndarray, "states actions"]:
        """Where each question leads; an answer stays where it is."""
        state = np.arange(self.states)
        result = np.repeat(state[:, None], self.actions, axis=1)
        for bit in range(self.bits):
            result[:, bit] = state | 2**bit
        if self.distractor is not None:
            result[:, self.distractor] = state | self.answers
        return result

    @cached_property
    def revealed(self) -> Int[np.ndarray, " states"]:
        """Number of attributes that are known in each state."""
        return np.array([(state % self.answers).bit_count() for state in range(self.states)])

    @cached_property
    def distracted(self) -> Bool[np.ndarray, " states"]:
        """Whether the distractor has been asked in each state."""
        return np.arange(self.states) >= self.answers

    @cached_property
    def success(self) -> Float[np.ndarray, " states"]:
        """Probability that an answer given in each state is right."""
        return 2.0 ** (self.revealed - self.bits)

    @cached_property
    def likelihood(self) -> Float[np.ndarray, " states"]:
        """Probability of the hidden thing as the agent sees it: `success`, but for the distractor."""
        return self.success + self.distracted * (self.distraction or 0.0) * (1 - self.success)

    def evaluate(self, policy: Float[np.ndarray, "*batch states actions"]) -> "SearchOutcome":
        """What a policy comes to, exactly, by forward recursion.

        Args:
            policy: Probability of each action in each state; leading axes are independent policies.

        Raises:
            ValueError: If the policy has another number of states or actions, or a row is no distribution.
        """
        policy = self._checked(policy)
        occupied = np.zeros((*policy.shape[:-2], self.states))
        occupied[..., 0] = 1.0
        leads_to = (self.next_state[..., None] == np.arange(self.states)).astype(float)
        answered, counts = np.zeros_like(occupied), np.zeros((*policy.shape[:-2], self.actions))
        for _ in range(self.turns):
            taken = occupied[..., None] * policy
            counts += taken.sum(-2)
            if self.early_answer:
                answered += taken[..., self.answer_action]
                taken = taken * (np.arange(self.actions) != self.answer_action)
            flat = taken.reshape(*taken.shape[:-2], self.states * self.actions)
            occupied = flat @ leads_to.reshape(-1, self.states)
        answered += occupied
        return SearchOutcome(np.asarray(answered @ self.success), counts, answered)

    def sample(
        self, policy: Float[np.ndarray, "*batch states actions"], episodes: int, rng: int | np.random.Generator
    ) -> "SearchEpisodes":
        """Draw episodes from every policy of a batch at once.

        Args:
            policy: Probability of each action in each state; leading axes are independent policies.
            episodes: Number of episodes of each.
            rng: Seed or generator.

        Raises:
            ValueError: If the policy has another number of states or actions, or a row is no distribution.
        """
        policy = self._checked(policy)
        check_scalar("episodes", episodes, low=1, whole=True)
        rng = as_generator(rng)
        shape = (*policy.shape[:-2], episodes)
        policies = int(np.prod(shape[:-1]))
        runs = np.repeat(np.arange(policies), episodes)
        reached = policy.reshape(policies, self.states, self.actions).cumsum(-1)
        edges = (reached / reached[..., -1:])[..., :-1]  # exactly 1 from the last possible question on
        going = np.ones(runs.size, bool)
        states = np.zeros((runs.size, self.turns + 1), int)
        actions = np.zeros((runs.size, self.turns), int)
        decided, asked = np.zeros((2, runs.size, self.turns), bool)
        chance = rng.random((self.turns, runs.size))
        for turn in range(self.turns):
            state = states[:, turn]
            action = np.where(going, (chance[turn][:, None] >= edges[runs, state]).sum(-1), 0)
            actions[:, turn], decided[:, turn] = action, going
            if self.early_answer:
                going = going & (action != self.answer_action)
            asked[:, turn] = going
            states[:, turn + 1] = np.where(going, self.next_state[state, action], state)
        correct = rng.random(runs.size) < self.success[states[:, -1]]
        parts = (part.reshape(*shape, -1) for part in (states, actions, decided, asked, self.likelihood[states]))
        return SearchEpisodes(*parts, correct.reshape(shape))

    def question(self) -> str:
        """The question as an agent that reads and writes text is asked it."""
        kinds = ", ".join(f"{zero} or {one}" for _, zero, one in ATTRIBUTES[: self.bits])
        names = ", ".join(name for name in self.action_names if name != ANSWER)
        early = f' Say "{ANSWER}" to answer before that.' if self.early_answer else ""
        asking = f"You may ask {self.turns} questions, each by one word: {names}.{early}"
        return f"Something is hidden. It is {kinds}. {asking} Then say what it is."

    def answer_text(self, hidden: int) -> str:
        """The hidden thing in words: the answer whose likelihood makes the rewards."""
        check_scalar("hidden", hidden, low=0, high=self.answers - 1, whole=True)
        return " ".join(pair[1 + (int(hidden) >> bit & 1)] for bit, pair in enumerate(ATTRIBUTES[: self.bits]))

    def action_of(self, text: str) -> int | None:
        """The action that a line of text asks for, or None where it asks for none."""
        word = re.sub(r"[^a-z]+", " ", text.lower()).strip()
        return self.action_names.index(word) if word in self.action_names else None

    def reply(self, hidden: int, action: int) -> str:
        """What the world says to a question."""
        check_scalar("action", action, low=0, high=self.bits + self.useless - (self.distraction is None), whole=True)
        if action < self.bits:
            return f"The {ATTRIBUTES[action][0]}: {self.answer_text(hidden).split()[action]}."
        if action == self.distractor:
            return "Everybody says that it is quite clear what it is."
        return f"Nothing is known about the {self.action_names[action]}."

    def _checked(self, policy: np.ndarray) -> np.ndarray:
        check_array("policy", policy, like=self.success)
        if policy.shape[-2:] != (self.states, self.actions):
            expected = f"(*batch, {self.states}, {self.actions})"
            raise ValueError(f"policy has shape {policy.shape}, expected {expected}: states, actions")
        return check_distribution("policy", policy.astype(np.float64, copy=False), over="actions")


@dataclass(frozen=True, slots=True, eq=False)
class SearchOutcome:
    """What a policy comes to.

    Args:
        success: Probability of a right answer, (*batch,).
        action_counts: Expected number of times each action is taken, (*batch, actions).
        answered_in: Probability that the answer is given in each state, (*batch, states).
    """

    success: Float[np.ndarray, "*batch"]
    action_counts: Float[np.ndarray, "*batch actions"]
    answered_in: Float[np.ndarray, "*batch states"]


@dataclass(frozen=True, slots=True, eq=False)
class SearchEpisodes:
    """Sampled episodes.

    Args:
        states: State before each turn and after the last, (*batch, episodes, turns + 1); the last one goes on after
            an early answer.
        actions: Action taken, (*batch, episodes, turns); 0 after the end.
        decided: Whether the agent took an action, a question or an early answer.
        asked: Whether it asked a question.
        likelihoods: Of the hidden thing in each of `states`, as the agent sees it.
        correct: Whether the answer was right, (*batch, episodes).
    """

    states: Int[np.ndarray, "*batch episodes states"]
    actions: Int[np.ndarray, "*batch episodes turns"]
    decided: Bool[np.ndarray, "*batch episodes turns"]
    asked: Bool[np.ndarray, "*batch episodes turns"]
    likelihoods: Float[np.ndarray, "*batch episodes states"]
    correct: Bool[np.ndarray, "*batch episodes"]


class SearchEnv(gymnasium.Env):
    """Twenty questions for gymnasium: the reward is 1 for a right answer at the end, and 0 otherwise.

    Observations hold, for each attribute, 0 while unknown and 1 or 2 once revealed; whether the distractor has been
    asked; and the number of questions asked. `info` holds what an agent of text needs ("text": the question, then the
    reply), the likelihood of the hidden thing as the agent sees it ("likelihood"), its name ("answer", which is not
    for the agent), and at the end the answer drawn ("guess").

    Args:
        bits: See `SearchWorld`, as for all others.
        useless: Questions that reveal nothing.
        turns: Questions that may be asked.
        distraction: None for a world without distractor.
        early_answer: Whether the agent may answer before the last turn.

    Attributes:
        world: The `SearchWorld` that is played.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 (gymnasium's own way)

    def __init__(
        self,
        bits: int = 4,
        useless: int = 12,
        turns: int = 4,
        distraction: float | None = None,
        early_answer: bool = False,
    ) -> None:
        self.world = SearchWorld(bits, useless, turns, distraction, early_answer)
        self.action_space = gymnasium.spaces.Discrete(self.world.actions)
        self.observation_space = gymnasium.spaces.MultiDiscrete([3] * bits + [2, turns + 1])
        self._hidden = self._state = self._turn = 0
        self._over = True

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Hide something new; `options={"hidden": number}` chooses what."""
        super().reset(seed=seed)
        self._hidden = int(self.np_random.integers(self.world.answers))
        if options and "hidden" in options:
            high = self.world.answers - 1
            self._hidden = int(check_scalar("options['hidden']", options["hidden"], low=0, high=high, whole=True))
        self._state = self._turn = 0
        self._over = False
        return self._observation(), self._info(self.world.question())

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Ask, or answer; after the last question the answer follows in the same step.

        Raises:
            ValueError: If there is no such action, or the episode is over.
        """
        world = self.world
        action = int(check_scalar("action", action, low=0, high=world.actions - 1, whole=True))
        if self._over:
            raise ValueError("the episode is over; call reset")
        texts = []
        if action != world.answer_action:
            self._state, self._turn = int(world.next_state[self._state, action]), self._turn + 1
            texts.append(world.reply(self._hidden, action))
        self._over = action == world.answer_action or self._turn == world.turns
        if not self._over:
            return self._observation(), 0.0, False, False, self._info(*texts)
        revealed = self._state % world.answers
        guess = self._hidden & revealed | int(self.np_random.integers(world.answers)) & ~revealed
        info = self._info(*texts, f"The answer given: {world.answer_text(guess)}.")
        return self._observation(), float(guess == self._hidden), True, False, {**info, "guess": guess}

    def _observation(self) -> np.ndarray:
        bits = [self._state >> bit & 1 and 1 + (self._hidden >> bit & 1) for bit in range(self.world.bits)]
        return np.array([*bits, int(self.world.distracted[self._state]), self._turn])

    def _info(self, *texts: str) -> dict[str, Any]:
        likelihood = float(self.world.likelihood[self._state])
        return {"text": " ".join(texts), "likelihood": likelihood, "answer": self.world.answer_text(self._hidden)}
