#!/usr/bin/env python3
"""The losses of gcop.guide/1 in plain PyTorch autograd over a transformers model: what guide_torch's numbers must equal.

    GCOP_SAVE_TINY=DIR test_guide_torch -tc="losses*"    saves the tests' tiny random model
    policy_loss.py DIR OUT.json

Every combination of reduction, ratio level, two-sided clip and KL, on and off policy, and NLL: loss, gradient norm and
statistics; then three AdamW steps with clipping and decay, and the log-probabilities after them.
The committed file was made with torch 2.11 and transformers 5.17.
"""
import itertools
import json
import sys

import torch
from transformers import AutoModelForCausalLM

CLIP_LOW, CLIP_HIGH, MAX_LEN = 0.2, 0.28, 24


def logprobs_of(model, tokens):
    ids = torch.tensor([tokens])
    all_logprobs = model(ids).logits[0, :-1].float().log_softmax(-1)
    entropy = -(all_logprobs.exp() * all_logprobs).sum(-1)
    return all_logprobs.gather(1, ids[0, 1:, None])[:, 0], entropy


def batch(model):
    generator = torch.Generator().manual_seed(11)
    sequences = []
    for length, prompt, advantage in [(20, 8, 0.9), (13, 5, -0.6), (31, 9, -0.3), (9, 8, 0.4), (24, 3, 0.0)]:
        tokens = torch.randint(0, 256, (length,), generator=generator).tolist()
        mask = [0] * prompt + [1] * (length - prompt)
        if length == 31:
            mask[15:19] = [0, 0, 0, 0]  # a hole, as between turns
        with torch.no_grad():
            own = logprobs_of(model, tokens)[0]
        old = own + 0.35 * torch.randn(own.shape, generator=generator)
        ref = own + 0.25 * torch.randn(own.shape, generator=generator)
        sequences.append({
            "tokens": tokens, "mask": mask, "advantage": advantage,
            "old": [0.0] + [round(x, 5) for x in old.tolist()], "ref": [0.0] + [round(x, 5) for x in ref.tolist()],
        })
    return sequences


def loss_of(model, sequences, case):
    total = sum(sum(s["mask"]) for s in sequences)
    loss, stats = 0.0, {"kl": 0.0, "entropy": 0.0, "clip_frac": 0.0, "ratio_max": 0.0 if case["policy"] else 1.0}
    for s in sequences:
        mask = torch.tensor(s["mask"][1:], dtype=torch.bool)
        logp, entropy = logprobs_of(model, s["tokens"])
        logp = logp[mask]
        stats["entropy"] += float(entropy[mask].sum().detach()) / total
        if not case["policy"]:
            loss = loss - logp.sum() / total
            continue
        old = torch.tensor(s["old"][1:])[mask] if case["old"] else logp.detach()
        ratio = logp - old
        if case["ratio"] == "sequence":
            ratio = ratio.mean().expand_as(ratio)
        w, a = ratio.exp(), s["advantage"]
        capped = w.clamp(max=case["delta"]) if case["delta"] > 0 else w
        term = -torch.min(capped * a, w.clamp(1 - CLIP_LOW, 1 + CLIP_HIGH) * a)
        d = torch.tensor(s["ref"][1:])[mask] - logp
        k3 = d.exp() - d - 1
        if case["kl_beta"] > 0:
            term = term + case["kl_beta"] * k3
            stats["kl"] += float(k3.sum().detach()) / total
        clipped = ((w < 1 - CLIP_LOW) & (a < 0)) | ((w > 1 + CLIP_HIGH) & (a > 0))
        stats["clip_frac"] += float(clipped.sum()) / total
        stats["ratio_max"] = max(stats["ratio_max"], float(w.max().detach()))
        if case["reduction"] == "dr_grpo":
            loss = loss + term.sum() / (len(sequences) * MAX_LEN)
        elif case["reduction"] == "dapo":
            loss = loss + term.sum() / total
        else:
            loss = loss + term.mean() / len(sequences)
    return loss, stats


def main() -> None:
    folder, out = sys.argv[1:3]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    sequences = batch(model)
    cases = [{"policy": False, "reduction": "dapo", "ratio": "token", "delta": 0.0, "kl_beta": 0.0, "old": False}]
    for reduction, ratio, delta, beta, old in itertools.product(
            ["dr_grpo", "dapo", "grpo"], ["token", "sequence"], [0.0, 1.5], [0.0, 0.1], [True, False]):
        if old or delta == 0.0:
            cases.append({"policy": True, "reduction": reduction, "ratio": ratio, "delta": delta, "kl_beta": beta, "old": old})
    for case in cases:
        model.zero_grad()
        loss, stats = loss_of(model, sequences, case)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), float("inf"))
        case.update(loss=loss.item(), grad_norm=float(norm), **stats)

    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    adamw = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}], lr=1e-3)
    for _ in range(3):
        adamw.zero_grad()
        loss_of(model, sequences, cases[0])[0].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        adamw.step()
    with torch.no_grad():
        after = [logprobs_of(model, s["tokens"])[0].tolist() for s in sequences]
    with open(out, "w", encoding="utf-8") as file:
        file.write('{"sequences": [\n%s\n],\n"cases": [\n%s\n],\n"after_adamw": [\n%s\n]}\n' % tuple(
            ",\n".join(json.dumps(row) for row in rows) for rows in (sequences, cases, after)))


if __name__ == "__main__":
    main()
