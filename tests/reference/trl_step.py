#!/usr/bin/env python3
"""The loss and gradient norm of one step of TRL's GRPOTrainer and SFTTrainer on given tokens.

    trl_step.py OUT.json

GRPO: the model, sequences, log-probabilities and rewards of policy_loss.py, as the batch that _compute_loss gets (nothing
is generated), for each reduction, ratio level, clip and KL (the plain k3 estimate: not times the ratio). SFT: prompts and completions, loss on completions alone, as
the collator makes the batch. In double precision. The committed file was made with torch 2.11, transformers 5.17, trl 1.16.
"""
import itertools
import json
import os
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from policy_loss import CLIPS, MAX_LEN, advantages, batch, make_model

PAD = 258


def make_tokenizer():
    """Of no use but that the trainers want one."""
    core = Tokenizer(models.WordLevel({f"<{i}>": i for i in range(PAD + 1)}, unk_token="<0>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token=f"<{PAD}>", eos_token="<257>",
                                   chat_template="{% for m in messages %}{{ m['content'] }}{% endfor %}")


def measured(model, loss):
    loss.backward()
    norm = sum(float((p.grad ** 2).sum()) for p in model.parameters()) ** 0.5
    model.zero_grad()
    return {"loss": float(f"{loss.item():.9g}"), "grad_norm": float(f"{norm:.9g}")}


COMMON = {"use_cpu": True, "bf16": False, "gradient_checkpointing": False, "report_to": [], "per_device_train_batch_size": 8,
          "gradient_accumulation_steps": 1, "max_steps": 1, "save_strategy": "no", "disable_tqdm": True}


def padded(rows, value, left=False):
    width = max(map(len, rows))
    return torch.tensor([[value] * (width - len(r)) + r if left else r + [value] * (width - len(r)) for r in rows])


def grpo(out_dir, sequences):
    model = make_model()
    prompts = [s["tokens"][:s["prompt"]] for s in sequences]
    after = lambda key: [s[key][s["prompt"]:] for s in sequences]
    there = [[0 if not any(s["mask"]) else 1] * (len(s["tokens"]) - s["prompt"]) for s in sequences]
    masks = after("mask")
    rows = []
    for loss_type, level, clip, beta in itertools.product(["dr_grpo", "dapo", "grpo"], ["token", "sequence"],
                                                          ["higher", "delta"], [0.0, 0.1]):
        low, high, delta = CLIPS[clip]
        args = GRPOConfig(output_dir=out_dir, num_generations=4, max_completion_length=MAX_LEN, loss_type=loss_type, epsilon=low,
                          epsilon_high=high, delta=delta or None, importance_sampling_level=level, beta=0.0, temperature=1.0,
                          use_bias_correction_kl=False, **COMMON)
        trainer = GRPOTrainer(model=model, args=args, reward_funcs=lambda completions, **_: [0.0] * len(completions),
                              train_dataset=Dataset.from_list([{"prompt": "x"}] * 8), processing_class=make_tokenizer())
        trainer.beta = beta  # given to the constructor it would look for a reference model; ours are numbers
        trainer.current_gradient_accumulation_steps = 1
        model.train()
        inputs = {"prompt_ids": padded(prompts, PAD, left=True), "prompt_mask": padded([[1] * len(p) for p in prompts], 0, left=True),
                  "completion_ids": padded(after("tokens"), PAD), "completion_mask": padded(there, 0),
                  "tool_mask": padded(masks, 0), "advantages": torch.tensor(advantages(sequences, "group"), dtype=torch.float64),
                  "old_per_token_logps": padded(after("old"), 0.0).double(), "ref_per_token_logps": padded(after("ref"), 0.0).double(),
                  "num_items_in_batch": torch.tensor(sum(map(sum, masks)))}
        case = {"policy": True, "scaling": "group", "reduction": loss_type, "ratio": level, "clip": clip, "kl_beta": beta}
        rows.append({**case, **measured(model, trainer._compute_loss(model, inputs))})
        print(rows[-1])
    return rows


def sft(out_dir, sequences):
    model = make_model()
    examples = [{"prompt": s["tokens"][:s["prompt"]], "completion": s["tokens"][s["prompt"]:]} for s in sequences[:6]]
    data = [{"input_ids": e["prompt"] + e["completion"], "completion_mask": [0] * len(e["prompt"]) + [1] * len(e["completion"])}
            for e in examples]
    args = SFTConfig(output_dir=out_dir, completion_only_loss=True, packing=False, max_length=None, **COMMON)
    trainer = SFTTrainer(model=model, args=args, train_dataset=Dataset.from_list(data), processing_class=make_tokenizer())
    trainer.current_gradient_accumulation_steps = 1
    model.train()
    inputs = next(iter(trainer.get_train_dataloader()))
    assert inputs["input_ids"].shape[0] == len(examples)
    count = torch.tensor(sum(len(e["completion"]) for e in examples))
    row = measured(model, trainer.compute_loss(model, inputs, num_items_in_batch=count))
    print("sft", row)
    return {"examples": examples, **row}


def main() -> None:
    sequences = batch(make_model())
    with tempfile.TemporaryDirectory() as out_dir:
        result = {"grpo": grpo(out_dir, sequences), "sft": sft(out_dir, sequences)}
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write('{"grpo": [\n%s\n],\n"sft": %s}\n' % (",\n".join(map(json.dumps, result["grpo"])), json.dumps(result["sft"])))


if __name__ == "__main__":
    main()
