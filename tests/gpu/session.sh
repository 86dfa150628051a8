#!/usr/bin/env bash
# What to ask of a GPU that is at hand for a few minutes, the most wanted first: session.sh [MINUTES [FOLDER]].
# The table of decoding speeds, `make gpu-report`, is not among it.
#
# Each step writes FOLDER/NAME.log, and most a NAME.json; a step that would end after MINUTES is cut off. PHOTOS is a
# folder of photos to train on and evaluate, by default the sample. STEPS are the names of those wanted, by default all:
# training pipeline attention large tests. DEVICE=cpu tries it with tiny networks.
set -uo pipefail
cd "$(dirname "$0")/../.."
minutes=${1:-8} out=${2:-runs/gpu-session} photos=${PHOTOS:-sample} device=${DEVICE:-cuda}
python=${PYTHON:-python3}
tiny=()
if [ "$device" = cpu ]; then
  tiny=(--device cpu --tiny)
  export SSDD_BENCH_GPU_TESTS_ON_CPU=1
fi
mkdir -p "$out"
end=$(($(date +%s) + minutes * 60))
table=()

step() { # NAME COMMAND...: run it for as long as there is time
  local name=$1 begun left
  shift
  [[ " ${STEPS:-$name} " == *" $name "* ]] || return 0
  begun=$(date +%s)
  left=$((end - begun))
  if [ "$left" -lt 10 ]; then
    table+=("$name: no time")
    return
  fi
  timeout --kill-after 5 "$left" "$@" > "$out/$name.log" 2>&1
  table+=("$name: status $?, $(($(date +%s) - begun)) s")
  tail -n 25 "$out/$name.log"
}

step training "$python" tests/gpu/rates.py training --eager --data "$photos" --out "$out/training.json" "${tiny[@]}"
step pipeline "$python" tests/gpu/pipeline.py "$photos" --out "$out/pipeline.json" "${tiny[@]}"
step attention "$python" tests/gpu/rates.py attention --out "$out/attention.json" "${tiny[@]}"
step large "$python" tests/gpu/report.py --only '512|max-autotune|reduce' --minutes 3 --out "$out/large" "${tiny[@]}"
step tests make gpu PYTHON="$python" GPU_TESTS="gpu and not slow"

printf '%s\n' "${table[@]}" | tee "$out/steps.txt"
