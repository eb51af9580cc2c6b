#!/usr/bin/env python3
"""Low-rank adapters as PEFT computes them, for the tiny models of tiny_models.py.

    lora.py OUT.json                     writes tests/guide_torch/golden/lora.json, which test_lora.cpp reads
    GCOP_SAVE_LORA=DIR test_guide_torch -tc="*PEFT*"; lora.py --check DIR
                                         loads what guide_torch saved: base + adapter in peft beside the merged model in
                                         transformers; prints the largest difference of their logits

Golden: logits, loss, gradient norms of A and B, and the losses of five AdamW steps (lr 0.01).
Made with torch 2.11, transformers 5.17 and peft 0.21.
"""
import json
import os
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from tiny_models import BASE, LENGTH, MODELS, POSITIONS, PROMPT, mix, weights
import numpy as np

ADAPTERS = {"llama": (4, 8.0, ["q_proj", "v_proj"]),
            "qwen2": (2, 16.0, ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]),
            "qwen3": (3, 3.0, ["down_proj", "o_proj"])}


def text():
    with np.errstate(over="ignore"):
        return [int(t % np.uint64(256)) for t in mix(np.arange(1000, 1000 + LENGTH, dtype=np.uint64))]


def main():
    out, tokens = [], text()
    for name, (rank, alpha, targets) in ADAPTERS.items():
        fields = {**BASE, **MODELS[name]}
        base = AutoModelForCausalLM.from_config(AutoConfig.for_model(**fields), dtype=torch.float32).eval()
        with torch.no_grad():
            for key, parameter in base.named_parameters():
                parameter.copy_(weights(key, tuple(parameter.shape)))
        model = get_peft_model(base, LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets, task_type="CAUSAL_LM"))
        model.eval()
        adapter = {key.replace(".default", ""): p for key, p in model.named_parameters() if p.requires_grad}
        with torch.no_grad():
            for key, parameter in adapter.items():
                parameter.copy_(weights(key, tuple(parameter.shape)))
        optimizer = torch.optim.AdamW(adapter.values(), lr=0.01, weight_decay=0)
        losses = []
        for step in range(6):
            logits = model(torch.tensor([tokens])).logits[0]
            loss = torch.nn.functional.cross_entropy(logits[PROMPT - 1:-1], torch.tensor(tokens[PROMPT:]))
            losses.append(float(loss))
            optimizer.zero_grad()
            loss.backward()
            if step == 0:
                rows = [[round(float(v), 5) for v in logits[p, ::3]] for p in POSITIONS]
                norms = {key: float(f"{float(p.grad.norm()):.6g}") for key, p in adapter.items()}
            optimizer.step()
        print(name, losses)
        out.append({"name": name, "config": fields, "rank": rank, "alpha": alpha, "targets": targets, "tokens": tokens,
                    "prompt": PROMPT, "positions": POSITIONS, "logits": rows, "gradients": norms, "losses": losses})
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write("[" + ",\n".join(json.dumps(m, separators=(",", ":")) for m in out) + "]\n")


def check(folder):
    for name in sorted(os.listdir(folder)):
        here = os.path.join(folder, name)
        merged = AutoModelForCausalLM.from_pretrained(os.path.join(here, "saved"), dtype=torch.float32).eval()
        base = AutoModelForCausalLM.from_pretrained(os.path.join(here, "base"), dtype=torch.float32).eval()
        model = PeftModel.from_pretrained(base, os.path.join(here, "saved", "adapter")).eval()
        ids = torch.tensor([text()])
        with torch.no_grad():
            print(name, "largest difference", float((merged(ids).logits - model(ids).logits).abs().max()))


if __name__ == "__main__":
    if sys.argv[1] == "--check":
        check(sys.argv[2])
    else:
        main()
