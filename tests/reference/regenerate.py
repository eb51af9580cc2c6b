#!/usr/bin/env python3
"""regenerate.py [GOLDEN ...] [--seed N] [--all] [--list]

Makes a golden file anew with the script that wrote it, in a folder of its own, and compares: texts and integers exactly,
other numbers to the reference's own noise. Without a name one is drawn at random among those this machine has everything
for (models, data, templates), with the seed printed; --all takes every one of them. Ends with 1 if one differs.

The references (torch, transformers, peft, trl, tokenizers, gguf) live in a Python environment under GCOP_HOME that the first
call installs (3 GB); GCOP_REFERENCE_PYTHON names an interpreter that has them already.
Models come from GCOP_HOME/models, data from ../shared/data, chat templates from GCOP_TEST_TEMPLATES.
"""
import argparse
import json
import math
import os
import pathlib
import random
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
HOME = pathlib.Path(os.environ.get("GCOP_HOME") or pathlib.Path.home() / ".cache/gcop")
DATA = ROOT.parent / "shared/data"
PACKAGES = ["torch==2.11.0", "transformers==5.17.0", "peft==0.21.2", "trl==1.16.0", "tokenizers==0.23.3", "gguf==0.19.0", "numpy==2.4.6"]


class Missing(Exception):
    """What this machine lacks for a golden file."""


def there(path, what):
    if not path.exists():
        raise Missing(f"{what} ({path})")
    return path


def model(name):
    return there(next((HOME / "models" / name).glob("*.gguf"), HOME / "models" / name / "*.gguf"), f"the model {name}")


def data():
    for name in ("mbpp", "gsm8k_train", "gsm8k_test500"):
        there(DATA / f"{name}.jsonl", "the data set " + name)
    return DATA


def templates():
    folder = os.environ.get("GCOP_TEST_TEMPLATES")
    if not folder:
        raise Missing("chat templates: GCOP_TEST_TEMPLATES is not set")
    for name in json.loads((ROOT / "tests/guide_formats/golden/chats.json").read_text()):
        there(pathlib.Path(folder) / f"{name}.jinja", "the template " + name)


SMOLLM2, QWEN = "smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct"
# Golden file -> how its script is called to write a file of that name into a folder, and by how much numbers may differ,
# absolutely and relatively. What a call needs is asked for first: Missing says what is not there.
GOLDENS = {
    "guide_torch/tiny_models.json": (lambda at: ["tiny_models.py", at / "tiny_models.json"], 2e-5, 3e-5),
    "guide_torch/lora.json": (lambda at: ["lora.py", at / "lora.json"], 2e-5, 3e-5),
    "guide_torch/policy_loss.json": (lambda at: ["policy_loss.py", at / "policy_loss.json"], 2e-5, 3e-5),
    "guide_torch/trl_step.json": (lambda at: ["trl_step.py", at / "trl_step.json"], 2e-5, 3e-5),
    "guide_torch/greedy_smollm2.json": (lambda at: ["greedy_golden.py", SMOLLM2, model(SMOLLM2), at / "greedy_smollm2.json"], 0, 0),
    "guide_torch/greedy_qwen05.json": (lambda at: ["greedy_golden.py", QWEN, model(QWEN), at / "greedy_qwen05.json"], 0, 0),
    "guide_formats/small_tokenizers.json": (lambda at: ["tokenizer_golden.py", at], 0, 0),
    "guide_formats/templates.json": (lambda at: ["tokenizer_golden.py", at], 0, 0),
    "guide_formats/quants.json": (lambda at: ["tokenizer_golden.py", at], 0, 0),
    f"guide_formats/{SMOLLM2}.json": (lambda at: ["tokenizer_golden.py", at, model(SMOLLM2)], 0, 0),
    f"guide_formats/{QWEN}.json": (lambda at: ["tokenizer_golden.py", at, model(QWEN)], 0, 0),
    "guide_formats/chats.json": (lambda at: templates() or ["chat_golden.py", "write", at / "chats.json"], 0, 0),
    "guide_formats/fuzz.json": (lambda at: ["fuzz_golden.py", "write", at / "fuzz.json", data(), model(SMOLLM2), model(QWEN)], 0, 0),
}
BY_HAND = {"guide_formats/fuzz_pieces.json"}


