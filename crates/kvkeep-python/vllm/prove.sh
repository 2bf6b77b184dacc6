#!/usr/bin/env bash
# Everything that is said of kvkeep inside vLLM, from a clean clone.
#
#   prove.sh FOLDER [TRACE]
#
# FOLDER takes the environment (setup.sh says what that needs); TRACE is a Mooncake
# conversation trace for the second half of the cost bench. Builds the wheel and installs it
# beside vLLM, then runs test_pool.py, vLLM's tests, the real engine, the refusal of a vLLM
# that kvkeep does not know, and the cost bench. Results go to results/ beside this file. About
# an hour on two cores, most of it vLLM's tests; those that this build has run are not run again.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,/^set/p' "$0" | grep '^#' | sed 's/^# \{0,1\}//' >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
"$here/setup.sh" "$1"
folder=$(cd "$1" && pwd)
python="$folder/venv/bin/python"

rm -f "$folder"/kvkeep/*.whl
(cd "$here/.." && "$folder/venv/bin/maturin" build --release --quiet --out "$folder/kvkeep")
"$python" -m pip install --quiet --force-reinstall --no-deps "$folder"/kvkeep/*.whl

failed=0
for version in 0.32.0 0.33.0; do
    "$python" "$here/with_vllm.py" "$folder" "$version" -m pytest -q -p no:cacheprovider \
        "$here/test_pool.py" || failed=1
done
"$python" "$here/tests.py" "$folder" || failed=1
"$python" "$here/engine.py" "$folder" || failed=1
"$python" "$here/refusal.py" "$folder" || failed=1
"$python" "$here/with_vllm.py" "$folder" 0.33.0 "$here/cost.py" \
    --save "$here/results/cost-0.33.0.json" ${2:+--trace "$(realpath "$2")"} || failed=1
exit $failed
