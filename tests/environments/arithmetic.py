"""One arithmetic problem, the task of solving it, and how operations are worked out."""

import operator

from hypothesis import strategies as st

from environments.reasoning.arithmetic_chain import ArithmeticProblem, ArithmeticTask

OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul}
PROBLEM = ArithmeticProblem(7, (("+", 5), ("*", 3), ("-", 4)))  # 7, 12, 36, 32
RIGHT = ("7 + 5 = 12", "12 * 3 = 36", "36 - 4 = 32", "Answer: 32")
seeds = st.integers(0, 2**32 - 1)


def task(**options):
    return ArithmeticTask(PROBLEM, **options)
