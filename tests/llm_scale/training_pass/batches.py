"""Tiny models and batches that the tests of the training pass share."""

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM


def tiny(dtype=torch.float64, model=LlamaForCausalLM, config=LlamaConfig, **changes):
    """Two layers of width 32; in float64 with norms that are float64 too, where the library's own are not."""
    settings = {
        "vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128, "pad_token_id": 0,
    } | changes  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = model(config(**settings)).to(dtype)
    for parameter in made.parameters():
        if parameter.ndim == 2:
            parameter.data *= 5  # weights of 0.02 would leave attention uniform and positions without effect
    if dtype == torch.float64:
        for name, module in list(made.named_modules()):
            if type(module).__name__.endswith("RMSNorm"):
                exact = nn.RMSNorm(module.weight.shape, eps=1e-6, dtype=dtype)
                exact.load_state_dict(module.state_dict())
                made.set_submodule(name, exact)
    return made


def batch(prompt_lengths=(5, 3), lengths=((7, 1, 3), (0, 6, 2)), seed=0, vocabulary=61, width=None):
    """Prompts, ids, mask, group: completions of the given lengths."""
    generator = torch.Generator().manual_seed(seed)
    prompts = [torch.randint(1, vocabulary, (length,), generator=generator).tolist() for length in prompt_lengths]
    every = torch.tensor(lengths).flatten()
    width = int(every.max()) if width is None else width
    mask = torch.arange(width) < every[:, None]
    ids = torch.randint(1, vocabulary, mask.shape, generator=generator).masked_fill(~mask, 0)
    return prompts, ids, mask, len(lengths[0])


def row_by_row(model, prompts, ids, mask, group, temperature=1.0):
    """Log-probabilities and entropies from whole forward passes, a completion at a time, without padding."""
    log_probs, entropies = [], []
    for row, (tokens, own) in enumerate(zip(ids, mask, strict=True)):
        prompt = torch.tensor(prompts[row // group])
        logits = model(torch.cat([prompt, tokens[own]])[None]).logits[0, len(prompt) - 1 :]
        every = (logits[: own.sum()] / temperature).log_softmax(-1)
        missing = torch.zeros(len(own) - int(own.sum()), dtype=every.dtype)
        log_probs.append(torch.cat([every.gather(1, tokens[own][:, None])[:, 0], missing]))
        entropies.append(torch.cat([-(every.exp() * every).sum(-1), missing]))
    return torch.stack(log_probs), torch.stack(entropies)
