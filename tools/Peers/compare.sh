#!/usr/bin/env bash
# compare.sh ROOT [WORK]: PyTorch and ours side by side on the same weights and inputs, both sides in turn within one run; writes RESULTS.md beside
# this file. ROOT is the folder that setup.sh made; WORK keeps weights and raw figures (default ROOT/tmp/ortrlhf-compare). About six minutes, on a
# machine that does nothing else: a busy one makes all of it worthless.
#   ROUNDS=3       pairs of every U-Net timing
#   REPEATS=10     timed runs in each
#   THREADS=2      threads of both sides
#   MODEL=...      pipeline folder for DDPO; models/shapes, or stand-in weights where that is missing
#   EPOCHS=3 IMAGES=64 DDPO_ROUNDS=2
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: compare.sh ROOT [WORK] (ROOT as made by setup.sh)" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd); repository=$(cd "$here/../.." && pwd)
root=$(cd "$1" && pwd); mkdir -p "${2:-$root/tmp/ortrlhf-compare}"; work=$(cd "${2:-$root/tmp/ortrlhf-compare}" && pwd)
rounds=${ROUNDS:-3} repeats=${REPEATS:-10} threads=${THREADS:-2} epochs=${EPOCHS:-3} images=${IMAGES:-64} ddpo_rounds=${DDPO_ROUNDS:-2}
raw=$work/raw.jsonl; : > "$raw"
export OMP_NUM_THREADS=$threads

dotnet build -c Release -v quiet "$repository/src/OrtRlhf.Cli"
ours() { "$repository/src/OrtRlhf.Cli/bin/Release/net10.0/ortrlhf" bench "$@" --threads "$threads" --json; }
python() { "$here/run.sh" "$root" "$@"; }
# record KIND SETTING WORK SIDE COMMAND...: adds one line to the raw figures. A side that fails is said and left out; the rest goes on.
record() {
  local kind=$1 setting=$2 what=$3 side=$4 result; shift 4
  echo "[$(date +%T)] $kind $setting $what: $side" >&2
  if result=$("$@"); then
    printf '{"kind":"%s","setting":"%s","work":"%s","side":"%s","result":%s}\n' "$kind" "$setting" "$what" "$side" "$(tr '\n' ' ' <<<"$result")" >> "$raw"
  else echo "compare.sh: $kind $setting $what: $side failed" >&2; fi
}
torch_unet() { env "${@:3}" "$here/run.sh" "$root" "$here/bench_unet.py" "$work/unet35" --repeats "$repeats" --threads "$threads" --one "$1" "$2"; }
our_unet() ( for setting in "${@:3}"; do export "${setting?}"; done; ours unet --folder "$work/unet35" --setting "$1" --work "$2" --repeats "$repeats" )

[ -f "$work/unet35/bench.safetensors" ] || python "$here/bench_unet.py" "$work/unet35" --make-only
for round in $(seq "$rounds"); do
  record unet default forward torch torch_unet default forward
  record unet default forward ours our_unet default forward
  record unet default forwardBackward torch torch_unet default forwardBackward
  record unet default forwardBackward ours our_unet default forward-backward
done
# Memory barely varies: once.
small="MALLOC_MMAP_THRESHOLD_=131072 MALLOC_TRIM_THRESHOLD_=131072"
for pair in "forward forward" "forwardBackward forward-backward"; do
  read -r theirs mine <<<"$pair"
  record unet lowMemory "$theirs" torch torch_unet lowMemory "$theirs" $small
  record unet lowMemory "$theirs" ours our_unet low-memory "$mine" $small
done

record log-prob default kernel ours ours log-prob

model=${MODEL:-$repository/models/shapes}
if [ ! -f "$model/unet/config.json" ]; then
  model=$work/stand-in
  [ -f "$model/model_index.json" ] || python "$here/stand_in.py" "$model"
fi
same="--epochs $epochs --images $images"
for round in $(seq "$ddpo_rounds"); do
  record ddpo "$(basename "$model")" loop torch python "$here/ddpo_loop.py" "$model" $same --sample-batch 16 --train-batch 16 --threads "$threads"
  record ddpo "$(basename "$model")" loop ours ours ddpo --model "$model" $same
done

python "$here/results.py" "$raw" "$here/RESULTS.md" "$threads"
cat "$here/RESULTS.md"
