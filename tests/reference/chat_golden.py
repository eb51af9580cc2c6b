#!/usr/bin/env python3
"""Writes tests/guide_formats/golden/chats.json: digests of what apply_chat_template renders for made-up conversations.

  chat_golden.py write [OUT.json]      1,000 conversations for each $GCOP_TEST_TEMPLATES/*.jinja, 50 a digest
  chat_golden.py show TEMPLATE BLOCK   a block's conversations and texts, as JSON lines

The templates are published models' own: SmolLM2-135M-Instruct, Qwen2.5-Coder-0.5B-Instruct (from their GGUF files),
Qwen3-0.6B (as first released, and as later revised), Meta-Llama-3-8B-Instruct, Llama-3.1-8B-Instruct.
test_chat_fuzz.cpp makes the same conversations: change both or neither.
"""
import json
import os
import pathlib
import sys

from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from fuzz_texts import GOLDEN, PIECES, Digest, Draws, piece

TEMPLATES = pathlib.Path(os.environ["GCOP_TEST_TEMPLATES"])
COUNT, BLOCK = 1000, 50
ROLES = ("user", "assistant", "system", "tool", "ipython")


def body(draws):
    return "".join(piece(draws) for _ in range(1 + draws.below(4)))


def content(draws):
    kind = draws.below(8)
    if kind == 0:
        return ""
    if kind == 1:
        return draws.one(PIECES["blanks"]) * (1 + draws.below(3))
    if kind == 2:
        before = draws.one(PIECES["blanks"])
        middle = body(draws)
        return before + middle + draws.one(PIECES["blanks"])
    if kind <= 5:
        frame = draws.one(PIECES["frames"])
        first = body(draws)
        return frame[0] + first + frame[1] + body(draws) + frame[2]
    return body(draws)


def conversation(number):
    draws = Draws(1_000_000 + number)
    messages = []
    if draws.below(2):
        messages.append({"role": "system", "content": content(draws)})
    turns = 0 if draws.below(32) == 0 else 1 + draws.below(8)
    for turn in range(turns):
        role = ROLES[draws.below(5)] if draws.below(16) == 0 else ROLES[turn % 2]
        messages.append({"role": role, "content": content(draws)})
    options = {"add_generation_prompt": draws.below(2) == 1}
    thinking = draws.below(3)
    if thinking:
        options["enable_thinking"] = thinking == 1
    if draws.below(2):
        options["date_string"] = "23 Nov 2026"
    return messages, options


def tokenizer_for(name):
    tokens = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"} if name.startswith("llama") else {"eos_token": "<|im_end|>"}
    source = (TEMPLATES / f"{name}.jinja").read_bytes().decode()
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), chat_template=source, **tokens)


def render(tokenizer, number):
    messages, options = conversation(number)
    try:
        return tokenizer.apply_chat_template(messages, tokenize=False, **options)
    except Exception:  # what it says is not compared
        return None


def write(path):
    out = {}
    for template in sorted(TEMPLATES.glob("*.jinja")):
        tokenizer, digests, refused = tokenizer_for(template.stem), [], 0
        for at in range(0, COUNT, BLOCK):
            digest = Digest()
            for number in range(at, at + BLOCK):
                text = render(tokenizer, number)
                refused += text is None
                digest.add(text is None)
                digest.add_text(text or "")
            digests.append(digest.hex())
        out[template.stem] = {"refused": refused, "digests": digests}
        print(template.stem, refused, "refused")
    path.write_text(json.dumps(out, indent=0) + "\n")


def show(name, block):
    for number in range(block * BLOCK, (block + 1) * BLOCK):
        messages, options = conversation(number)
        print(json.dumps({"messages": messages, **options, "text": render(tokenizer_for(name), number)}))


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else GOLDEN / "chats.json")
    else:
        show(sys.argv[2], int(sys.argv[3]))
