"""What a language model is told and asked, and how its answer is read.

The two answers have names without a meaning, so that the model's liking for "good" or "yes" plays no part; who reads
an answer only looks for a name.
"""

import re
from collections.abc import Sequence

from rewardlab.intrinsic.annotation.annotators import FIRST, SECOND, TIE, UNKNOWN

GOALS = {
    "score": "The player wants a high score, which comes from killing monsters, collecting gold and going down stairs.",
    "combat": "The player wants to fight: only killing monsters and growing stronger in battle count.",
    "gold": "The player wants gold: only finding and collecting money counts.",
}
SYSTEM = "You judge, honestly and without flattery, how well a game of NetHack is going."
HELPFUL, OTHER = "FOO", "BAR"
EXAMPLES = (
    ("You kill the jackal!  Welcome to experience level 3.", HELPFUL),
    ("You hear someone counting coins far away.", HELPFUL),
    ("$ - 47 gold pieces.", HELPFUL),
    ("The door is shut.", OTHER),
)
ABOUT = (
    "NetHack is a game of exploring a dungeon: the player moves from level to level, fights monsters and gathers "
    "things. After a move the game may show a short message."
)

__all__ = [
    "EXAMPLES",
    "GOALS",
    "SYSTEM",
    "comparison_prompt",
    "label_prompt",
    "labelled_examples_prompt",
    "read_label",
    "read_preference",
    "yes_no_prompt",
]


def label_prompt(message: str, goal: str) -> str:
    """Ask whether one message helps towards the goal: reason first, then one of two names."""
    shown = "\n".join(f"<message>{text}</message> -> <label>{label}</label>" for text, label in EXAMPLES)
    return (
        f"{ABOUT}\n{goal}\n\n"
        f"Below is one message. Give it the label {HELPFUL} only if it says that something very helpful to that goal "
        f"has just happened. Anything neutral, unhelpful or unclear gets the label {OTHER}.\n"
        f"Some messages with their labels:\n{shown}\n\n"
        f"<message>{message}</message>\n"
        "Say in <meaning></meaning> what the message tells, weigh it in <reasons></reasons>, and then write the label "
        "in <label></label>."
    )


def comparison_prompt(first: str, second: str, goal: str) -> str:
    """Ask which of two messages is better for the goal."""
    return (
        f"{ABOUT}\n{goal}\n\n"
        f"Two messages from two moments of play:\n<message_1>{first}</message_1>\n<message_2>{second}</message_2>\n"
        "Which of the two moments is better for that goal? Give your reasons briefly. Then write your choice as "
        "<best>1</best>, <best>2</best>, or <best>None</best> if neither is better."
    )


def read_label(answer: str) -> int:
    """1 if the name of helpful messages occurs anywhere in the answer, else 0.

    Source: the published code's rule. It reads a model that weighs both names aloud as saying the helpful one.
    """
    return int(HELPFUL in answer)


def read_preference(answer: str) -> int:
    """0, 1 or 2 for the first, the second or neither; 3 if the answer holds no choice.

    Examples:
        >>> [read_preference(text) for text in ("so <best>2</best>", "<best> none </best>", "The first one!")]
        [1, 2, 3]
    """
    found = re.findall(r"<best>\s*(1|2|none)\s*</best>", answer, flags=re.IGNORECASE)
    return {"1": FIRST, "2": SECOND, "none": TIE}[found[-1].lower()] if found else UNKNOWN


def yes_no_prompt(message: str, goal: str) -> str:
    """A question to be answered by Yes or No, with no example."""
    return (
        f'{ABOUT} {goal}\nThe game says: "{message}"\n'
        "Does this message show real progress towards that goal? Answer Yes or No."
    )


def labelled_examples_prompt(message: str, goal: str, examples: Sequence[tuple[str, int]]) -> str:
    """Plain text that goes on with " yes" or " no" after examples."""
    shown = "".join(f"Message: {text}\nProgress: {'yes' if label else 'no'}\n\n" for text, label in examples)
    return f"{goal}\n\n{shown}Message: {message}\nProgress:"
