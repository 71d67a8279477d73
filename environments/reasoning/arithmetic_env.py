"""Chains of arithmetic as a gymnasium environment: text in, text out, one line at a time."""

import string
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from environments.reasoning.arithmetic_chain import ArithmeticProblem, ArithmeticTask, draw_problem
from environments.reasoning.step_text import FILLERS, parse_step
from rewardlab.checks import check_scalar

__all__ = ["ArithmeticChainEnv"]

LINE_LENGTH = 120  # characters of a line
QUESTION_LENGTH = 1000
CHARACTERS = frozenset(string.ascii_letters + string.digits + string.punctuation + " ×·−–’é" + "".join(FILLERS))


class ArithmeticChainEnv(gymnasium.Env):
    """Solve a chain of arithmetic by writing one line after the other. Registered as `rewardlab/ArithmeticChain-v0`.

    The observation is the prompt and the lines so far, each on a line of its own; the action is the next line, any
    text. The reward is 1 for the right answer, else 0. An answer, right or wrong, ends the episode, and so does the
    last line that is allowed; both terminate it, since no reward can follow.

    `info` after a step has `verdict`, what a tool says of the line (1, -1 or 0; of an answer, whether it is right),
    `kind`, what the line was read as, `step_score` where there is a process reward model, and, at the end, `correct`.

    Each episode has a new problem, drawn from the environment's seed; `reset(options={"problem": ...})` sets it.
    The task of the episode is `env.unwrapped.task`.

    In `gymnasium.make_vec(..., vectorization_mode="async")` pass `vector_kwargs={"shared_memory": False}`: gymnasium
    shares arrays between processes, and hands out empty texts otherwise.

    Args:
        operations: Operations of a drawn problem.
        max_steps: Most lines of a solution.
        prm: A process reward model: called with the task and the lines so far, it returns the score of each in [0, 1],
            as `SyntheticPRM` does. None for no step scores.

    Example:
        >>> import gymnasium, environments.reasoning
        >>> from environments.reasoning.arithmetic_chain import ArithmeticProblem
        >>> env = gymnasium.make("rewardlab/ArithmeticChain-v0")
        >>> text, _ = env.reset(options={"problem": ArithmeticProblem(7, (("+", 5),))})
        >>> text.splitlines()[0]
        'Start with 7. Add 5. What is the result?'
        >>> env.step("7 + 5 = 12")[1:]
        (0.0, False, False, {'kind': 'equation', 'verdict': 1})
        >>> env.step("Answer: 12")[1:]
        (1.0, True, False, {'kind': 'answer', 'verdict': 1, 'correct': True})
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - as gymnasium has it

    def __init__(
        self,
        operations: int = 3,
        max_steps: int = 12,
        prm: Callable[[ArithmeticTask, Sequence[str]], Any] | None = None,
    ):
        self.operations = check_scalar("operations", operations, low=1, whole=True)
        self.max_steps = check_scalar("max_steps", max_steps, low=1, whole=True)
        if prm is not None and not callable(prm):
            raise TypeError(f"prm: expected something to call with a task and lines, got {type(prm).__name__}")
        self.prm = prm
        self.task: ArithmeticTask | None = None
        self._lines: tuple[str, ...] = ()
        length = QUESTION_LENGTH + max_steps * (LINE_LENGTH + 1)
        self.observation_space = spaces.Text(length, charset=CHARACTERS | {"\n"})
        self.action_space = spaces.Text(LINE_LENGTH, min_length=0, charset=CHARACTERS)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin with a new problem.

        Args:
            seed: Of this problem and, until the next seed, all after it.
            options: May hold `problem`, an `ArithmeticProblem`.

        Raises:
            TypeError: If the problem is none.
            ValueError: If there is another option, or the question is too long for the observation space.
        """
        super().reset(seed=seed)
        options = dict(options or {})
        problem = options.pop("problem", None)
        if options:
            raise ValueError(f"options has {', '.join(map(repr, options))}, expected 'problem' or nothing")
        if problem is None:
            problem = draw_problem(self.operations, self.np_random)
        elif not isinstance(problem, ArithmeticProblem):
            raise TypeError(f"options['problem']: expected an ArithmeticProblem, got {type(problem).__name__}")
        if len(problem.prompt) > QUESTION_LENGTH:
            raise ValueError(
                f"options['problem'] has a prompt of {len(problem.prompt)} characters, expected at most "
                f"{QUESTION_LENGTH}"
            )
        self.task, self._lines = ArithmeticTask(problem, max_steps=self.max_steps), ()
        return self._text(), {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Write a line.

        Raises:
            ValueError: If the action is no line of at most 120 characters of the action space.
            RuntimeError: If the episode has ended, or none has begun.
        """
        if self.task is None or self.task.has_ended(self._lines):
            raise RuntimeError("no episode is under way, expected a call of reset() first")
        if not self.action_space.contains(action):
            raise ValueError(
                f"action is {action!r}, expected one line of at most {LINE_LENGTH} characters out of "
                f"action_space.characters"
            )
        self._lines = self.task.apply(self._lines, str(action))
        ended = self.task.has_ended(self._lines)
        correct = ended and self.task.verify(self._lines) == 1
        info: dict[str, Any] = {
            "kind": parse_step(self._lines[-1]).kind,
            "verdict": self.task.verdicts(self._lines)[-1],
        }
        if self.prm is not None:
            info["step_score"] = float(np.asarray(self.prm(self.task, self._lines))[-1])
        if ended:
            info["correct"] = correct
        return self._text(), float(correct), ended, False, info

    def _text(self) -> str:
        return "\n".join((self.task.prompt, *self._lines))
