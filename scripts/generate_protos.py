"""Regenerates edgenode/v1 from proto/edgenode/v1, in an environment of its own.

The generator's version sets the floor below which the stubs refuse to run, and it conflicts with current protobuf: so it is
pinned here and never shares the project's environment. Phones and small boards have no generator: the output is committed.

    python scripts/generate_protos.py             # rewrite edgenode/v1
    python scripts/generate_protos.py --into DIR  # write DIR/edgenode/v1 instead (the drift test compares the two)
"""

import argparse
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv-protos"
# 1.76.0 makes stubs for protobuf 6.31.1 and grpcio 1.76 and everything later; newer generators shut out Termux, which lags.
GENERATOR = ("grpcio-tools==1.76.0", "mypy-protobuf==3.7.0", "setuptools<81")


def generator_python() -> Path:
    """The generator's own interpreter, installed at the first call and whenever its pins change."""
    python = ENVIRONMENT / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    stamp = ENVIRONMENT / "pins.txt"
    pins = "\n".join(GENERATOR)
    # `python` is a link: it dangles once the Python it was made with has been removed.
    if not python.exists() or not stamp.is_file() or stamp.read_text(encoding="utf-8") != pins:
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *GENERATOR], check=True)
        stamp.write_text(pins, encoding="utf-8")
    return python


def generate(into: Path) -> None:
    """Writes the stubs of every proto below `into`, in the folders their packages name."""
    protos = sorted(path.relative_to(ROOT / "proto") for path in (ROOT / "proto").rglob("*.proto"))
    services = [path for path in protos if path.stem.endswith("_service")]
    python = generator_python()
    tools = python.parent
    protoc = [str(python), "-m", "grpc_tools.protoc", f"--proto_path={ROOT / 'proto'}"]
    plugins = [f"--plugin={name}={tools / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    subprocess.run([*protoc, *plugins, f"--python_out={into}", f"--mypy_out=quiet:{into}", *map(str, protos)], check=True)
    subprocess.run(
        [*protoc, *plugins, f"--grpc_python_out={into}", f"--mypy_grpc_out=quiet,only_async:{into}", *map(str, services)],
        check=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", type=Path, default=ROOT, help="folder to write edgenode/v1 below (default: the repository)")
    into: Path = parser.parse_args().into
    into.mkdir(parents=True, exist_ok=True)
    generate(into)


if __name__ == "__main__":
    main()
