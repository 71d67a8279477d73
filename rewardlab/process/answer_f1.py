"""How far does an answer agree with the reference, word for word, and is there an answer at all?"""

import re
from collections.abc import Sequence

from rewardlab.checks import check_scalar

__all__ = ["TAGS", "gated_f1", "token_f1"]

TAGS = ("think", "tool_call", "answer", "code")

_NO_WORD = re.compile(r"[!-/:-@\[-`{-~]")  # ASCII punctuation


def token_f1(prediction: str, answer: str | Sequence[str]) -> float:
    """F1 between the sets of words of a prediction and of the reference answer, the best over several references.

    Words are what is left between spaces after lower-casing and putting a space for every ASCII punctuation mark.
    That is not SQuAD's F1, which also drops articles, joins what punctuation separates ("it's" is one word there and
    two here), and counts repeated words as often as they occur.

    Args:
        prediction: The answer to judge.
        answer: The reference, or several of which the closest counts.

    Returns:
        F1 in [0, 1]; 0 for a prediction without a word.

    Raises:
        TypeError: If a text is not a string.
        ValueError: If there is no reference, or one without a word: nothing could agree with it.

    Source: The outcome reward in the released code of IGPO (arXiv 2510.14967).

    Example:
        >>> round(token_f1("The Eiffel Tower, in Paris.", "Eiffel tower"), 3)
        0.571
    """
    references = (answer,) if isinstance(answer, str) else tuple(answer)
    if not references:
        raise ValueError("answer is empty, expected at least one reference")
    found, best = _words("prediction", prediction), 0.0
    for reference in references:
        wanted = _words("answer", reference)
        if not wanted:
            raise ValueError(f"answer {reference!r} holds no word to compare with")
        best = max(best, 2 * len(found & wanted) / (len(found) + len(wanted)))
    return best


def gated_f1(response: str, answer: str | Sequence[str], *, penalty: float = -2.0) -> float:
    """`token_f1` of what stands between the answer tags of a response, or a penalty for a response out of format.

    In format means: each of the tags think, tool_call, code and answer opens and closes in turn, and an answer is
    there. Of several, the first counts. Upper and lower case are alike.

    Args:
        response: The whole transcript that the policy wrote.
        answer: The reference, or several of which the closest counts.
        penalty: Reward of a response out of format, at most 0.

    Returns:
        F1 in [0, 1], or the penalty.

    Raises:
        TypeError: If a text is not a string.
        ValueError: If the penalty is above 0, or a reference has no word.

    Source: The released code of IGPO (arXiv 2510.14967), which asks of the tags that as many close as open and one
        closes after each that opens; a tag inside its like passes there and not here.

    Example:
        >>> gated_f1("<think>It is tall.</think><answer>Eiffel Tower</answer>", "Eiffel Tower")
        1.0
        >>> gated_f1("<think>It is tall.<answer>Eiffel Tower</answer>", "Eiffel Tower")
        -2.0
    """
    check_scalar("penalty", penalty, high=0.0)
    if not isinstance(response, str):
        raise TypeError(f"response: expected text, got {type(response).__name__}")
    text = response.lower()
    begin = text.find("<answer>")
    if begin < 0 or not all(_opens_and_closes(text, tag) for tag in TAGS):
        token_f1("", answer)  # a bad reference is an error whatever the response
        return float(penalty)
    return token_f1(text[begin + len("<answer>") : text.index("</answer>", begin)], answer)


def _words(name: str, text: str) -> set[str]:
    if not isinstance(text, str):
        raise TypeError(f"{name}: expected text, got {type(text).__name__}")
    return set(_NO_WORD.sub(" ", text.lower()).split())


def _opens_and_closes(text: str, tag: str) -> bool:
    marks = re.findall(f"<(/?){tag}>", text)  # "" opens, "/" closes
    return marks == ["", "/"] * (len(marks) // 2)
