#!/usr/bin/env python3
"""From rewards to the gradient of GRPO in plain PyTorch autograd, in double precision, on tiny_models.py's llama.

    policy_loss.py OUT.json     OUT: tests/guide_torch/golden/policy_loss.json

Every combination of advantage scaling, reduction, ratio level, clip (equal, higher above, two-sided) and KL, off policy
and on; and NLL. Of each the loss, the statistics, the gradient's norm and its projections on two fixed vectors (weights()
of the parameters' names with "probe0." and "probe1." before them); then the log-probabilities after three AdamW steps
with clipping and decay. Among the sequences: a hole between turns, a missing reward, a completion masked out whole.
The committed file was made with torch 2.11 and transformers 5.17.
"""
import itertools
import json
import sys

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from tiny_models import BASE, MODELS, weights

MAX_LEN = 24
CLIPS = {"equal": (0.2, 0.2, 0.0), "higher": (0.2, 0.28, 0.0), "delta": (0.2, 0.28, 1.5)}
REWARDS = [[1.0, 0.25, None, -0.5], [0.4, 0.9, 0.4, 0.1]]
LENGTHS = [[12, 5, 9, 22], [7, 16, 1, 24]]  # of completions
PROMPTS = [8, 13]
HOLE, CUT = (0, 3), (1, 3)  # group, number


def make_model(dtype=torch.float64):
    """As AutoModelForCausalLM has it, with the weights of the formula."""
    config = AutoConfig.for_model(**{**BASE, **MODELS["llama"]})
    model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa").eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.copy_(weights(key, tuple(parameter.shape)))
    return model


def logprobs_of(model, tokens):
    ids = torch.tensor([tokens])
    all_logprobs = model(ids).logits[0, :-1].log_softmax(-1)
    entropy = -(all_logprobs.exp() * all_logprobs).sum(-1)
    return all_logprobs.gather(1, ids[0, 1:, None])[:, 0], entropy


def batch(model):
    """The sequences in order; old and ref have a value for each token."""
    generator = torch.Generator().manual_seed(11)
    out = []
    for group, (rewards, lengths) in enumerate(zip(REWARDS, LENGTHS)):
        prompt = torch.randint(0, 256, (PROMPTS[group],), generator=generator).tolist()
        for number, (reward, length) in enumerate(zip(rewards, lengths)):
            tokens = prompt + torch.randint(0, 256, (length,), generator=generator).tolist()
            mask = [0] * len(prompt) + [1] * length
            if (group, number) == HOLE:
                mask[len(prompt) + 6:len(prompt) + 10] = [0] * 4
            if (group, number) == CUT:
                mask = [0] * len(mask)
            with torch.no_grad():
                own = logprobs_of(model, tokens)[0].float()
            old = own + 0.35 * torch.randn(own.shape, generator=generator)
            ref = own + 0.25 * torch.randn(own.shape, generator=generator)
            out.append({"tokens": tokens, "prompt": len(prompt), "mask": mask, "group": group, "reward": reward,
                        "old": [0.0] + [round(x, 5) for x in old.tolist()],
                        "ref": [0.0] + [round(x, 5) for x in ref.tolist()]})
    return out


def advantages(sequences, scaling):
    known = lambda group: torch.tensor([s["reward"] for s in sequences if s["reward"] is not None
                                        and group in (None, s["group"])], dtype=torch.float64)
    out = []
    for s in sequences:
        if s["reward"] is None:
            out.append(0.0)
            continue
        centred = s["reward"] - known(s["group"]).mean()
        if scaling == "group":
            centred = centred / (known(s["group"]).std() + 1e-4)
        if scaling == "batch":
            centred = centred / (known(None).std() + 1e-4)
        out.append(float(centred))
    return out


