"""Learned rewards of a batch of samples: a frozen language model's features under a fitted head."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from llm_scale.models.language_model import LanguageModel
from llm_scale.reward_models.features import token_features
from llm_scale.reward_models.heads import RewardHead
from llm_scale.rewards.sample import Decoder, Sample
from llm_scale.rewards.steps import steps_of
from rewardlab.checks import check_choice
from rewardlab.transforms.ensemble import mean_minus_std, uncertainty_weighted, worst_case

__all__ = ["COMBINATIONS", "LearnedReward", "LearnedStepReward", "as_read", "frozen_weights"]

COMBINATIONS: dict[str, Callable] = {
    "mean": lambda members: members.mean(0),
    "median": lambda members: np.median(members, axis=0),
    "worst_case": worst_case,
    "mean_minus_std": mean_minus_std,
    "uncertainty_weighted": lambda members: uncertainty_weighted(members, 0.5),
}


def frozen_weights(lm: LanguageModel):
    """Context in which the model has the weights that training leaves alone.

    Those of the reference where something is trained, else the model's own.

    Raises:
        ValueError: On entry, if all weights are trained and no reference was kept: the reward would change with them.
    """
    return lm.reference() if lm.parameters() else nullcontext(lm.base)


def as_read(lm: LanguageModel, sample: Sample, *, retokenise: bool = False) -> Sample:
    """The sample with tokens of this model's tokenizer: its own, unless it has none or is to be encoded anew.

    Raises:
        ValueError: If its tokens are known to be another tokenizer's and it is not to be encoded anew.
    """
    if retokenise or not sample.ids:
        return replace(sample, ids=lm.encode_completion(sample.completion), decode=Decoder(lm.tokenizer))
    other = getattr(sample.decode, "tokenizer", lm.tokenizer)
    if other is not lm.tokenizer and other.get_vocab() != lm.tokenizer.get_vocab():
        raise ValueError(f"{sample} has tokens of another tokenizer than {lm.name!r}; set retokenise=True")
    return sample if sample.decode else replace(sample, decode=Decoder(lm.tokenizer))


class LearnedReward:
    """Reward of a whole answer, from the state of a frozen model at its last token; a `BatchSignal`.

    Args:
        lm: The model whose features the head was fitted on. It may be the policy itself: features are always taken
            with the reference's weights (see `frozen_weights`).
        head: Fitted on `answer_features` of the same layers.
        layers: The blocks that the features come from.
        combine: How the members of an ensemble make one reward, a key of `COMBINATIONS`.
        retokenise: Whether to encode the answers' texts anew, for samples of a model with another tokenizer.
        batch_tokens: As for `token_features`.

    Raises:
        ValueError: If the head is not as wide as the features, or the combination is unknown.
    """

    def __init__(
        self,
        lm: LanguageModel,
        head: RewardHead,
        *,
        layers: Sequence[int] = (-1,),
        combine: str = "mean",
        retokenise: bool = False,
        batch_tokens: int = 4096,
    ):
        check_choice("combine", combine, COMBINATIONS)
        width = len(layers) * lm.base.config.get_text_config().hidden_size
        if head.width != width:
            raise ValueError(f"the head reads {head.width} features, {lm.name!r} has {width} at layers {tuple(layers)}")
        self.lm, self.head, self.layers = lm, head.to(lm.device), tuple(layers)
        self.combine, self.retokenise, self.batch_tokens = combine, retokenise, batch_tokens

    def members(self, samples: Sequence[Sample]) -> Float[np.ndarray, "members samples"]:
        """Every member's reward of every sample."""
        samples = self._read(samples)
        return self._scores(samples, [[len(sample.ids) - 1] for sample in samples])

    def __call__(self, samples: Sequence[Sample]) -> Float[np.ndarray, " samples"]:
        """The combined reward of every sample."""
        return self._combined(self.members(samples))

    def _combined(self, members: Float[np.ndarray, "members rows"]) -> Float[np.ndarray, " rows"]:
        return COMBINATIONS[self.combine](members) if members.shape[1] else members[0]

    def _read(self, samples: Sequence[Sample]) -> list[Sample]:
        return [as_read(self.lm, sample, retokenise=self.retokenise) for sample in samples]

    def _scores(self, samples: Sequence[Sample], positions: Sequence) -> Float[np.ndarray, "members rows"]:
        if not sum(map(len, positions)):
            return np.zeros((self.head.members, 0))
        known = {text: self.lm.encode(text) for text in dict.fromkeys(sample.problem.prompt for sample in samples)}
        prompts = [known[sample.problem.prompt] for sample in samples]
        ids = [sample.ids for sample in samples]
        options = {"layers": self.layers, "batch_tokens": self.batch_tokens}
        with frozen_weights(self.lm):
            return self.head.score(token_features(self.lm, prompts, ids, positions, **options)).cpu().numpy()


class LearnedStepReward(LearnedReward):
    """Scores of steps, from the state of a frozen model at each step's last token; a `StepSignal`.

    Args: As `LearnedReward`, the head fitted on `token_features` at the ends of steps (`fit_process_head`).
    """

    def step_members(
        self, samples: Sequence[Sample], steps: Sequence[Sequence[str]], step_ends: Sequence[Sequence[int]]
    ) -> Float[np.ndarray, "members steps"]:
        """Every member's score of every step, sample after sample; arguments as of a call."""
        samples = self._read(samples)
        parts = zip(samples, steps, step_ends, strict=True)
        return self._scores(samples, [self._ends(*part) for part in parts])

    def __call__(
        self, samples: Sequence[Sample], steps: Sequence[Sequence[str]], step_ends: Sequence[Sequence[int]]
    ) -> list[list[float]]:
        """The combined score of every step of every sample; of heads that give probabilities, within [0, 1].

        Args:
            samples: The samples.
            steps: The texts of each sample's steps, in order.
            step_ends: Index of each step's last token among the sample's; found anew from the texts where there are
                none, or the answer is tokenised anew.

        Raises:
            ValueError: If there are not as many ends as steps, or two steps share a token; names the sample.
        """
        combined = self._combined(self.step_members(samples, steps, step_ends))
        if self.head.link == "probability":  # a mean less a price of disagreement may lie below 0
            combined = np.clip(combined, 0.0, 1.0)
        values = iter(combined.tolist())
        return [[next(values) for _ in texts] for texts in steps]

    def _ends(self, sample: Sample, steps: Sequence[str], ends: Sequence[int]) -> Sequence[int]:
        if steps and (self.retokenise or not ends):
            ends = steps_of(sample, lambda _: steps)[1]
        if len(ends) != len(steps):
            raise ValueError(f"there are {len(ends)} ends for the {len(steps)} steps of {sample}")
        return ends
