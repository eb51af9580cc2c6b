"""Writes wheels that carry a file in parts. argv: folder, file, number of parts, name prefix."""
import os
import sys
import zipfile

folder, path, count, prefix = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
data = open(path, "rb").read()
step = -(-len(data) // count)
for n in range(1, count + 1):
    name = f"{prefix}_part{n}"
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}/part{n:02}.bin": data[(n - 1) * step : n * step],
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: gcop tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    with zipfile.ZipFile(os.path.join(folder, f"{name}-1.0-py3-none-any.whl"), "w") as wheel:
        for member, content in files.items():
            wheel.writestr(member, content)
