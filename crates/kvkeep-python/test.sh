#!/usr/bin/env bash
# Builds the wheel in release, installs it into a fresh virtual environment and tests it there.
# Needs Rust and a Python of 3.10 or newer with venv; everything else comes from PyPI.
# KVKEEP_COMMAND, if set, is the kvkeep command whose JSON has to agree.
set -euo pipefail
cd "$(dirname "$0")"

cargo clippy -p kvkeep-python -- -D warnings

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
python="$work/venv/bin/python"
"$python" -m pip install --quiet 'maturin>=1.9.4,<2'
"$work/venv/bin/maturin" build --release --quiet --out "$work/wheels"
"$python" -m pip install --quiet "$work"/wheels/*.whl hypothesis mypy pytest

"$python" -m pytest -q -p no:cacheprovider tests
"$python" -m mypy --strict --no-incremental tests benches
"$python" -m mypy.stubtest kvkeep._kvkeep
