"""Small tasks and tokenizers that the tests of rewards share."""

from itertools import pairwise

from llm_scale.rewards.sample import Decoder, Sample
from llm_scale.tasks.task import Problem, Task

END = 0


class Lines(Task):
    """Right is whoever ends in the gold answer; each line that is not blank is a step."""

    name, max_new_tokens, always_ends = "lines", 64, True

    def problems(self, split, number, seed):
        return [Problem(f"problem {n}", str(n), n) for n in range(number)]

    def verify(self, problem, completion):
        return float(completion.endswith(problem.gold))

    def steps(self, completion):
        return [line for line in completion.splitlines() if line.strip()]

    def step_labels(self, problem, steps):
        return [0.9 if "good" in step else 0.1 for step in steps]


class Stepless(Lines):
    name = "stepless"

    def steps(self, completion):
        return None


class Bytes:
    """A tokenizer whose tokens are whatever pieces of bytes the tests cut; token 0 ends an answer."""

    def __init__(self):
        self.pieces = [b""]

    def cut(self, text, cuts=()):
        """Token ids of a text cut before each of these bytes, with the token that ends it."""
        data = text.encode() if isinstance(text, str) else text
        edges = sorted({0, len(data), *(cut for cut in cuts if 0 < cut < len(data))})
        pieces = [data[a:b] for a, b in pairwise(edges)]
        return [self.token(piece) for piece in pieces if piece] + [END]

    def token(self, piece):
        if piece not in self.pieces[1:]:
            self.pieces.append(piece)
        return self.pieces.index(piece, 1)

    def batch_decode(self, sequences, **options):
        return [b"".join(self.pieces[token] for token in ids).decode(errors="replace") for ids in sequences]


def letters(text):
    """A token a byte, and the one that ends the answer."""
    return [byte + 1 for byte in text.encode()] + [END]


class Letters:
    """The tokenizer of `letters`."""

    def batch_decode(self, sequences, **options):
        return [bytes(token - 1 for token in ids if token != END).decode(errors="replace") for ids in sequences]


DECODE = Decoder(Letters())


def answers(*texts, group=None, problems=None):
    """Samples with these texts, `group` to a problem (by default all to one)."""
    group = group or len(texts)
    problems = problems or Lines().problems("train", len(texts), 0)
    return [
        Sample(problems[row // group], text, letters(text), True, row, row // group, DECODE)
        for row, text in enumerate(texts)
    ]


def groups(samples):
    """The prompt of each sample."""
    return [sample.prompt_row for sample in samples]
