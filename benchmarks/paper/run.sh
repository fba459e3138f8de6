#!/bin/sh
# The paper's Table 1 on a machine with GPUs of 16 GB: sh benchmarks/paper/run.sh 7b|13b FOLDER_OF_RESULTS FOLDER_OF_MODEL
# The model has to be in safetensors (README.md). PYTHON names the interpreter, .venv/bin/python if there is one.
# Each set has a GPU of its own; a killed one goes on when this is started again. HANDFUL_DATA names the folder of the sets.
set -eu
size=${1:?7b or 13b}
output=${2:?a folder for the results}
model=${3:?the folder of Vicuna in safetensors}
here=$(dirname "$0")
python=${PYTHON:-$here/../../.venv/bin/python}
[ -x "$python" ] || python=python3
mkdir -p "$output"
gpu=0
for task in sst2 trec ag_news; do
    CUDA_VISIBLE_DEVICES=$gpu "$python" -m handful benchmark "$task" \
        --model "$model" --load-in-4bit \
        --recipe "$here/vicuna-$size.yaml" \
        --methods zero_shot,in_context,lora_real,lora_real:25,lora_real:full,lora_synthetic,lora_synthetic_unfiltered \
        --seeds 3 -o "$output/$task" >"$output/$task.log" 2>&1 &
    jobs="${jobs:-} $!"
    gpu=$((gpu + 1))
done
failed=0
for job in $jobs; do wait "$job" || failed=1; done
exit $failed
