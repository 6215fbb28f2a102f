#!/usr/bin/env bash
# Give .venv a llama.cpp that computes on NVIDIA cards: ./scripts/build_cuda.sh [ARCHITECTURE ...]
# Needs the CUDA toolkit. Where the card is in another machine, name what it is: 75 80 86 89 90 100 120 ...
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

command -v nvcc >/dev/null || [[ -n ${CUDACXX:-} ]] ||
  die "no nvcc was found" "install the CUDA toolkit, and put its folder bin on PATH, or set CUDACXX"
if (($#)); then
  architectures=$(IFS=';' && printf '%s' "$*")
elif nvidia-smi >/dev/null 2>&1; then
  architectures=native
else
  die "this machine has no NVIDIA card" "name the architecture of the one that it is for:  ./scripts/build_cuda.sh 86"
fi

# Without a driver there is no libcuda to link with; its virtual memory is all that llama.cpp takes from there.
flags="-DGGML_CUDA=on -DCMAKE_CUDA_ARCHITECTURES=$architectures"
ldconfig -p 2>/dev/null | grep -q 'libcuda\.so\.1' || flags+=" -DGGML_CUDA_NO_VMM=on"
export CMAKE_ARGS="$flags${CMAKE_ARGS:+ $CMAKE_ARGS}"

if [[ -x $venv/bin/python ]]; then # a build for the processor alone would be taken for what is wanted
  pip uninstall --yes llama-cpp-python >/dev/null 2>&1 || true
  rm -f -- "$venv/ready-run" "$venv/ready-dev"
fi
say "building with CMAKE_ARGS=\"$CMAKE_ARGS\"; an hour or two on 2 cores, for one architecture"
prepare run

"$venv/bin/python" -c 'import sys, baco_local.assemble as a; sys.exit("CUDA" not in a.build_facts().backends)' ||
  die "what was built knows no CUDA; look into $venv/setup.log"
say "made for CUDA; without a card it computes on the processor:"
"$venv/bin/baco" run -n 24 "Tell me a story about a fox."
