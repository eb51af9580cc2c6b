#!/usr/bin/env python3
"""Greedy completions of Hugging Face transformers, as the reference that guide_torch's tokens are compared with.

    greedy_golden.py NAME MODEL.gguf OUT.json

Writes {"model", "cases": [{"messages", "prompt", "tokens", "gaps"}]}: token ids of the rendered prompt, 48 greedy tokens
in fp32, and at each the distance between the best two logits; a comparison ends at the first near-tie.
The committed files were made with torch 2.11 and transformers 5.17.
"""
import json
import os
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPTS = [
    "Name three colours.",
    "What is the capital of Portugal?",
    "Write a Python function that adds two numbers.",
    "Why is the sky blue? Answer in one sentence.",
    "Translate 'good morning' into French.",
    "def fibonacci(n):",
    "List the first five prime numbers.",
    "Explain recursion to a child.",
    "How many days are in a leap year?",
    "Write a haiku about autumn.",
    "Sort these words: pear, apple, fig.",
    "What does HTTP stand for?",
    "Give me a synonym for 'happy'.",
    "Compute 17 * 23.",
    "Write a SQL query that counts rows in table users.",
    "Reverse the string 'strategy' in Python.",
    "Who wrote 'Faust'?",
    "Unicode: na\u00efve caf\u00e9 \u2014 \u6771\u4eac \U0001f600. What language is each word?",
    "A train leaves at 9:40 and arrives at 11:05. How long does it take?",
    "Summarise:\n\n  * tests pass\n  * the build is green\n\n\tWhat should we do next?",
]
SYSTEM = "You are a careful assistant. Keep answers short."
TOKENS = 48


def greedy(model, prompts):
    """All prompts in one batch, padded on the left."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    tokens, gaps, past = [[] for _ in prompts], [[] for _ in prompts], None
    with torch.inference_mode():
        for step in range(TOKENS):
            result = model(ids, attention_mask=mask, position_ids=positions, past_key_values=past, use_cache=True,
                           logits_to_keep=1)
            past = result.past_key_values
            best = result.logits[:, -1].float().topk(2)
            ids = best.indices[:, :1]
            mask = torch.cat([mask, torch.ones_like(ids)], 1)
            positions = positions[:, -1:] + 1
            for i in range(len(prompts)):
                tokens[i].append(int(ids[i, 0]))
                gaps[i].append(round(float(best.values[i, 0] - best.values[i, 1]), 5))
            print(f"token {step + 1}/{TOKENS}", file=sys.stderr, flush=True)
    return tokens, gaps


def main() -> None:
    name, path, out = sys.argv[1:4]
    folder, file = os.path.split(os.path.abspath(path))
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32).eval()
    conversations = []
    for i, prompt in enumerate(PROMPTS):
        messages = [{"role": "user", "content": prompt}]
        if i % 2 == 0:
            messages.insert(0, {"role": "system", "content": SYSTEM})
        conversations.append(messages)
    texts = [tokenizer.apply_chat_template(m, tokenize=False, add_generation_prompt=True) for m in conversations]
    prompts = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    tokens, gaps = greedy(model, prompts)
    cases = [
        {"messages": m, "prompt": p, "tokens": t, "gaps": g}
        for m, p, t, g in zip(conversations, prompts, tokens, gaps)
    ]
    for case in cases:
        print(name, repr(tokenizer.decode(case["tokens"])[:70]))
    with open(out, "w", encoding="utf-8") as file:
        body = ",\n".join(json.dumps(case, ensure_ascii=True) for case in cases)
        file.write('{"model": %s, "cases": [\n%s\n]}\n' % (json.dumps(name), body))


if __name__ == "__main__":
    main()
