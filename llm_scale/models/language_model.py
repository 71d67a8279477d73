"""A causal language model with its tokenizer, and what training one by reinforcement needs to know of the two."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from llm_scale.models.quiet import quiet

__all__ = ["LanguageModel"]


@dataclass(eq=False)
class LanguageModel:
    """A causal language model, its tokenizer, and the reference it is held against.

    Args:
        model: The model, possibly wrapped by peft.
        tokenizer: Its tokenizer, which names at least an end-of-sequence token.
        name: What to call it in logs.
        chat: Whether prompts go through the tokenizer's chat template.

    Raises:
        ValueError: If the tokenizer names no end-of-sequence token, or `chat` asks for a template it does not have.

    Example:
        >>> from llm_scale.models.loading import load
        >>> lm = load("tiny-test")
        >>> lm.encode("2+3=")
        [22, 15, 23, 33]
        >>> lm.encode_completion("5")
        [25, 1]
        >>> lm.decode([25, 1, 0, 0])
        '5'
    """

    model: torch.nn.Module
    tokenizer: PreTrainedTokenizerBase
    name: str
    chat: bool
    _frozen: PreTrainedModel | None = field(default=None, repr=False)

    def __post_init__(self):
        if self.tokenizer.eos_token_id is None:
            raise ValueError(f"the tokenizer of {self.name!r} names no end-of-sequence token, so no answer could end")
        if self.chat and not self.tokenizer.chat_template:
            raise ValueError(f"the tokenizer of {self.name!r} has no chat template; load the model with chat=False")

    @property
    def base(self) -> PreTrainedModel:
        """The causal model without peft's wrapper: backbone `.model` and output layer `.lm_head`.

        Layers that peft has put in stay in, so what runs through it trains the adapters.
        """
        return self.model.get_base_model() if hasattr(self.model, "peft_config") else self.model

    @property
    def adapted(self) -> bool:
        """Whether peft's adapters are what is trained."""
        return hasattr(self.model, "peft_config")

    @property
    def end_ids(self) -> tuple[int, ...]:
        """Tokens that end an answer: the tokenizer's first, then any others that the model's settings name."""
        named = getattr(self.base.generation_config, "eos_token_id", None)
        named = [] if named is None else [named] if isinstance(named, int) else list(named)
        return tuple(dict.fromkeys([self.tokenizer.eos_token_id, *named]))

    @property
    def pad_id(self) -> int:
        """Token that fills rows up; the end token where the tokenizer has none of its own."""
        return self.end_ids[0] if self.tokenizer.pad_token_id is None else self.tokenizer.pad_token_id

    @property
    def context(self) -> int:
        """Positions the model was made for: tokens of prompt and answer together."""
        return self.base.config.get_text_config().max_position_embeddings

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the frozen or trained weights; adapters of peft may be of a finer one."""
        return self.base.get_output_embeddings().weight.dtype

    def parameters(self) -> list[torch.nn.Parameter]:
        """Parameters that are trained: the adapters' if there are any, else all; tied ones once."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def encode(self, prompt: str) -> list[int]:
        """Tokens of a prompt, up to where the answer begins.

        Args:
            prompt: What the user says where `chat`, else the text that is to be continued.

        Raises:
            TypeError: If it is no text.
            ValueError: If nothing is left of it, for a model needs a token to begin from.
        """
        if not isinstance(prompt, str):
            raise TypeError(f"prompt: expected text, got {type(prompt).__name__}")
        if self.chat:
            message = [{"role": "user", "content": prompt}]
            text = self.tokenizer.apply_chat_template(message, add_generation_prompt=True, tokenize=False)
            return self.tokenizer(text, add_special_tokens=False).input_ids  # the template writes them itself
        ids = self.tokenizer(prompt).input_ids
        if not ids:
            raise ValueError(f"prompt {prompt!r} has no tokens, expected at least one to continue from")
        return ids

    def encode_completion(self, text: str) -> list[int]:
        """Tokens of an answer, the end-of-sequence token last: what `Completions` hold of it."""
        if not isinstance(text, str):
            raise TypeError(f"completion: expected text, got {type(text).__name__}")
        return [*self.tokenizer(text, add_special_tokens=False).input_ids, self.end_ids[0]]

    def decode(self, ids: Sequence[int] | torch.Tensor) -> str:
        """Text of an answer, without padding, end and other special tokens.

        Args:
            ids: One row of tokens, shape (T,).
        """
        ids = ids.tolist() if isinstance(ids, torch.Tensor) else list(ids)
        silent = {*self.end_ids, self.pad_id}
        kept = [token for token in ids if token not in silent]
        return self.tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def keep_reference(self) -> None:
        """Fix the present weights as the reference.

        With adapters there is nothing to keep: the reference is the model without them. Otherwise a frozen copy of
        all weights is made; called again, the newer one replaces it.
        """
        if not self.adapted:
            self._frozen = copy.deepcopy(self.model).eval().requires_grad_(False)

    @contextmanager
    def reference(self) -> Iterator[PreTrainedModel]:
        """Within this context, `model` and `base` are the reference's; they are also what it yields.

        Raises:
            ValueError: If all weights are trained and `keep_reference` was never called.
        """
        if self.adapted:
            with self.model.disable_adapter():
                yield self.base
            return
        if self._frozen is None:
            raise ValueError(
                f"{self.name!r} has no reference; keep_reference() makes one, before training changes weights"
            )
        trained, self.model = self.model, self._frozen
        try:
            yield self.base
        finally:
            self.model = trained

    def save(self, folder: str | Path) -> None:
        """Write model and tokenizer so that `load` takes the folder; weights as safetensors.

        Raises:
            ValueError: If adapters are in the way: merge them first, or save them by a checkpoint.
        """
        if self.adapted:
            raise ValueError(f"{self.name!r} has adapters, which a model folder does not hold; merge() them first")
        with quiet():
            self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)

    def merge(self) -> None:
        """Add the adapters into the weights and drop them, so that the model is an ordinary one again."""
        if self.adapted:
            self.model = self.model.merge_and_unload()
