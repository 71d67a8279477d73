"""Tasks as a user might write them, good and bad."""

import os
import signal
import time
from types import MappingProxyType

import numpy as np

from llm_scale.tasks.task import Problem, Task


class LastLetter(Task):
    """A whole task in 20 lines."""

    name, max_new_tokens, always_ends = "last_letter", 4, True
    words = MappingProxyType({"train": ("stone", "river", "cloud", "grass"), "test": ("field", "night")})

    def problems(self, split, number, seed):
        first = seed % len(self.words[split])
        chosen = [(first + n) % len(self.words[split]) for n in range(number)]
        return [self.problem(self.words[split][n]) for n in chosen]

    def problem(self, word):
        number = (self.words["train"] + self.words["test"]).index(word)
        return Problem(f"What is the last letter of '{word}'?", gold=word[-1], number=number)

    def verify(self, problem, completion):
        return float(completion.strip(" .'").lower() == problem.gold)

    def demonstration(self, problem):
        return problem.gold


class Obeys(Task):
    """A verifier that does what the completion says, to see what becomes of it."""

    name = "obeys"

    def problems(self, split, number, seed):
        return [Problem("Well?", "", 10 * (n + 1)) for n in range(number)]

    def verify(self, problem, completion):
        return getattr(self, completion)()

    def right(self):
        return 1

    def half(self):
        return 0.5

    def wrong(self):
        return False

    def raises(self):
        raise KeyError("the answer")

    def raises_mutely(self):
        class MuteError(Exception):
            def __str__(self):
                raise ValueError("no comment")

        raise MuteError

    def numpy(self):
        return np.float32(0.5) == np.float32(0.5)

    def leaves(self):
        raise SystemExit(0)

    def none(self):
        return None

    def nan(self):
        return float("nan")

    def much(self):
        return 1.5

    def infinite(self):
        return float("inf")

    def text(self):
        return "1.0"

    def sleeps(self):
        time.sleep(60)

    def spins(self):
        while True:
            pass

    def spins_on(self):
        while True:
            try:
                time.sleep(60)
            except BaseException:
                continue

    def computes(self):
        return 9**9**9**9

    def recurses(self):
        return self.recurses()

    def crashes(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def exits(self):
        os._exit(3)

    def grows(self):
        return len(bytearray(8 << 30))

    def process(self):
        return 1.0 if os.getpid() == PARENT else 0.0


PARENT = os.getpid()
