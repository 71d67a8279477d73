"""Small models of several architectures, and what a forward pass over whole texts says of samples."""

from types import SimpleNamespace

import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, MistralConfig, Qwen2Config

SHAPE = {
    "vocab_size": 23,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
CONFIGS = {
    "llama": LlamaConfig(**SHAPE),
    "llama, biases": LlamaConfig(**SHAPE, attention_bias=True, mlp_bias=True),
    "llama, no groups, own head": LlamaConfig(**SHAPE | {"num_key_value_heads": 4}, tie_word_embeddings=False),
    "llama, one key head, head size 12": LlamaConfig(**SHAPE | {"num_key_value_heads": 1}, head_dim=12),
    "llama, scaled angles": LlamaConfig(**SHAPE, rope_parameters=LLAMA3),
    "qwen2": Qwen2Config(**SHAPE),
    "mistral": MistralConfig(**SHAPE, sliding_window=None),
}
PROMPTS = [[5, 6, 7], [9], [4, 11, 3, 8, 20, 17, 5], [7, 7]]
END = 2


def language_model(config, dtype=torch.float32, seed=0, sharpness=8.0):
    """What `sample` asks of a LanguageModel, around random weights made to prefer some tokens clearly."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config).to(dtype).eval()
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.2)
        model.get_output_embeddings().weight.data *= sharpness
    return around(model)


def around(model, base=None):
    """A model as `sample` takes it; `base` where an adapter is wrapped around it."""
    context = (base or model).config.max_position_embeddings
    return SimpleNamespace(
        model=model, base=base or model, end_ids=(END,), pad_id=0, context=context, device=torch.device("cpu")
    )


def gpt2():
    return language_model(GPT2Config(vocab_size=23, n_embd=32, n_layer=2, n_head=4, n_positions=64))


def teacher_forced(lm, completions, temperature=1.0):
    """Log-probabilities (B, T) by one forward pass a sample over prompt and completion, without padding or cache."""
    expected = torch.zeros_like(completions.log_probs)
    with torch.no_grad():
        for row in range(completions.samples):
            prompt, answer = completions.prompt_of(row), completions.completion_of(row)
            logits = lm.model(input_ids=torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
            log_probs = (logits / (temperature or 1.0)).log_softmax(-1)
            expected[row, : len(answer)] = log_probs[torch.arange(len(answer)), answer]
    return expected
