#!/usr/bin/env bash
# methods.sh [FOLDER]: models, each tuned with DDPO, Flow-GRPO and DiffusionNFT on the same number of scored images, over several seeds; then the table,
# the curves and the numbers in OUTPUT. Runs go to FOLDER (default artifacts/comparison); those that are there are not repeated, and one that was broken
# off goes on where it was.
#   SEEDS="0 1 2"  METHODS="ddpo flow-grpo nft"  OUTPUT=docs/comparison
#   MODELS="models/shapes models/shapes-flow"   DDIM against flow matching
#   IMAGES=2048    images scored by each run, a multiple of 128; MORE adds options of tune to all runs
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); repository=$(cd "$here/../.." && pwd); cd "$repository"
folder=${1:-artifacts/comparison} seeds=${SEEDS:-0 1 2} models=${MODELS:-models/shapes models/shapes-flow} output=${OUTPUT:-docs/comparison} methods=${METHODS:-ddpo flow-grpo nft} images=${IMAGES:-2048}
dotnet build -c Release -v quiet src/OrtRlhf.Cli
ours() { src/OrtRlhf.Cli/bin/Release/net10.0/ortrlhf "$@"; }
mkdir -p "$folder"

# The same images, groups and guidance for all; what is left to a method is its defaults.
common=(--reward prompt-alignment --guidance-scale 1 --images 128 --group-size 8 --advantage-baseline group --epochs $((images / 128)))
read -ra more <<<"${MORE:-}"
runs=()
for seed in $seeds; do
  for model in $models; do
    for method in $methods; do
      run=$folder/$(basename "$model")-$method-$seed
      runs+=("$run")
      if [ -f "$run/summary.json" ]; then continue
      elif [ -f "$run/options.json" ]; then ours tune --resume "$run"
      else ours tune "$model" --method "$method" --seed "$seed" --output "$run" "${common[@]}" ${more[@]+"${more[@]}"}
      fi
    done
  done
done
ours compare "${runs[@]}" --show "prompt-alignment,GenEval overall,diversity" --title "Prompt alignment while it is trained" --output "$output"
