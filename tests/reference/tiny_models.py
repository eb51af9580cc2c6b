#!/usr/bin/env python3
"""Logits of transformers for tiny models of every architecture that guide_torch runs, whose weights follow from a formula.

    tiny_models.py OUT.json         OUT: tests/guide_torch/golden/tiny_models.json
    GCOP_SAVE_FULL=DIR test_guide_torch -tc="a trained model*"; tiny_models.py --check DIR
                                    loads in transformers what guide_torch trained and saved; prints the largest difference
                                    of its logits and the guide's own, and of the tokenizer's ids

Golden: [{"name", "config", "tokens", "positions", "logits", "prompt", "loss", "gradients"}]: fp32 logits of every third
vocabulary entry at some positions; the mean negative log-likelihood of the tokens after the first `prompt`, and the
norm and first value of each parameter's gradient. tests/guide_torch/tiny_model.hpp fills the same weights. Made with torch 2.11 and transformers 5.17.
"""
import json
import os
import sys

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

VOCAB, LENGTH, POSITIONS, PROMPT = 259, 120, [0, 7, 31, 64, 119], 20
BASE = {"vocab_size": VOCAB, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 16, "intermediate_size": 96, "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": True}
MODELS = {
    "llama": {"model_type": "llama"},
    "llama, untied, llama3 rope": {"model_type": "llama", "tie_word_embeddings": False, "rope_theta": 500000.0,
        "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                         "original_max_position_embeddings": 32}},
    "llama, linear rope": {"model_type": "llama", "rope_scaling": {"rope_type": "linear", "factor": 2.0}},
    "qwen2": {"model_type": "qwen2", "tie_word_embeddings": False, "rope_theta": 1000000.0},
    "qwen2, yarn": {"model_type": "qwen2", "rope_scaling": {"rope_type": "yarn", "factor": 4.0,
                                                            "original_max_position_embeddings": 64}},
    "qwen3": {"model_type": "qwen3", "head_dim": 32},
    "qwen3, untied, 4 key/value heads": {"model_type": "qwen3", "head_dim": 32, "num_key_value_heads": 4,
                                         "tie_word_embeddings": False},
}


def mix(x):
    """splitmix64 of an array of counters."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def name_hash(name):
    """FNV-1a, so that a weight depends on its own name alone."""
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001B3 % 2**64
    return h


def weights(name, shape):
    """Values that bf16 holds exactly: k/512 for matrices, 1 + k/64 for norms, k/64 for biases."""
    n = int(np.prod(shape))
    with np.errstate(over="ignore"):
        bits = mix(np.uint64(name_hash(name)) + np.arange(n, dtype=np.uint64))
    k = (bits >> np.uint64(40)).astype(np.int64)
    if "norm" in name:
        values = 1 + (k % 32 - 16) / 64
    elif name.endswith("bias"):
        values = (k % 64 - 32) / 64
    else:
        values = (k % 128 - 64) / 512 * (4 if "embed" in name or "lm_head" in name else 1)
    return torch.tensor(values.astype(np.float32).reshape(shape))


def main():
    out = []
    with np.errstate(over="ignore"):
        tokens = [int(t % np.uint64(256)) for t in mix(np.arange(1000, 1000 + LENGTH, dtype=np.uint64))]
    for name, changes in MODELS.items():
        fields = {**BASE, **changes}
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**fields), dtype=torch.float32).eval()
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                parameter.copy_(weights(key, tuple(parameter.shape)))
        logits = model(torch.tensor([tokens])).logits[0]
        loss = torch.nn.functional.cross_entropy(logits[PROMPT - 1:-1], torch.tensor(tokens[PROMPT:]))
        loss.backward()
        gradients = {key: [float(f"{float(v):.6g}") for v in (p.grad.norm(), p.grad.flatten()[0])]
                     for key, p in model.named_parameters()}
        rows = [[round(float(v), 5) for v in logits[p, ::3]] for p in POSITIONS]
        print(name, "largest", max(map(max, rows)), "smallest", min(map(min, rows)))
        out.append({"name": name, "config": fields, "tokens": tokens, "positions": POSITIONS, "logits": rows,
                    "prompt": PROMPT, "loss": float(loss), "gradients": gradients})
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write("[" + ",\n".join(json.dumps(m, separators=(",", ":")) for m in out) + "]\n")


def check(folder):
    for name in sorted(os.listdir(folder)):
        here = os.path.join(folder, name)
        with open(os.path.join(here, "guide.json"), encoding="utf-8") as file:
            guide = json.load(file)
        model = AutoModelForCausalLM.from_pretrained(here, dtype=torch.float32).eval()
        tokenizer = AutoTokenizer.from_pretrained(here)
        with torch.no_grad():
            logits = model(torch.tensor([guide["tokens"]])).logits[0]
        ids = tokenizer(guide["text"], add_special_tokens=False)["input_ids"]
        print(f"{name}: largest difference {float((logits - torch.tensor(guide['logits'])).abs().max()):.3g} at logits up to",
              f"{float(logits.abs().max()):.3g};", "ids equal" if ids == guide["ids"] else f"ids DIFFER: {ids} {guide['ids']}")


if __name__ == "__main__":
    if sys.argv[1] == "--check":
        check(sys.argv[2])
    else:
        main()
