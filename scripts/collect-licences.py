"""Prints the licence texts of what the worker links or loads, each with the names of what it is of.

    collect-licences.py ROOT

ROOT is the repository, set up. Standard library only.
"""

import json
import subprocess
import sys
from pathlib import Path

NAMES = ("license", "licence", "copying", "notice", "unlicense")


def texts(folder: Path) -> list[str]:
    """The licence files of a package's folder, and of the folders in it that only hold such."""
    if not folder.is_dir():
        return []
    found = []
    for path in sorted(folder.iterdir()):
        name = path.name.lower()
        if path.is_file() and name.startswith(NAMES):
            found.append(path.read_text(encoding="utf-8", errors="replace").strip())
        elif path.is_dir() and name in ("licenses", "license"):
            found += [
                file.read_text(encoding="utf-8", errors="replace").strip()
                for file in sorted(path.rglob("*"))
                if file.is_file()
            ]
    return found


def go_modules(root: Path) -> dict[str, Path]:
    """Modules of the packages that the worker is built from, the standard library as "go"."""
    template = "{{with .Module}}{{.Path}} {{.Version}}\t{{.Dir}}{{end}}"
    command = ["go", "list", "-deps", "-f", template, "./cmd/mlx-worker"]
    lines = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.splitlines()
    modules = dict(line.split("\t") for line in lines if line and not line.startswith("mlx-worker "))
    goroot = subprocess.run(["go", "env", "GOROOT"], check=True, capture_output=True, text=True).stdout.strip()
    return {"the Go standard library": Path(goroot)} | {name: Path(folder) for name, folder in modules.items()}


def crates(root: Path) -> dict[str, Path]:
    """Crates that the text library is built from."""
    manifest = root / "text/native/Cargo.toml"
    command = ["cargo", "tree", "--manifest-path", manifest, "--locked", "-e", "normal", "--prefix", "none", "-f", "{p}"]
    used = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    names = {tuple(line.split()[:2]) for line in used.splitlines() if line}
    command = ["cargo", "metadata", "--manifest-path", manifest, "--locked", "--format-version", "1"]
    metadata = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {
        f"{p['name']} {p['version']}": Path(p["manifest_path"]).parent
        for p in metadata["packages"]
        if p["source"] and (p["name"], "v" + p["version"]) in names
    }


def wheels(root: Path) -> dict[str, Path]:
    """MLX, mlx-c and OpenBLAS."""
    deps = root / ".deps"
    folders = {"mlx-c": deps / "mlxc"}
    for parent in (deps / "mlx", deps / "openblas"):
        folders |= {info.name.removesuffix(".dist-info"): info for info in parent.glob("*.dist-info")}
    return folders


def main() -> None:
    root = Path(sys.argv[1]).resolve()
    owners: dict[str, list[str]] = {}
    missing = []
    for name, folder in (go_modules(root) | crates(root) | wheels(root)).items():
        found = texts(folder)
        if not found:
            missing.append(name)
        for text in found:
            owners.setdefault(text, []).append(name)
    for text, names in sorted(owners.items(), key=lambda item: item[1]):
        print("=" * 100)
        print("\n".join(sorted(set(names))))
        print("=" * 100)
        print(text + "\n")
    if missing:
        print("=" * 100)
        print("Packages without a licence file of their own; THIRD_PARTY.md names their licences:")
        print("\n".join(sorted(missing)))


if __name__ == "__main__":
    main()