def difference(want, got, absolute, relative, at=""):
    """Where the two differ first, as text; None if they do not."""
    if type(want) is not type(got) and not (isinstance(want, (int, float)) and isinstance(got, (int, float))):
        return f"{at}: {want!r:.80} was a {type(want).__name__}, now {type(got).__name__}"
    if isinstance(want, dict):
        if want.keys() != got.keys():
            return f"{at}: other keys: {sorted(want.keys() ^ got.keys())}"
        pairs = [(f"{at}.{k}", want[k], got[k]) for k in want]
    elif isinstance(want, list):
        if len(want) != len(got):
            return f"{at}: {len(want)} entries, now {len(got)}"
        pairs = [(f"{at}[{i}]", a, b) for i, (a, b) in enumerate(zip(want, got))]
    elif isinstance(want, float) or isinstance(got, float):
        near = math.isclose(want, got, rel_tol=relative, abs_tol=absolute)
        return None if near else f"{at}: {want} is now {got}"
    else:
        return None if want == got else f"{at}: {want!r:.80} is now {got!r:.80}"
    return next((d for d in (difference(a, b, absolute, relative, path) for path, a, b in pairs) if d), None)


def greedy_difference(want, got):
    """Tokens are compared up to the first near-tie of either, logits to the noise of fp32."""
    for i, (a, b) in enumerate(zip(want["cases"], got["cases"])):
        n = min(len(a["tokens"]), len(b["tokens"]))
        if a["tokens"][:n] != b["tokens"][:n] or (len(a["tokens"]) != len(b["tokens"]) and "tie" not in (a["end"], b["end"])):
            return f"case {i}: other tokens"
        for case in (a, b):
            del case["tokens"], case["end"]
    return difference(want, got, 5e-3, 0)


def python():
    given = os.environ.get("GCOP_REFERENCE_PYTHON")
    if given:
        return given
    venv = HOME / "reference"
    if not (venv / ".complete").exists():
        print("regenerate: installing", *PACKAGES, "into", venv, file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES], check=True)
        (venv / ".complete").touch()
    return venv / "bin/python"


def regenerate(name):
    call, absolute, relative = GOLDENS[name]
    with tempfile.TemporaryDirectory(prefix="gcop-golden-") as folder:
        script, *arguments = call(pathlib.Path(folder))
        command = [python(), HERE / script, *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            return f"{script} failed:\n{done.stdout[-2000:]}"
        want = json.loads((ROOT / "tests" / name.replace("/", "/golden/")).read_text())
        got = json.loads((pathlib.Path(folder) / pathlib.Path(name).name).read_text())
    return greedy_difference(want, got) if "greedy" in name else difference(want, got, absolute, relative)


def missing(name):
    with tempfile.TemporaryDirectory() as folder:
        try:
            GOLDENS[name][0](pathlib.Path(folder))
        except Missing as lack:
            return str(lack)


def main():
    parser = argparse.ArgumentParser(usage=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    committed = {f"{p.parts[-3]}/{p.name}" for p in ROOT.glob("tests/*/golden/*.json")}
    if committed != GOLDENS.keys() | BY_HAND:
        sys.exit(f"regenerate: golden files and this script disagree about {sorted(committed ^ (GOLDENS.keys() | BY_HAND))}")
    lacking = {name: missing(name) for name in GOLDENS}
    ready = [name for name in GOLDENS if not lacking[name]]
    if options.list:
        for name in GOLDENS:
            print(name, "" if name in ready else "- lacks " + lacking[name])
        return
    names = options.names
    if options.all:
        names = ready
    elif not names:
        seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
        names = [random.Random(seed).choice(ready)]
        print(f"regenerate: drew {names[0]} of {len(ready)} (--seed {seed})", flush=True)
    wrong = 0
    for name in names:
        if name not in GOLDENS:
            sys.exit(f"regenerate: no golden file '{name}'; there are: {', '.join(GOLDENS)}")
        if lacking[name]:
            sys.exit(f"regenerate: {name} needs {lacking[name]}")
        what = regenerate(name)
        print(f"regenerate: {name} " + ("differs: " + what if what else "equals what the reference gives"), flush=True)
        wrong += what is not None
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