def loss_of(model, sequences, case):
    total = sum(sum(s["mask"]) for s in sequences)
    loss, stats = 0.0, {"kl": 0.0, "entropy": 0.0, "clip_frac": 0.0, "ratio_max": 0.0 if case["policy"] else 1.0}
    factors = advantages(sequences, case["scaling"])
    low, high, delta = CLIPS[case["clip"]]
    for s, a in zip(sequences, factors):
        mask = torch.tensor(s["mask"][1:], dtype=torch.bool)
        if not mask.any():
            continue
        logp, entropy = logprobs_of(model, s["tokens"])
        logp = logp[mask]
        stats["entropy"] += float(entropy[mask].sum().detach()) / total
        if not case["policy"]:
            loss = loss - logp.sum() / total
            continue
        old = torch.tensor(s["old"][1:])[mask].double() if case["old"] else logp.detach()
        ratio = logp - old
        if case["ratio"] == "sequence":
            ratio = ratio.mean().expand_as(ratio)
        w = ratio.exp()
        capped = w.clamp(max=delta) if delta > 0 else w
        term = -torch.min(capped * a, w.clamp(1 - low, 1 + high) * a)
        d = torch.tensor(s["ref"][1:])[mask].double() - logp
        k3 = d.exp() - d - 1
        if case["kl_beta"] > 0:
            term = term + case["kl_beta"] * k3
            stats["kl"] += float(k3.sum().detach()) / total
        clipped = ((w < 1 - low) & (a < 0)) | ((w > 1 + high) & (a > 0))
        stats["clip_frac"] += float(clipped.sum()) / total
        stats["ratio_max"] = max(stats["ratio_max"], float(w.max().detach()))
        if case["reduction"] == "dr_grpo":
            loss = loss + term.sum() / (len(sequences) * MAX_LEN)
        elif case["reduction"] == "dapo":
            loss = loss + term.sum() / total
        else:
            loss = loss + term.mean() / len(sequences)
    return loss, stats


def gradient(model):
    """Its norm, and its projections on the two fixed vectors."""
    out = {"grad_norm": sum(float((p.grad ** 2).sum()) for p in model.parameters()) ** 0.5, "probes": []}
    for k in range(2):
        dot = square = 0.0
        for name, p in model.named_parameters():
            v = weights(f"probe{k}.{name}", tuple(p.shape)).double()
            dot, square = dot + float((p.grad * v).sum()), square + float((v * v).sum())
        out["probes"].append(dot / square ** 0.5)
    return out


def main() -> None:
    model = make_model()
    sequences = batch(model)
    plain = {"policy": False, "scaling": "none", "reduction": "dapo", "ratio": "token", "clip": "equal", "kl_beta": 0.0, "old": False}
    cases = [plain]
    for scaling, reduction, ratio, clip, beta, old in itertools.product(
            ["none", "group", "batch"], ["dr_grpo", "dapo", "grpo"], ["token", "sequence"], CLIPS, [0.0, 0.1], [True, False]):
        if old or (clip == "equal" and ratio == "token"):  # on policy they come to the same
            cases.append({"policy": True, "scaling": scaling, "reduction": reduction, "ratio": ratio, "clip": clip,
                          "kl_beta": beta, "old": old})
    for case in cases:
        model.zero_grad()
        loss, stats = loss_of(model, sequences, case)
        loss.backward()
        case.update(loss=loss.item(), **stats, **gradient(model))
        for key in ("loss", "kl", "entropy", "clip_frac", "ratio_max", "grad_norm"):
            case[key] = float(f"{case[key]:.9g}")
        case["probes"] = [float(f"{v:.9g}") for v in case["probes"]]

    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    adamw = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}], lr=1e-3)
    for _ in range(3):
        adamw.zero_grad()
        loss_of(model, sequences, plain)[0].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        adamw.step()
    with torch.no_grad():
        after = [[round(v, 6) for v in logprobs_of(model, s["tokens"])[0].tolist()] for s in sequences]
    config = {**BASE, **MODELS["llama"]}
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        lines = [",\n".join(json.dumps(row, separators=(",", ":")) for row in rows) for rows in (sequences, cases, after)]
        file.write('{"config": %s, "max_len": %d, "clips": %s,\n"sequences": [\n%s\n],\n"cases": [\n%s\n],\n"after_adamw": [\n%s\n]}\n'
                   % (json.dumps(config), MAX_LEN, json.dumps(CLIPS), *lines))
    print(len(cases), "cases")


if __name__ == "__main__":
    main()
