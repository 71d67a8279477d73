"""A small language model on this machine as annotator: as an encoder under a linear probe, or asked by prompts."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from rewardlab.checks import check_choice, check_scalar
from rewardlab.intrinsic.annotation.annotators import check_labels, compare_labels
from rewardlab.intrinsic.annotation.prompts import labelled_examples_prompt, yes_no_prompt
from rewardlab.intrinsic.annotation.token_passes import answer_logits, hidden_means

__all__ = ["EncoderProbeAnnotator", "LanguageModelAnnotator", "PromptAnnotator", "ridge_probe"]

Encoder = Callable[[Sequence[str]], np.ndarray]


def ridge_probe(
    features: Float[np.ndarray, "n d"], labels: Float[np.ndarray, " n"], penalty: float
) -> tuple[Float[np.ndarray, " d"], float, Float[np.ndarray, " n"]]:
    """Linear regression of labels on features with a penalty on the weights and none on the intercept.

    Returns:
        Weights, intercept, and what a probe fitted without it would predict for each example (leave-one-out, exactly).
    """
    mean, centre = features.mean(0), labels.mean()
    centred = features - mean
    gram = centred @ centred.T
    inverse = np.linalg.inv(gram + penalty * np.eye(len(labels)))
    dual = inverse @ (labels - centre)
    weights = centred.T @ dual
    leverage = 1 / len(labels) + np.einsum("ij,ji->i", gram, inverse)  # of each label on its own prediction
    fitted = centred @ weights + centre
    left_out = labels - (labels - fitted) / np.maximum(1 - leverage, 1e-12)
    return weights, float(centre - mean @ weights), left_out


class EncoderProbeAnnotator:
    """Labels by a linear probe on vectors of messages, fitted to labelled messages.

    The threshold is the one under which most of the labelled messages are right when each is predicted by a probe
    fitted without it. Vectors are made once a message.

    Args:
        encoder: One vector for each text: mean hidden states of a language model, a sentence encoder, any.
        messages, labels: To fit to; both labels must occur.
        penalty: Of the ridge regression of labels in {0, 1} on the vectors.
        maximum_kept: Scores kept; when there are more, all are forgotten.

    Source: the probe (ridge, penalty 100, mean hidden state of layer 15) is ours; arXiv 2410.23022 asks a model of 8
        billion parameters by prompts.
    """

    def __init__(
        self,
        encoder: Encoder,
        messages: Sequence[str],
        labels: Sequence[int],
        *,
        penalty: float = 100.0,
        maximum_kept: int = 1_000_000,
    ):
        targets = np.array(check_labels("labels", labels, len(messages), 1), dtype=float)
        if len(set(targets)) < 2:
            raise ValueError(f"labels: expected both 0 and 1 among {len(targets)} labelled messages")
        check_scalar("penalty", penalty, low=0, open_low=True)
        self.encoder, self.maximum_kept = encoder, check_scalar("maximum_kept", maximum_kept, low=1, whole=True)
        self.weights, self.intercept, left_out = ridge_probe(self._vectors(messages), targets, penalty)
        self.threshold = _best_threshold(left_out, targets)
        self._kept: dict[str, float] = {}

    def scores(self, messages: Sequence[str]) -> Float[np.ndarray, " messages"]:
        """What the probe predicts: about 0 for unhelpful messages, 1 for helpful ones."""
        if unseen := [message for message in dict.fromkeys(messages) if message not in self._kept]:
            if len(self._kept) + len(unseen) > self.maximum_kept:
                self._kept, unseen = {}, list(dict.fromkeys(messages))
            predicted = self._vectors(unseen) @ self.weights + self.intercept
            self._kept.update(zip(unseen, predicted.tolist(), strict=True))
        return np.array([self._kept[message] for message in messages])

    def annotate(self, messages: Sequence[str], goal: str = "", rng: np.random.Generator | None = None) -> list[int]:
        """1 where the score is above the threshold; 0 for the empty message."""
        above = self.scores(messages) > self.threshold
        return [int(label and bool(message)) for message, label in zip(messages, above, strict=True)]

    def compare(
        self, pairs: Sequence[tuple[str, str]], goal: str = "", rng: np.random.Generator | None = None
    ) -> list[int]:
        """Decided by the two labels; equal labels are a tie."""
        return _compared(self, pairs)

    def _vectors(self, messages: Sequence[str]) -> np.ndarray:
        vectors = np.asarray(self.encoder(list(messages)), dtype=float)
        if vectors.ndim != 2 or len(vectors) != len(messages) or not np.isfinite(vectors).all():
            raise ValueError(f"encoder: expected {len(messages)} finite vectors, got an array of shape {vectors.shape}")
        return vectors


class LanguageModelAnnotator(EncoderProbeAnnotator):
    """A probe on the mean hidden state of a causal language model; see `EncoderProbeAnnotator`.

    Args:
        model: Folder or name of a model with weights in safetensors, or a model of transformers and its `tokenizer`.
        messages, labels: To fit to.
        tokenizer: Of a model that was given as an object.
        layer: Whose output is averaged over the tokens: 0 the embeddings, 1 the first layer.
        batch: Messages in one pass.
        penalty: See `EncoderProbeAnnotator`.

    Raises:
        ImportError: If transformers is needed and not installed.
    """

    def __init__(
        self,
        model: Any,
        messages: Sequence[str],
        labels: Sequence[int],
        *,
        tokenizer: Any = None,
        layer: int = 15,
        batch: int = 32,
        penalty: float = 100.0,
    ):
        model, tokenizer = _loaded(model, tokenizer)
        super().__init__(
            lambda texts: hidden_means(model, tokenizer, texts, layer, batch), messages, labels, penalty=penalty
        )


class PromptAnnotator:
    """Labels by a causal language model's next token: is " yes" likelier than " no"?

    What all prompts begin with is passed through the model once.

    Args:
        model, tokenizer: Of transformers; or the folder or name of a model, see `LanguageModelAnnotator`.
        form: "zero_shot": a question in the model's chat form; "few_shot": plain text with labelled examples.
        examples: Labelled messages of the form "few_shot".
        answers: Whose first tokens are compared; "Yes" and "No", or " yes" and " no" after examples.
        threshold: Of the difference of the two logits.
        batch: Messages in one pass.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        *,
        form: Literal["zero_shot", "few_shot"] = "few_shot",
        examples: Sequence[tuple[str, int]] = (),
        answers: tuple[str, str] | None = None,
        threshold: float = 0.0,
        batch: int = 32,
    ):
        check_choice("form", form, ("zero_shot", "few_shot"))
        if bool(examples) != (form == "few_shot"):
            raise ValueError(
                f"examples has {len(examples)} entries, expected some for 'few_shot' and none for 'zero_shot'"
            )
        self.model, self.tokenizer = _loaded(model, tokenizer)
        self.form, self.examples, self.batch = form, list(examples), batch
        self.threshold = check_scalar("threshold", threshold)
        words = answers or (("Yes", "No") if form == "zero_shot" else (" yes", " no"))
        self._answers = [self._tokens(word)[0] for word in words]
        if self._answers[0] == self._answers[1]:
            raise ValueError(
                f"the tokenizer begins {words[0]!r} and {words[1]!r} with one token; they cannot be told apart"
            )
        self._kept: dict[tuple[str, str], float] = {}

    def scores(self, messages: Sequence[str], goal: str) -> Float[np.ndarray, " messages"]:
        """Logit of yes less logit of no."""
        if unseen := [message for message in dict.fromkeys(messages) if (goal, message) not in self._kept]:
            prompts = [self._prompt(message, goal) for message in unseen]
            logits = answer_logits(self.model, prompts, self._answers, self.batch)
            self._kept.update(zip([(goal, message) for message in unseen], logits[:, 0] - logits[:, 1], strict=True))
        return np.array([self._kept[goal, message] for message in messages])

    def annotate(self, messages: Sequence[str], goal: str, rng: np.random.Generator | None = None) -> list[int]:
        """1 where yes is likelier than no by more than the threshold; 0 for the empty message."""
        above = self.scores(messages, goal) > self.threshold
        return [int(label and bool(message)) for message, label in zip(messages, above, strict=True)]

    def compare(self, pairs: Sequence[tuple[str, str]], goal: str, rng: np.random.Generator | None = None) -> list[int]:
        """Decided by the two labels; equal labels are a tie."""
        return _compared(self, pairs, goal)

    def _prompt(self, message: str, goal: str) -> list[int]:
        if self.form == "few_shot":
            return self._tokens(labelled_examples_prompt(message, goal, self.examples))
        chat = [{"role": "user", "content": yes_no_prompt(message, goal)}]
        return self._tokens(self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))

    def _tokens(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]


