"""A sample as rewards see it: the problem, the text that the model wrote, and its tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["Decoder", "Sample", "samples_of"]


class BatchDecode(Protocol):
    """Gives the texts of several sequences of tokens, without special tokens."""

    def __call__(self, sequences: Sequence[Sequence[int]]) -> list[str]: ...


class Decoder:
    """A tokenizer's texts, special tokens left out; the text of a single token is looked up once.

    Args:
        tokenizer: Of transformers, or anything with its `batch_decode`.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._single: dict[int, str] = {}

    def __call__(self, sequences: Sequence[Sequence[int]]) -> list[str]:
        """The texts of sequences of tokens."""
        new = {ids[0] for ids in sequences if len(ids) == 1} - self._single.keys()
        longer = [list(ids) for ids in sequences if len(ids) != 1]
        texts = self._decode([[token] for token in new] + longer)
        self._single |= dict(zip(new, texts, strict=False))
        rest = iter(texts[len(new) :])
        return [self._single[ids[0]] if len(ids) == 1 else next(rest) for ids in sequences]

    def _decode(self, sequences: list[list[int]]) -> list[str]:
        if not sequences:
            return []
        return self.tokenizer.batch_decode(sequences, skip_special_tokens=True, clean_up_tokenization_spaces=False)


@dataclass(frozen=True)
class Sample:
    """One answer of the model to one problem.

    Args:
        problem: What was asked.
        completion: The text of the answer, without special tokens.
        ids: Its tokens, with the one that ends it, without padding.
        ended: Whether the model ended it; False where it was cut off.
        row: Its place in the batch.
        prompt_row: Its problem's place among the batch's problems.
        decode: Texts of sequences of tokens, for rewards of steps, which have to find their tokens.
    """

    problem: Any
    completion: str
    ids: list[int]
    ended: bool
    row: int
    prompt_row: int
    decode: BatchDecode | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        excerpts = f"prompt {self.problem.prompt!r:.60}, completion {self.completion!r:.60}"
        return f"sample {self.row} of prompt {self.prompt_row} ({excerpts})"


def samples_of(lm: Any, problems: Sequence[Any], completions: Any) -> list[Sample]:
    """What the model answered, sample by sample.

    Args:
        lm: The `LanguageModel` that wrote the completions.
        problems: What was asked, one problem a prompt.
        completions: `Completions` of these prompts: row b answers problem b // group.

    Raises:
        ValueError: If there are not as many prompts as problems.
    """
    if len(completions.prompts) != len(problems):
        raise ValueError(f"there are {len(problems)} problems, but completions of {len(completions.prompts)} prompts")
    decode = Decoder(lm.tokenizer)
    rows = zip(completions.ids.tolist(), completions.mask.sum(-1).tolist(), strict=True)
    ids = [row[:length] for row, length in rows]
    ended = completions.ended.tolist()
    return [
        Sample(problems[row // completions.group], text, ids[row], ended[row], row, row // completions.group, decode)
        for row, text in enumerate(decode(ids))
    ]
