#!/usr/bin/env python3
"""Greedy completions and logits of Hugging Face transformers, as the reference for guide_torch's.

    greedy_golden.py NAME MODEL.gguf OUT.json [TOKENS]    OUT: tests/guide_torch/golden/greedy_smollm2.json, greedy_qwen05.json

Writes {"model", "most", "cases": [{"messages", "prompt", "tokens", "end"}], "logits": [{"case", "positions", "rows",
"logsumexp"}]}, all in fp32. tokens: at most `most` (TOKENS, default 256); end is "stop" (the last one ends the turn), "length", or "tie": the best
two logits of the next token lie within 1e-3, where rounding may decide and a comparison ends. logits: of every 997th
token id, at positions of the case's prompt followed by its tokens.
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
    "Add these numbers, one after the other: " + ", ".join(str(n * n % 97) for n in range(1, 90)) + ".",
    "Hi",
    "?",
    "Write a C function that swaps two integers, and say why it needs pointers.",
    "What is the difference between a list and a tuple?",
    "Give a JSON object with the keys name, age and city.",
    "Find the bug:\n\nfor i in range(len(xs)):\n    if xs[i] == xs[i + 1]:\n        print(i)\n",
    "Tell a story of a lighthouse keeper in five sentences.",
    "Which is larger, 0.9 or 0.11? Explain.",
    "Write a regular expression for dates such as 2024-02-29.",
    "Name the planets in order of their distance from the sun.",
    "Convert 98.6 degrees Fahrenheit to Celsius, step by step.",
    "What happens when water boils on a high mountain?",
    "Write unit tests for a function is_even(n).",
    "Explain the difference between TCP and UDP.",
    "class Stack:\n    def __init__(self):\n        self.items = []\n\n    def push(self, item):",
    "A farmer has 12 hens and 5 cows. How many legs are there?",
    "Give three uses of a brick.",
    "What is a hash table, and when is it slow?",
    "Write a bash line that counts the lines of all .txt files.",
    "Rewrite politely: send me the report now.",
    "Complete: 1, 1, 2, 3, 5, 8,",
    "Here is a log:\n" + "\n".join(f"12:{n:02d} worker {n * 7 % 5} took {n * n % 211} ms" for n in range(40)) + "\nWhich worker is slow?",
    "Write a function that checks whether a string is a palindrome, ignoring case and spaces.",
    "What rhymes with 'orange'?",
    "Plan a lesson on fractions for ten-year-olds.",
    "How do I undo the last commit in git without losing my changes?",
    "Write binary search in Rust.",
    "Is 91 a prime number?",
    "Schreibe einen Satz \u00fcber M\u00fcnchen. \u00c0 bient\u00f4t! \u0441\u043f\u0430\u0441\u0438\u0431\u043e",
]
SYSTEM = "You are a careful assistant. Keep answers short."
NEAR_TIE, STRIDE = 1e-3, 997
LOGIT_CASES = [0, 5, 17, 42]


def greedy(model, prompts, stops, most):
    """Of each what can be compared, and why it ends there. All in one batch, padded on the left; one that has ended leaves."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    tokens, ends, past, active = [[] for _ in prompts], ["length"] * len(prompts), None, list(range(len(prompts)))
    with torch.inference_mode():
        for step in range(most):
            result = model(ids, attention_mask=mask, position_ids=positions, past_key_values=past, use_cache=True,
                           logits_to_keep=1)
            past = result.past_key_values
            best = result.logits[:, -1].float().topk(2)
            stay = []
            for row, i in enumerate(active):
                if float(best.values[row, 0] - best.values[row, 1]) < NEAR_TIE:
                    ends[i] = "tie"
                    continue
                tokens[i].append(int(best.indices[row, 0]))
                if tokens[i][-1] in stops:
                    ends[i] = "stop"
                else:
                    stay.append(row)
            if not stay:
                break
            ids = best.indices[stay, :1]
            mask = torch.cat([mask[stay], torch.ones_like(ids)], 1)
            positions = positions[stay, -1:] + 1
            if len(stay) < len(active):
                past.batch_select_indices(torch.tensor(stay))
            active = [active[row] for row in stay]
            print(f"token {step + 1}/{most}, {len(active)} active", file=sys.stderr, flush=True)
    return list(zip(tokens, ends))


def main() -> None:
    name, path, out = sys.argv[1:4]
    most = int(sys.argv[4]) if len(sys.argv) > 4 else 256
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
    stops = {tokenizer.eos_token_id, *tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])}
    found = [None] * len(prompts)
    for chosen in ([i for i, p in enumerate(prompts) if (len(p) > 100) == long] for long in (True, False)):  # little padding
        for i, row in zip(chosen, greedy(model, [prompts[i] for i in chosen], stops, most)):
            found[i] = row
    cases = []
    for m, p, (t, end) in zip(conversations, prompts, found):
        cases.append({"messages": m, "prompt": p, "tokens": t, "end": end})
        print(name, end, len(t), repr(tokenizer.decode(t)[:70]))
    logits = []
    for i in LOGIT_CASES:
        length = len(prompts[i])
        ids = prompts[i] + cases[i]["tokens"][:40]
        positions = sorted({0, 5, length // 2, length - 1, len(ids) - 1})
        with torch.inference_mode():
            rows = model(torch.tensor([ids])).logits[0, positions].float()
        logits.append({"case": i, "positions": positions, "rows": [[round(v, 5) for v in row[::STRIDE].tolist()] for row in rows],
                       "logsumexp": [round(v, 5) for v in rows.logsumexp(-1).tolist()]})
    with open(out, "w", encoding="utf-8") as file:
        body = [",\n".join(json.dumps(row, ensure_ascii=True, separators=(",", ":")) for row in rows) for rows in (cases, logits)]
        file.write('{"model": %s, "most": %d, "cases": [\n%s\n],\n"logits": [\n%s\n]}\n' % (json.dumps(name), most, *body))


if __name__ == "__main__":
    main()
