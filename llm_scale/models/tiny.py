"""Tiny Llama-architecture decoders over characters, made from scratch: language models for tests and minutes."""

from dataclasses import dataclass

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from tokenizers.decoders import Fuse
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

__all__ = ["SIZES", "TinySize", "character_tokenizer", "tiny_model"]

PAD, END, UNKNOWN = "<pad>", "<end>", "<unknown>"
CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))  # line break and printable ASCII


@dataclass(frozen=True)
class TinySize:
    """Shape of a tiny decoder: layers, widths, heads and the positions it is made for."""

    layers: int
    width: int
    inner_width: int
    heads: int
    key_value_heads: int
    context: int = 512


SIZES = {
    "tiny": TinySize(layers=4, width=192, inner_width=512, heads=6, key_value_heads=2),
    "tiny-test": TinySize(layers=2, width=32, inner_width=64, heads=4, key_value_heads=2),
}


def character_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer with a token for every printable ASCII character and the line break.

    Any other character is `<unknown>`, which is read as nothing. Tokens 0, 1 and 2 are padding, end and unknown.
    """
    vocabulary = {token: number for number, token in enumerate([PAD, END, UNKNOWN, *CHARACTERS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, unk_token=UNKNOWN, clean_up_tokenization_spaces=False
    )


def tiny_model(name: str, seed: int = 0) -> LlamaForCausalLM:
    """A decoder of the size `name` with random weights, the same for the same seed; in float32 on the CPU.

    Args:
        name: One of `SIZES`: "tiny" (1.6 million parameters) or "tiny-test" (22 thousand).
        seed: Of the weights.

    Raises:
        ValueError: If there is no such size.
    """
    if name not in SIZES:
        raise ValueError(f"no tiny model {name!r}; there are {', '.join(SIZES)}")
    size = SIZES[name]
    config = LlamaConfig(
        vocab_size=len(CHARACTERS) + 3,
        hidden_size=size.width,
        intermediate_size=size.inner_width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.key_value_heads,
        max_position_embeddings=size.context,
        initializer_range=0.06,  # thrice the usual: so narrow a decoder learns from it in half the steps
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=1, pad_token_id=0)
    return model.eval()
