#!/usr/bin/env python3
"""Writes tests/fuzz/seeds/{gguf,safetensors,tokenizer_json,template}/: small inputs from which libFuzzer starts.

Models are as small as they can be and of every layout, architecture and tensor type; templates are made up here, one
construct or a few each. Files that a campaign found and were merged in have names of 40 hexadecimal digits.
"""
import json
import pathlib
import struct

SEEDS = pathlib.Path(__file__).resolve().parent / "seeds"
TYPES = {"F32": (0, 1, 4), "F16": (1, 1, 2), "BF16": (30, 1, 2), "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20),
         "Q5_0": (6, 32, 22), "Q5_1": (7, 32, 24), "Q8_0": (8, 32, 34), "Q4_K": (12, 256, 144),
         "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210)}
LAYER = {"input_layernorm.weight": "attn_norm.weight", "post_attention_layernorm.weight": "ffn_norm.weight",
         "self_attn.q_proj.weight": "attn_q.weight", "self_attn.k_proj.weight": "attn_k.weight",
         "self_attn.v_proj.weight": "attn_v.weight", "self_attn.o_proj.weight": "attn_output.weight",
         "self_attn.q_proj.bias": "attn_q.bias", "self_attn.k_proj.bias": "attn_k.bias",
         "self_attn.v_proj.bias": "attn_v.bias", "self_attn.q_norm.weight": "attn_q_norm.weight",
         "self_attn.k_norm.weight": "attn_k_norm.weight", "mlp.gate_proj.weight": "ffn_gate.weight",
         "mlp.up_proj.weight": "ffn_up.weight", "mlp.down_proj.weight": "ffn_down.weight"}
TOKENS = ["a", "b", "\u0120", "ab", "1", "<|im_end|>"]


def save(target, name, data):
    path = SEEDS / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    assert len(data) < 10_000, (name, len(data))


def wide_of(hidden):
    return 3 if hidden < 256 else 1


def tensors(arch, hidden, tied):
    """Name -> shape, of one layer with two heads of two dimensions."""
    out = {"model.embed_tokens.weight": [len(TOKENS), hidden], "model.norm.weight": [hidden]}
    q, kv, wide = 4, 2, wide_of(hidden)
    shapes = {"input_layernorm.weight": [hidden], "post_attention_layernorm.weight": [hidden],
              "self_attn.q_proj.weight": [q, hidden], "self_attn.k_proj.weight": [kv, hidden],
              "self_attn.v_proj.weight": [kv, hidden], "self_attn.o_proj.weight": [hidden, q],
              "mlp.gate_proj.weight": [wide, hidden], "mlp.up_proj.weight": [wide, hidden],
              "mlp.down_proj.weight": [hidden, wide]}
    if arch == "qwen2":
        shapes |= {f"self_attn.{p}_proj.bias": [q if p == "q" else kv] for p in "qkv"}
    if arch == "qwen3":
        shapes |= {f"self_attn.{p}_norm.weight": [2] for p in "qk"}
    out |= {"model.layers.0." + name: shape for name, shape in shapes.items()}
    if not tied:
        out["lm_head.weight"] = [len(TOKENS), hidden]
    return out


def count(shape):
    n = 1
    for size in shape:
        n *= size
    return n


def stored(shape, kind):
    """Bytes of such a tensor; rows that are no whole blocks, and vectors, are BF16."""
    if shape[-1] % TYPES[kind][1] or len(shape) == 1:
        kind = "BF16"
    ggml, values, size = TYPES[kind]
    if kind == "F32":
        return ggml, kind, struct.pack("<f", 0.5) * count(shape)
    return ggml, kind, (b"\x00\x3c" + bytes(range(1, 40)) * 6)[:size] * (count(shape) // values)


def text(s):
    data = s.encode()
    return struct.pack("<Q", len(data)) + data


def gguf(arch, hidden, kind, tied=True, more=(), pre="gpt-2", rope_freqs=None):
    def string(s):
        return struct.pack("<I", 8) + text(s)

    def number(n):
        return struct.pack("<II", 4, n)

    def real(x):
        return struct.pack("<If", 6, x)

    def array(kind_, items):
        return struct.pack("<IIQ", 9, kind_, len(items)) + b"".join(items)

    values = {"general.architecture": string(arch), f"{arch}.block_count": number(1),
              f"{arch}.context_length": number(16), f"{arch}.embedding_length": number(hidden),
              f"{arch}.feed_forward_length": number(wide_of(hidden)), f"{arch}.attention.head_count": number(2),
              f"{arch}.attention.head_count_kv": number(1), f"{arch}.attention.key_length": number(2),
              f"{arch}.attention.layer_norm_rms_epsilon": real(1e-5), f"{arch}.rope.freq_base": real(100.0),
              "tokenizer.ggml.model": string("gpt2"), "tokenizer.ggml.pre": string(pre),
              "tokenizer.ggml.tokens": array(8, [text(t) for t in TOKENS]),
              "tokenizer.ggml.merges": array(8, [text("a b")]),
              "tokenizer.ggml.token_type": array(5, [struct.pack("<i", 3 if t[0] == "<" else 1) for t in TOKENS]),
              "tokenizer.ggml.eos_token_id": number(5), "tokenizer.chat_template": string("{{ messages[0].content }}")}
    values |= dict(more)
    table = b""
    data = b""
    shapes = tensors(arch, hidden, tied)
    entries = [(name.replace("model.embed_tokens", "token_embd").replace("model.norm", "output_norm")
                .replace("lm_head", "output").replace("model.layers.0.", "blk.0."), shape) for name, shape in shapes.items()]
    entries = [("blk.0." + LAYER[name[6:]] if name.startswith("blk.0.") else name, *stored(shape, kind), shape)
               for name, shape in entries]
    if rope_freqs:
        entries.append(("rope_freqs.weight", 0, "F32", struct.pack(f"<{len(rope_freqs)}f", *rope_freqs), [len(rope_freqs)]))
    for name, ggml, _, raw, shape in entries:
        table += text(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", n) for n in reversed(shape))
        table += struct.pack("<IQ", ggml, len(data))
        data += raw + b"\0" * (-len(raw) % 8)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(entries), len(values))
    head += b"".join(text(key) + value for key, value in values.items()) + table
    return head + b"\0" * (-len(head) % 8) + data


def write_gguf():
    small = {"general.alignment": struct.pack("<II", 4, 8)}
    for arch, pre in (("llama", "smollm"), ("qwen2", "qwen2"), ("qwen3", "llama-bpe")):
        save("gguf", arch, gguf(arch, 4, "F32", tied=arch != "qwen2", more=small, pre=pre))
    for kind in ("F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"):
        save("gguf", kind.lower(), gguf("llama", 32, kind, more=small))
    for kind in ("Q4_K", "Q5_K", "Q6_K"):
        save("gguf", kind.lower(), gguf("qwen3", 256, kind, more=small))
    yarn = small | {"llama.rope.scaling.type": struct.pack("<I", 8) + text("yarn"),
                    "llama.rope.scaling.factor": struct.pack("<If", 6, 4.0),
                    "llama.rope.scaling.original_context_length": struct.pack("<II", 4, 8)}
    save("gguf", "yarn", gguf("llama", 4, "F16", more=yarn))
    save("gguf", "rope_freqs", gguf("llama", 4, "F16", more=small, rope_freqs=[1.0]))


def safetensors(arch, tied, dtype="F32"):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, shape in tensors(arch, 4, tied).items():
        raw = (b"\x00\x3f" if dtype == "BF16" else b"\x00\x38" if dtype == "F16" else b"\x00\x00\x00\x3f") * count(shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    head = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(head)) + head + data, header


def config(arch, tied, **more):
    return json.dumps({"model_type": arch, "vocab_size": len(TOKENS), "hidden_size": 4, "num_hidden_layers": 1,
                       "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 2, "intermediate_size": 3,
                       "max_position_embeddings": 16, "rms_norm_eps": 1e-5, "tie_word_embeddings": tied,
                       **more}, separators=(",", ":")).encode()


def write_safetensors():
    scaling = {"llama": {"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                          "original_max_position_embeddings": 8}},
               "qwen2": {"rope_scaling": {"type": "yarn", "factor": 4.0}, "eos_token_id": [1, 2]},
               "qwen3": {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0}}}
    for arch, dtype in (("llama", "F32"), ("qwen2", "BF16"), ("qwen3", "F16")):
        weights, header = safetensors(arch, arch != "qwen2", dtype)
        save("safetensors", arch, config(arch, arch != "qwen2", **scaling[arch]) + b"\0\0" + weights)
    weights, header = safetensors("llama", True, "BF16")
    index = json.dumps({"weight_map": {name: "a.safetensors" for name in header if name[0] != "_"}},
                       separators=(",", ":")).encode()
    save("safetensors", "index", config("llama", True) + b"\0" + index + b"\0" + weights)


GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def tokenizer(steps, **more):
    pre = steps[0] if len(steps) == 1 else {"type": "Sequence", "pretokenizers": steps}
    vocab = more.pop("vocab", {t: i for i, t in enumerate(TOKENS[:-1])})
    spec = {"added_tokens": [{"id": len(vocab), "content": "<|im_end|>", "special": True, "normalized": False,
                              "single_word": False, "lstrip": False, "rstrip": False}],
            "normalizer": more.pop("normalizer", None), "pre_tokenizer": pre, "post_processor": more.pop("post", None),
            "model": {"type": "BPE", "vocab": vocab, "merges": more.pop("merges", ["a b"]), **more}}
    return json.dumps(spec, separators=(",", ":")).encode()


def write_tokenizers():
    plain = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": GPT2}, "behavior": "Isolated", "invert": False}
    nfc = {"type": "Sequence", "normalizers": [{"type": "NFC"}]}
    bos = {"type": "Sequence", "processors": [{"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "a"}}]}]}
    save("tokenizer_json", "plain", tokenizer([plain]) + b"\0ab 1 ab<|im_end|>b\n")
    save("tokenizer_json", "gpt2", tokenizer([{**plain, "use_regex": True}], merges=[["a", "b"]], ignore_merges=True))
    save("tokenizer_json", "split", tokenizer([split, plain], normalizer=nfc, post=bos) + b"\0it's e\xcc\x81 ab12  x")
    save("tokenizer_json", "digits", tokenizer([{"type": "Digits", "individual_digits": False}, plain]) + b"\0a12b345")
    save("tokenizer_json", "unk", tokenizer([plain], vocab={"a": 0, "b": 1, "ab": 2, "<unk>": 3}, unk_token="<unk>", fuse_unk=True) + b"\0xyz ab")
    every = {chr(c): i for i, c in enumerate([*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324)])}
    save("tokenizer_json", "bytes", tokenizer([plain], vocab=every | {"ab": 256}) + b"\0\xf0\x9f\x91\x8d")


TEMPLATES = {
    "chatml": "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m.content }}{% endfor %}{% if add_generation_prompt %}go{% endif %}",
    "spaces": "{%- for m in messages -%}\n  {{- m.role|upper -}}  \n{%- endfor -%}  end\n{# note -#}\n  {%+ if true %}x{% endif +%}",
    "loops": "{% for i in range(5, 0, -2) %}{% if i == 3 %}{% continue %}{% endif %}{{ loop.index }}{{ loop.last }}{% else %}none{% endfor %}"
             "{% for k, v in messages[0].items() %}{{ k ~ v }}{% break %}{% endfor %}",
    "names": "{% set ns = namespace(n=0, s='') %}{% for m in messages[::-1] if m.role != 'system' %}{% set ns.n = ns.n + 1 %}"
             "{% set ns.s = ns.s ~ loop.length %}{% endfor %}{{ ns.n }}{{ ns.s }}{% set b %}in {{ 1 }}{% endset %}{{ b }}",
    "values": "{{ 1 + 2 * 3 - 7 // 2 % 3 }} {{ 7 / 4 }} {{ -1.5 }} {{ [1, none, {'a': true}]|tojson }} {{ (1, 2)|length }} {{ 2 < 3 <= 4 }}",
    "text": "{{ '  x '.strip() + 'a-b'.split('-')|join('+') }}{{ 'abc'[1:] }}{{ 'abc'[::-1] }}{{ 'aXb'|replace('X', '-') }}"
            "{{ 'a' in 'abc' }}{{ 'abc'.startswith('ab') }}{{ 'x\\u00e9\\n'|trim }}{{ 'b'.rstrip('b') }}",
    "tests": "{% if x is defined and x is not none or y is undefined %}{{ x|default('d') }}{% elif messages is iterable %}1{% else %}2{% endif %}"
             "{{ messages[0] is mapping }}{{ 1 is number }}{{ 'a' is equalto 'a' }}{{ not true }}{{ 'p' if tools else 'q' }}",
    "think": "{% set c = messages[2].content %}{% if '</think>' in c %}{% set c = c.split('</think>')[-1].lstrip('\\n') %}{% endif %}"
             "{{ c }}{% if enable_thinking is defined and enable_thinking is false %}<think>{% endif %}{{ messages[-1].content }}",
    "refuse": "{% if messages[0].role == 'system' %}{{ raise_exception('no system ' ~ bos_token) }}{% endif %}\0hello",
}


def write_templates():
    for name, source in TEMPLATES.items():
        save("template", name, source.encode())


if __name__ == "__main__":
    write_gguf()
    write_safetensors()
    write_tokenizers()
    write_templates()
