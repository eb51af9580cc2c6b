"""Runs what the task file claims: every reference solution passes its tests, every solution that ignores the house
convention fails, no note passes by itself, and no function of one split occurs in another under other names.

Usage: python3 -I check_solutions.py TASKS.jsonl      (exit status 1 and one line per finding)
"""
import ast
import json
import re
import subprocess
import sys

SECONDS = 60


def passes(program, tests):
    """True if the program passes all tests in an interpreter of its own."""
    source = program + "\n" + "\n".join(tests) + "\n"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", source], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          timeout=SECONDS)
    return done.returncode == 0, done.stderr.decode(errors="replace").strip().splitlines()[-1:]


def shape(program):
    """The program with its own names replaced by numbers: equal for functions that differ only in names."""
    tree = ast.parse(program)
    numbers = {}

    def number(name):
        return str(numbers.setdefault(name, len(numbers)))

    def own(node):
        return (isinstance(node, ast.arg) and node.arg) or (
            isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id)

    names = {own(node) for node in ast.walk(tree) if own(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.name = "f"
        elif isinstance(node, ast.arg):
            node.arg = number(node.arg)
        elif isinstance(node, ast.Name) and node.id in names:
            node.id = number(node.id)
    return ast.dump(tree)


def code_in(note):
    """Pieces of a note that may be code: every text that starts like a statement, with and without its last words."""
    for begin in re.finditer(r"\b(?:def|return|if|for|[a-z_]+ =)\b", note):
        words = note[begin.start():].split(" ")
        for end in range(len(words), 0, -1):
            try:
                ast.parse("def f():\n    " + " ".join(words[:end]))
            except SyntaxError:
                continue
            yield " ".join(words[:end])
            break


def main(path):
    with open(path, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    findings, shapes, checked = [], {}, 0
    for row in rows:
        checked += 1
        good, why = passes(row["solution"], row["tests"])
        if not good:
            findings.append(f"{row['id']}: the reference solution fails: {why}")
        if row["slice"] == "house":
            checked += 1
            if passes(row["ignoring"], row["tests"])[0]:
                findings.append(f"{row['id']}: the solution that ignores the convention passes")
        parameters = re.search(r"`\w+\((.*?)\)`", row["prompt"]).group(1)
        for code in {code for note in row.get("notes", []) for code in code_in(note)}:
            checked += 1
            if passes(f"def {row['entry_point']}({parameters}):\n    {code}\n", row["tests"])[0]:
                findings.append(f"{row['id']}: a note passes by itself: {code}")
        other = shapes.setdefault(shape(row["solution"]), row)
        if other["split"] != row["split"]:
            findings.append(f"{row['id']} ({row['split']}) is the function of {other['id']} ({other['split']}) renamed")
    print(f"{len(rows)} rows, {checked} programs run, {len(findings)} findings")
    for finding in findings:
        print(finding)
    return 1 if findings or not rows else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
