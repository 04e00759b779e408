#!/usr/bin/env bash
# The energy of points between processes on a GPU: OUT=DIR PY=python bash dev/bench/energy.sh
# Installs wheels of .carry/whl beside this tree if there are any; WINDOW_MS and PROCESSES change the measurement.
set -u
cd "$(dirname "$0")/../.."
OUT=${OUT:-build/energy} PY=${PY:-python3}
mkdir -p "$OUT"
if ls .carry/whl/*.whl >/dev/null 2>&1; then
  SITE=$(mktemp -d)
  "$PY" -m pip install --quiet --no-index --no-deps --target "$SITE" .carry/whl/*.whl || exit 1
  export PYTHONPATH="$SITE"
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONUNBUFFERED=1
"$PY" -c "import pynvml" || echo "pynvml is not installed: no energy can be read (pip install nvidia-ml-py)"
"$PY" dev/bench/energy.py --out "$OUT" --window-ms "${WINDOW_MS:-1000}" --processes "${PROCESSES:-5}" "$@" 2>&1 |
  tee "$OUT/energy.txt"
exit "${PIPESTATUS[0]}"
