"""The random numbers of one model step, drawn so that a filtered and a plain model stay on one stream."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int

__all__ = ["StepDraws", "uniform_index"]


@dataclass(frozen=True, eq=False)
class StepDraws:
    """What chance decides in one step of a batch of rows: which candidate, and the noise of each.

    A plain model needs the noise of one candidate a row, a filtered one that of all N. So that both consume the same
    from a shared generator, and the plain one need not pay for N, a step draws in this order: `choice`, the noise of
    the candidate that `choice` picks under uniform selection (`own`), and one seed, of which the noise of the other
    candidates is made only where it is asked for (`all_noise`). The noise is independent of `choice`, so every rule of
    selection keeps its law.

    Attributes:
        choice: `(B,)` float64, uniform in [0, 1).
        own: `(B, D)` standard normal, the noise of candidate `uniform_index(choice, N)`.
        seed: Of the other candidates' noise.
        drawn: Rows that the step was drawn for, B or more.
        rows: `(B,)` which of the drawn rows these are; None for all.
    """

    choice: Float[torch.Tensor, " b"]
    own: Float[torch.Tensor, "b outputs"]
    seed: int
    drawn: int
    rows: Int[torch.Tensor, " b"] | None = None

    @classmethod
    def sample(
        cls, rows: int, outputs: int, *, generator: torch.Generator, dtype: torch.dtype = torch.float32
    ) -> "StepDraws":
        """Draws for a step.

        Args:
            rows: B, all rows of the batch whether still alive or not: then what a row is dealt does not depend on who
                else has ended (see `at`).
            outputs: D, numbers that the model predicts: an observation and a reward.
            generator: Its device is where the draws lie.
            dtype: Of the noise.
        """
        device = generator.device
        choice = torch.rand(rows, generator=generator, dtype=torch.float64, device=device)
        own = torch.randn(rows, outputs, generator=generator, dtype=dtype, device=device)
        seed = int(torch.randint(2**63 - 1, (), generator=generator, device=device))
        return cls(choice, own, seed, rows)

    def at(self, rows: Int[torch.Tensor, " kept"]) -> "StepDraws":
        """The draws of some of the rows, the same numbers as before."""
        here = rows if self.rows is None else self.rows[rows]
        return StepDraws(self.choice[rows], self.own[rows], self.seed, self.drawn, here)

    def all_noise(self, candidates: int) -> Float[torch.Tensor, "b n outputs"]:
        """Standard normal noise of all candidates; that of `uniform_index(choice, candidates)` is `own` itself."""
        if candidates == 1:
            return self.own.unsqueeze(1)
        generator = torch.Generator(self.own.device).manual_seed(self.seed)
        shape = (self.drawn, candidates, self.own.shape[1])
        noise = torch.randn(shape, generator=generator, dtype=self.own.dtype, device=self.own.device)
        noise = noise if self.rows is None else noise[self.rows]
        noise[torch.arange(len(noise), device=noise.device), uniform_index(self.choice, candidates)] = self.own
        return noise


def uniform_index(choice: Float[torch.Tensor, " b"], candidates: int) -> Int[torch.Tensor, " b"]:
    """Candidate that a uniform choice in [0, 1) picks when all are equally likely."""
    return (choice * candidates).long().clamp(max=candidates - 1)
