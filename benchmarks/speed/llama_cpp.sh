#!/bin/sh
# Builds llama.cpp's Python binding with its own defaults, in an environment of its own, for generate.llama_cpp.
#
#     sh benchmarks/speed/llama_cpp.sh [FOLDER]          # default: .venv-llama-cpp
#
# It needs a C++ compiler and cmake, and takes some minutes (CMAKE_BUILD_PARALLEL_LEVEL=1 for one core). handful itself
# does not depend on it. HANDFUL_LLAMA_CPP_PYTHON names the environment's python where it is another folder.
set -eu
folder="${1:-.venv-llama-cpp}"
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet "llama-cpp-python==0.3.36"
"$folder/bin/python" -c "import llama_cpp; print('llama-cpp-python', llama_cpp.__version__)"
