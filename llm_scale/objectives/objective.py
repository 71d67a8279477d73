"""What an algorithm of the GRPO family is: one value that says how rewards become a loss.

The algorithms differ in a handful of choices: what a sample's reward is compared with, how the ratio of new to old
probability is taken and clipped, how tokens are weighed, and where the KL term goes. `OBJECTIVES` has the published
combinations; `objective("grpo", kl_weight=0.0)` is one of them with changes. `sample_advantages`,
`token_level_advantages` and `policy_loss` read nothing else.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

from rewardlab.checks import check_choice, check_scalar

Advantage = Literal[
    "standardised",
    "mean_centred",
    "leave_one_out",
    "batch_standardised",
    "length_weighted",
    "nonzero_scaled",
    "best_of_group",
    "raw",
]
Credit = Literal["sequence", "token"]
StepBaseline = Literal["group", "same_step"]
Whitening = Literal["samples", "tokens"]
AdvantageFilter = Literal["drop", "clamp", "robust"]
Surrogate = Literal["clip", "cispo", "reinforce"]
Importance = Literal["token", "sequence", "sequence_token", "sequence_product"]
Aggregation = Literal["sequence_mean", "token_mean", "constant", "sequence_sum"]
KLEstimator = Literal["k1", "k2", "k3", "k1+", "k3+"]
KLPlace = Literal["loss", "reward"]
KLRatio = Literal["token", "importance"]

OF_SAMPLES_ONLY = ("nonzero_scaled", "best_of_group")  # advantages that compare whole samples, not tokens

__all__ = ["OBJECTIVES", "Objective", "objective"]


@dataclass(frozen=True)
class Objective:
    """One algorithm of the family. Every choice is a field; the defaults are GRPO's without its KL term.

    Args:
        name: For reports.
        advantage: What a sample's reward is held against, always within its group of samples of one prompt.
            `standardised`: less the mean, over the standard deviation plus `epsilon` (GRPO). `mean_centred`: less the
            mean (Dr. GRPO). `leave_one_out`: less the mean of the others (RLOO). `batch_standardised`: less the
            group's mean, over the standard deviation of the whole batch of rewards (Lite PPO). `length_weighted`: less
            the mean weighted by lengths (OPO). `nonzero_scaled`: less the mean, times the number of samples over the
            number with a reward other than 0 (GPG). `best_of_group`: the best sample's lead over the second,
            standardised, and 0 for the rest (pass@k). `raw`: the reward itself, to be whitened.
        credit: `sequence`: rewards given to tokens are summed, and all tokens of a sample share its advantage.
            `token`: each token has the sum of the rewards from it on, then the baseline is taken.
        step_baseline: What returns of tokens are held against, with credit `token`. `group`: the mean over the group's
            samples, each by the mean over its tokens. `same_step`: the mean over the group's samples that have as many
            steps, of the return at the beginning of that step (`rewardlab.process.step_advantages`).
        discount: Of rewards to come, a token, in [0, 1]; with credit `token`.
        correction: 1 for the sample standard deviation (TRL, verl, OpenRLHF), 0 for the population's.
        epsilon: Added to standard deviations of rewards: 1e-4 in TRL, 1e-6 in verl, 1e-9 in OpenRLHF.
        whitening: Whether the advantages of the whole batch are centred and divided by their standard deviation at the
            end: over its `samples` (plus `epsilon`; RLOO's `normalize_advantages` in TRL), or over all its `tokens`, so
            that long samples count more (REINFORCE++; variance plus 1e-8 under the root, as in verl).
        advantage_filter: What becomes of advantages more than `filter_limit` standard deviations from the batch's mean:
            they become 0 (`drop`), are moved to the limit (`clamp`), or are measured by median and median absolute
            deviation, clamped and centred again (`robust`). Over tokens where credit or whitening is over tokens, else
            over samples. See `rewardlab.transforms.drop_outliers` for what dropping costs.
        filter_limit: In standard deviations.
        surrogate: `clip`: the smaller of ratio x advantage and clipped ratio x advantage (PPO). `cispo`: the ratio, no
            more than `ratio_cap`, as a constant weight of advantage x log-probability, so that no token drops out.
            `reinforce`: advantage x log-probability, no ratio.
        clip_low: The ratio is clipped at 1 - `clip_low`.
        clip_high: The ratio is clipped at 1 + `clip_high`.
        ratio_cap: Largest ratio that is not clipped by the above, as it is not where the advantage is negative
            (`delta` in TRL); in `cispo` the bound itself (`epsilon_high` in TRL). None for no cap.
        dual_clip: A token of negative advantage A earns at least `dual_clip` x A; above 1, 3 in verl, None for none.
        log_ratio_clip: Log-ratios are clipped at plus and minus this before anything else; neither value nor gradient
            passes. verl's 20 keeps float32 from overflowing; log(1000) in StableReinforce; None for none.
        importance: Whose ratio: each `token`'s; the `sequence`'s geometric mean (GSPO); that value with each token's
            own gradient (`sequence_token`, GSPO-token); or the product over the sequence (`sequence_product`, RLOO).
        aggregation: How losses of tokens become one. `sequence_mean`: mean of each sample, then of samples.
            `token_mean`: over all tokens of the batch. `constant`: sum over all tokens, over samples x generation limit
            (Dr. GRPO). `sequence_sum`: sum of each sample, then mean of samples.
        kl_weight: Weight of the KL divergence from the reference, at least 0; 0 needs no reference.
        kl_estimator: See `llm_scale.objectives.kl.kl_terms`.
        kl_place: In the `loss` of every token, or taken off the `reward`, where it is a number without gradient.
        kl_ratio: In the loss, whether the term is multiplied by the ratio: the `token`'s own, which makes k3's gradient
            that of KL(policy || reference); that of the surrogate (`importance`, TRL's `use_bias_correction_kl`, which
            is the same where importance is by token); or None, the papers' form.
        kl_input_clamp: Bound on the log-ratio that goes into the estimator; 20 in verl; None for none.
        kl_clamp: Bound on the estimate; 10 in verl and OpenRLHF; None for none.

    Raises:
        TypeError: If a number is no number.
        ValueError: If a choice is unknown, a number outside its range, or two choices exclude each other.
    """

    name: str
    advantage: Advantage = "standardised"
    credit: Credit = "sequence"
    step_baseline: StepBaseline = "group"
    discount: float = 1.0
    correction: int = 1
    epsilon: float = 1e-4
    whitening: Whitening | None = None
    advantage_filter: AdvantageFilter | None = None
    filter_limit: float = 3.0
    surrogate: Surrogate = "clip"
    clip_low: float = 0.2
    clip_high: float = 0.2
    ratio_cap: float | None = None
    dual_clip: float | None = None
    log_ratio_clip: float | None = 20.0
    importance: Importance = "token"
    aggregation: Aggregation = "sequence_mean"
    kl_weight: float = 0.0
    kl_estimator: KLEstimator = "k3"
    kl_place: KLPlace = "loss"
    kl_ratio: KLRatio | None = None
    kl_input_clamp: float | None = None
    kl_clamp: float | None = None

    def __post_init__(self):
        self._check_choices()
        self._check_numbers()
        if self.whitening == "samples" and self.credit == "token":
            raise ValueError("whitening is 'samples' but credit 'token', expected whitening 'tokens' or None")
        if self.advantage in OF_SAMPLES_ONLY and self.credit == "token":
            raise ValueError(f"advantage is {self.advantage!r} but credit 'token', expected credit 'sequence'")
        if self.credit == "token" and self.surrogate == "clip" and self.importance in ("sequence", "sequence_product"):
            raise ValueError(
                f"importance is {self.importance!r} with credit 'token': all tokens of a sample share its gradient, "
                f"so each would be credited with their mean; expected 'token' or 'sequence_token'"
            )
        if self.step_baseline == "same_step" and (self.credit != "token" or self.advantage == "length_weighted"):
            raise ValueError(
                f"step_baseline is 'same_step', with credit {self.credit!r} and advantage {self.advantage!r}; "
                f"expected credit 'token' and an advantage not weighted by length"
            )
        if self.surrogate == "cispo" and self.ratio_cap is None:
            raise ValueError("surrogate is 'cispo' but ratio_cap None, expected the largest weight of a token")
        if self.kl_place == "reward" and self.kl_estimator != "k1":
            raise ValueError(
                f"kl_place is 'reward' with kl_estimator {self.kl_estimator!r}, expected 'k1': see kl_terms"
            )
        if self.kl_place == "reward" and self.kl_ratio is not None:
            raise ValueError(f"kl_ratio is {self.kl_ratio!r} with kl_place 'reward', expected None")

    @property
    def kl_in_loss(self) -> bool:
        """Whether `policy_loss` needs the reference's log-probabilities."""
        return self.kl_weight > 0 and self.kl_place == "loss"

    @property
    def kl_in_reward(self) -> bool:
        """Whether `token_level_advantages` needs the reference's log-probabilities."""
        return self.kl_weight > 0 and self.kl_place == "reward"

    @property
    def by_token(self) -> bool:
        """Whether advantages are compared over tokens at the end, rather than over samples."""
        return self.credit == "token" or self.whitening == "tokens"

    def _check_choices(self) -> None:
        check_choice("correction", self.correction, (0, 1))
        for name, choices, optional in (
            ("advantage", Advantage, False),
            ("credit", Credit, False),
            ("step_baseline", StepBaseline, False),
            ("whitening", Whitening, True),
            ("advantage_filter", AdvantageFilter, True),
            ("surrogate", Surrogate, False),
            ("importance", Importance, False),
            ("aggregation", Aggregation, False),
            ("kl_estimator", KLEstimator, False),
            ("kl_place", KLPlace, False),
            ("kl_ratio", KLRatio, True),
        ):
            if not (optional and getattr(self, name) is None):
                check_choice(name, getattr(self, name), get_args(choices))

    def _check_numbers(self) -> None:
        check_scalar("discount", self.discount, low=0.0, high=1.0)
        for name in ("epsilon", "clip_low", "clip_high", "kl_weight"):
            check_scalar(name, getattr(self, name), low=0.0)
        for name, low in (
            ("filter_limit", 0.0),
            ("ratio_cap", 0.0),
            ("dual_clip", 1.0),
            ("log_ratio_clip", 0.0),
            ("kl_input_clamp", 0.0),
            ("kl_clamp", 0.0),
        ):
            value = getattr(self, name)
            if value is not None or name == "filter_limit":
                check_scalar(name, value, low=low, open_low=True)


_RLOO = {"advantage": "leave_one_out", "importance": "sequence_product", "kl_place": "reward", "kl_estimator": "k1"}
_REINFORCE = {"credit": "token", "whitening": "tokens", "kl_place": "reward", "kl_estimator": "k1", "kl_weight": 1e-3}


def _by_name(objectives: Iterable[Objective]) -> dict[str, Objective]:
    return {each.name: each for each in objectives}


OBJECTIVES: dict[str, Objective] = _by_name(
    (
        Objective("grpo", kl_weight=0.04),
        Objective("dr_grpo", advantage="mean_centred", aggregation="constant"),
        Objective("dapo", clip_high=0.28, aggregation="token_mean"),
        Objective("rloo", **_RLOO, kl_weight=0.05),
        Objective("reinforce_plus_plus", advantage="raw", aggregation="token_mean", **_REINFORCE),
        Objective(
            "reinforce_plus_plus_baseline",
            advantage="mean_centred",
            whitening="tokens",
            aggregation="token_mean",
            kl_weight=1e-3,
            kl_estimator="k2",
        ),
        Objective("lite_ppo", advantage="batch_standardised", aggregation="token_mean"),
        Objective("gspo", importance="sequence", clip_low=3e-4, clip_high=4e-4),
        Objective("gspo_token", importance="sequence_token", clip_low=3e-4, clip_high=4e-4),
        Objective("cispo", surrogate="cispo", ratio_cap=5.0, aggregation="token_mean"),
        Objective(
            "stable_reinforce",
            advantage="raw",
            advantage_filter="drop",
            log_ratio_clip=6.907755278982137,  # log(1000)
            aggregation="token_mean",
            **_REINFORCE,
        ),
        Objective("opo", advantage="length_weighted", surrogate="reinforce", aggregation="token_mean"),
        Objective("gpg", advantage="nonzero_scaled", surrogate="reinforce", aggregation="token_mean"),
        Objective("pass_at_k", advantage="best_of_group"),
    )
)
"""The published objectives by name, with the defaults of their papers as far as known, and of trainers' code otherwise.

Where TRL 1.16 does otherwise, and how to have it here:

- GRPO's loss: TRL's default is DAPO's (`loss_type="dapo"`), without KL term; with one it is multiplied by the ratio,
  `kl_ratio="importance"`. Here `grpo` has the paper's mean over samples and plain k3 of weight 0.04.
- A batch whose samples are in part absent: TRL keeps them in what it divides by, see `present` of `policy_loss`.
- `rloo` follows TRL and clips the ratio of whole sequences. The paper's REINFORCE has no ratio: `surrogate="reinforce"`
  with `aggregation="sequence_sum"`, which has the same gradient on samples of the policy itself. KL weight: TRL's.
- `cispo` bounds the ratio from above alone, as TRL.
- "bnpo" is `token_mean` of a part of the batch: leave out `whole` of `policy_loss`. "luspo" is `gspo` with
  `aggregation="sequence_sum"`.

verl: `epsilon=1e-6`, `dual_clip=3.0`, `kl_input_clamp=20.0`, `kl_clamp=10.0`, and a group of one keeps its raw reward,
which is 0 here. OpenRLHF: `epsilon=1e-9`, `kl_clamp=10.0`. Dr. GRPO's code in its GRPO mode: `epsilon=1e-8`.
"""


def objective(name: str, **changes) -> Objective:
    """Return a published objective, with changes: see `OBJECTIVES`.

    Args:
        name: One of `OBJECTIVES`.
        changes: Fields of `Objective` by name; checked together.

    Raises:
        ValueError: If the name or a field is unknown, or see `Objective`.

    Example:
        >>> objective("dapo").clip_high, objective("grpo", kl_weight=0.0).kl_in_loss
        (0.28, False)
    """
    check_choice("objective", name, OBJECTIVES)
    known = [field.name for field in fields(Objective)]
    for field in changes:
        check_choice("field of an objective", field, known)
    return replace(OBJECTIVES[name], **changes)
