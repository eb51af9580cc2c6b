"""transformers' and TRL's side of `./dev bench guide`, and the machine's limits: reads one piece of work a line as JSON, prints
one JSON line. Runs in the benchmark's own environment."""
import json
import os
import sys
import time

import torch

torch.set_num_threads(int(os.environ["GCOP_BENCH_THREADS"]))
MODELS = {}


def load(path):
    from transformers import AutoModelForCausalLM
    folder, name = os.path.split(path) if path.endswith(".gguf") else (path, None)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **({"gguf_file": name} if name else {})).eval()


def model(job):
    if job["path"] not in MODELS:
        MODELS[job["path"]] = load(job["path"])
    return MODELS[job["path"]]


def limits(_):
    """GEMM: the best of several shapes of torch.mm in fp32. Memory: reading 512 MB with all threads."""
    best = 0.0
    for m, k, n in ((2048, 576, 1536), (2048, 1536, 576), (1024, 1024, 1024), (2048, 2048, 2048)):
        a, b = torch.rand(m, k), torch.rand(k, n)
        out = a @ b
        for _ in range(5):
            start = time.perf_counter()
            torch.mm(a, b, out=out)
            best = max(best, 2 * m * k * n / (time.perf_counter() - start))
    words, read = torch.ones(128 << 20), 0.0
    for _ in range(5):
        start = time.perf_counter()
        words.sum()
        read = max(read, words.numel() * 4 / (time.perf_counter() - start))
    return {"gemm_flops": best, "read_bytes": read}


def sample(job):
    m = model(job)
    ids = torch.tensor(job["prompts"])
    def once(n):
        start = time.perf_counter()
        with torch.inference_mode():
            out = m.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=n, min_new_tokens=n, do_sample=True,
                             temperature=1.0, top_k=0, pad_token_id=0)
        return (out.shape[1] - ids.shape[1]) * ids.shape[0], time.perf_counter() - start
    if "warm" not in MODELS:
        MODELS["warm"] = once(2)
    first, prefill = once(1)
    tokens, seconds = once(job["max_tokens"])
    return {"tokens": tokens, "seconds": seconds, "decode_tokens": tokens - first, "decode_seconds": seconds - prefill}


def train(job):
    m = model(job)
    if "adamw" not in MODELS:
        MODELS["adamw"] = torch.optim.AdamW(m.parameters(), lr=1e-6, fused=True)  # the fastest of its forms
    ids = torch.tensor(job["sequences"])  # of one length: no padding on this side either
    start = time.perf_counter()
    m(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    MODELS["adamw"].step()
    seconds = time.perf_counter() - start
    m.zero_grad()
    return {"tokens": ids.numel(), "seconds": seconds}


def grpo(job):
    """One optimizer step of TRL's GRPOTrainer: generation, the reference's log-probabilities, loss, backward, AdamW."""
    import datasets
    from transformers import AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer
    if "trainer" not in MODELS:
        tokenizer = AutoTokenizer.from_pretrained(job["path"])
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        prompts = [tokenizer.decode(ids) for ids in job["prompts"]]
        MODELS["trainer"] = dict(tokenizer=tokenizer, data=datasets.Dataset.from_list([{"prompt": p} for p in prompts]))
    kept, starts = MODELS["trainer"], []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_, **__):
            starts.append(time.perf_counter())

        def on_step_end(self, *_, **__):
            starts.append(time.perf_counter())

    rewards = lambda completions, **_: [float(i % 2) for i in range(len(completions))]
    config = GRPOConfig(output_dir=os.path.join(os.environ["GCOP_BENCH_TMP"], "trl"), per_device_train_batch_size=len(job["prompts"]) * job["group"],
                        num_generations=job["group"], max_completion_length=job["max_tokens"], beta=0.04, max_steps=2,
                        learning_rate=1e-6, logging_strategy="no", save_strategy="no", report_to=[], use_cpu=True, bf16=False,
                        gradient_checkpointing=False, disable_tqdm=True, loss_type="dr_grpo", scale_rewards="none")
    trainer = GRPOTrainer(model=load(job["path"]), reward_funcs=rewards, args=config, train_dataset=kept["data"],
                          processing_class=kept["tokenizer"], callbacks=[Clock()])
    out = sys.stdout
    sys.stdout = sys.stderr
    try:
        trainer.train()
    finally:
        sys.stdout = out
    # The second step: the first warms up.
    return {"seconds": starts[3] - starts[2], "tokens": len(job["prompts"]) * job["group"] * job["max_tokens"]}


def first_logits(job):
    start = time.perf_counter()
    m = load(job["path"])
    with torch.inference_mode():
        m(torch.tensor([[1, 2, 3, 4]])).logits[0, -1, 0].item()
    return {"seconds": time.perf_counter() - start}


def ids(job):
    from transformers import AutoTokenizer
    folder, name = os.path.split(job["path"])
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    return {"ids": [tokenizer(text, add_special_tokens=False)["input_ids"] for text in job["texts"]]}


def to_f32(job):
    """The same weights as an F32 GGUF, for llama.cpp."""
    import gguf
    import numpy
    reader = gguf.GGUFReader(job["path"])
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(job["out"], architecture)
    for field in reader.fields.values():
        if field.name in ("general.architecture", "general.file_type") or field.name.startswith("GGUF."):
            continue
        kind = field.types[0]
        writer.add_key_value(field.name, field.contents(), kind, field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for t in reader.tensors:
        values = gguf.quants.dequantize(t.data, t.tensor_type).astype(numpy.float32)
        writer.add_tensor(t.name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return {}


WORK = {"limits": limits, "sample": sample, "train": train, "grpo": grpo, "load": first_logits, "ids": ids, "to_f32": to_f32}
print("{}", flush=True)
for line in sys.stdin:
    job = json.loads(line)
    try:
        answer = WORK[job["work"]](job)
    except Exception as e:  # the driver names the row
        answer = {"error": f"{type(e).__name__}: {e}"}
    print(json.dumps(answer), flush=True)
