"""Makes rope.json: frequencies, cos and sin of transformers' LlamaRotaryEmbedding for RotaryEmbeddingTest.

python make_rope.py > rope.json    (transformers 5, torch on the CPU)
"""
import json

import torch
import transformers
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

CASES = {
    "default": (64, 10000.0, 2048, {"rope_type": "default"}),
    "default with large theta": (128, 1000000.0, 32768, {"rope_type": "default"}),
    "linear 2": (64, 10000.0, 2048, {"rope_type": "linear", "factor": 2.0}),
    "linear 3.5": (32, 500000.0, 4096, {"rope_type": "linear", "factor": 3.5}),
    "dynamic 2": (64, 10000.0, 2048, {"rope_type": "dynamic", "factor": 2.0}),
    "dynamic 4, large theta": (128, 500000.0, 512, {"rope_type": "dynamic", "factor": 4.0}),
    "llama3 of Llama 3.1": (128, 500000.0, 131072, {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192}),
    "llama3 of Llama 3.2": (64, 500000.0, 131072, {
        "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192}),
    "yarn 4 of Qwen": (128, 1000000.0, 131072, {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}),
    "yarn with its own betas": (64, 10000.0, 16384, {
        "rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 2048, "beta_fast": 24.0, "beta_slow": 2.0}),
    "yarn with mscale": (64, 10000.0, 163840, {
        "rope_type": "yarn", "factor": 40.0, "original_max_position_embeddings": 4096, "mscale": 0.707,
        "mscale_all_dim": 1.0}),
    "yarn with equal mscales": (64, 10000.0, 163840, {
        "rope_type": "yarn", "factor": 40.0, "original_max_position_embeddings": 4096, "mscale": 1.0,
        "mscale_all_dim": 1.0}),
    "yarn with an attention factor": (64, 10000.0, 8192, {
        "rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 4096, "attention_factor": 1.25}),
    "yarn not truncated": (64, 150000.0, 131072, {
        "rope_type": "yarn", "factor": 32.0, "original_max_position_embeddings": 4096, "truncate": False}),
}
LENGTHS = [1, 100, 513, 2048, 2049, 5000, 40000]


def case(head, theta, most, rope):
    config = LlamaConfig(
        hidden_size=4 * head, intermediate_size=8, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
        head_dim=head, vocab_size=8, max_position_embeddings=most, rope_parameters={**rope, "rope_theta": theta})
    given = json.loads(config.to_json_string(use_diff=False))
    kept = ("model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
            "num_key_value_heads", "head_dim", "vocab_size", "max_position_embeddings", "hidden_act", "rms_norm_eps")
    lengths = []
    for length in LENGTHS:
        embedding = LlamaRotaryEmbedding(config)  # new, since a dynamic one remembers the longest sequence
        positions = sorted({0, 1, length // 3, length - 1})
        cos, sin = embedding(torch.zeros(1), torch.tensor([positions if length > 1 else [0]]))
        lengths.append({
            "length": length, "inv_freq": embedding.inv_freq.tolist(),
            "positions": positions if length > 1 else [0],
            "cos": cos[0, :, : head // 2].flatten().tolist(), "sin": sin[0, :, : head // 2].flatten().tolist()})
    if rope["rope_type"] != "dynamic":
        for entry in lengths[1:]:
            del entry["inv_freq"]  # the same for all lengths
    return {
        "config": {**{key: given[key] for key in kept}, "rope_parameters": {**rope, "rope_theta": theta}},
        "attention_factor": LlamaRotaryEmbedding(config).attention_scaling, "lengths": lengths}


def rounded(value):
    """Float32 values need nine digits."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, list):
        return [rounded(entry) for entry in value]
    if isinstance(value, dict):
        return {key: entry if key in ("config", "attention_factor") else rounded(entry) for key, entry in value.items()}
    return value


print(json.dumps({
    "transformers": transformers.__version__,
    "cases": {name: rounded(case(*arguments)) for name, arguments in CASES.items()}}))