def _compared(annotator: Any, pairs: Sequence[tuple[str, str]], goal: str = "") -> list[int]:
    labels = annotator.annotate([message for pair in pairs for message in pair], goal)
    return [compare_labels(*both) for both in zip(labels[::2], labels[1::2], strict=True)]


def _best_threshold(scores: np.ndarray, labels: np.ndarray) -> float:
    """A threshold under which most labels are right: the middle of the widest such gap between scores."""
    order = np.argsort(scores, kind="stable")
    ranked, ones = scores[order], labels[order]
    right = np.concatenate([[0], np.cumsum(1 - ones)]) + ones.sum() - np.concatenate([[0], np.cumsum(ones)])
    ends = np.concatenate([[ranked[0] - 1], ranked, [ranked[-1] + 1]])
    gaps = np.where(right == right[np.diff(ends) > 0].max(), np.diff(ends), -1.0)
    place = int(np.argmax(gaps))
    return float((ends[place] + ends[place + 1]) / 2)


def _loaded(model: Any, tokenizer: Any) -> tuple[Any, Any]:
    """A model and its tokenizer, loaded where a name was given; no code that comes with a model is run."""
    if not isinstance(model, str):
        if tokenizer is None:
            raise TypeError("tokenizer: expected the model's, got None")
        return model.eval(), tokenizer
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise ImportError("language models need the package transformers: pip install 'rewardlab[llm]'") from error
    loaded = AutoModelForCausalLM.from_pretrained(model, use_safetensors=True)
    return loaded.eval(), AutoTokenizer.from_pretrained(model)
