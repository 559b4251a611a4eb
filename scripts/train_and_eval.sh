#!/bin/bash
# Train and judge by the three arguments of the older program: bash scripts/train_and_eval.sh NAME MODEL LOSS [options of `sounddetect train`]
# such as: bash scripts/train_and_eval.sh PSAE PixelShuffleConv1DAutoencoder CombinedLoss
set -euo pipefail
if [ $# -lt 3 ]; then sed -n 2,3p "$0" >&2; exit 1; fi
name=$1 model=$2 loss=$3
shift 3
script="$(dirname "$0")/denoise.py" python=${PYTHON:-python}
run=$("$python" "$script" train --model "$model" --loss-fn "$loss" --checkpoint-dir "output/checkpoint/$name" "$@" | tee /dev/stderr | tail -n 1)
"$python" "$script" eval --model "$model" --loss-fn "$loss" --weights-path "${run#run: }" --figure-filename "$name.png" \
    --clean-audio-filename "${name}_clean.wav" --noisy-audio-filename "${name}_noisy.wav" --audio-filename "${name}_output.wav"
