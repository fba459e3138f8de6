#!/bin/sh
# Accuracy on one of the paper's sets: sh benchmarks/accuracy/measure.sh TASK FOLDER
# What is in benchmarks/results was measured with ARGUMENTS="--precision bfloat16"; of TREC with the METHODS that
# docs/experiments.md names.
# Two processes with a thread each share the seeds. Killed, the same command goes on. METHODS and ARGUMENTS (--set ...,
# --precision ...) change what is measured; PYTHON is the interpreter, HANDFUL_DATA names the folder of the sets.
# At the end: python -m benchmarks.accuracy.publish FOLDER/all
set -eu
task=${1:?sst2, trec or ag_news}
folder=${2:?a folder for what is measured}
plain=zero_shot,in_context,lora_real,lora_real:25,lora_real:full
ours="lora_synthetic[21],lora_synthetic,lora_synthetic_unfiltered,lora_synthetic_random"
methods=${METHODS:-$plain,$ours,llm_probe,encoder_probe,setfit,tfidf}
python=${PYTHON:-$(dirname "$0")/../../.venv/bin/python}
mkdir -p "$folder"

measure() {  # the seeds, and the folder they go to
    # shellcheck disable=SC2086 # arguments are several words
    "$python" -m handful benchmark "$task" --shots-per-label 4 --test-limit 2000 ${ARGUMENTS:-} \
        --methods "$methods" --seeds "$1" -o "$folder/$2" >>"$folder/$2.log" 2>&1
}

export OMP_NUM_THREADS=1
measure 0-1 all & first=$!
measure 2-4 rest & rest=$!
failed=0
for process in $first $rest; do wait "$process" || failed=1; done
[ $failed = 0 ] || { echo "not all was measured: see $folder/*.log" >&2; exit 1; }
cp -R "$folder/rest/runs/." "$folder/all/runs"
unset OMP_NUM_THREADS
measure 5 all
