"""A right and a wrong solution of one problem, scorers of their steps, and the check for exploits on them."""

import hashlib
from functools import partial

from environments.reasoning.arithmetic_chain import ArithmeticProblem, parse_step
from rewardlab.process.exploit import StepTexts, exploit_check
from rewardlab.process.refine import refine

PROBLEM = ArithmeticProblem(7, (("+", 5), ("*", 3), ("-", 6)))
RIGHT = PROBLEM.solution
WRONG = ("7 + 5 = 13", "13 * 3 = 39", "39 - 6 = 33", "Answer: 33")
THINK = "Let me think."


def scores_of(steps):
    """Right equations .8, false ones .1, filler .9, a right answer .9, a wrong one .1."""
    scores = {"statement": 0.9}
    for step in map(parse_step, steps):
        scores |= {
            "equation": 0.8 if step.verdict > 0 else 0.1,
            "answer": 0.9 if step.answer == PROBLEM.answer else 0.1,
        }
        yield scores[step.kind]


def listed(steps):
    return list(scores_of(steps))


def hashed(steps):
    """Any scores at all, of prefixes."""
    digests = (hashlib.blake2b("\n".join(steps[: n + 1]).encode(), digest_size=4).digest() for n in range(len(steps)))
    return [int.from_bytes(digest) / 2**32 for digest in digests]


def recipe_of(mode, threshold=0.7):
    return partial(refine, mode=mode, threshold=threshold)


def check(mode, solutions=(RIGHT,), scorer=listed, weight=0.3, threshold=0.7, fillers=(THINK,), **options):
    texts = StepTexts(solutions, PROBLEM.verify_solution, fillers)
    return exploit_check(recipe_of(mode, threshold), scorer, texts, weight=weight, **options)


def only(report, objective, kind):
    return next((finding for finding in report.of(objective) if finding.kind == kind), None)
