#!/usr/bin/env bash
# The whole comparison on the bundled pair, by one command: answers, scores, tables, pictures, page. It goes on where
# it was stopped.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

usage() {
  cat <<'HELP'
usage: ./scripts/reproduce_tales.sh [--judge MODEL.gguf] [--embed MODEL.gguf] [--from FOLDER] [--work FOLDER]
                                    [--to FOLDER] [--processes N] [--mini]

  --judge      a model that wrote none of the texts: its bits per byte are the second axis of quality
  --embed      an embedding model: with it meanings are measured by vectors, too
  --from       take answers and scores of an earlier study, docs/evidence for example; only what is missing is made
  --work       where answers and scores are kept; build/tales-study if not said
  --to         where tables, figures, report, manifest and packed answers go; docs/evidence if not said
  --processes  how many write answers at the same time, on one core each; one per core, 8 at most, if not said
  --mini       3 methods x 2 points x 4 prompts x 3 samples, to see that it works
BACO=program runs another baco than that of this checkout.
HELP
}

work=$root/build/tales-study to=$root/docs/evidence from=
mini=() helpers=()
cores=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
processes=$((cores < 8 ? cores : 8))
while (($#)); do
  case $1 in
    --judge | --embed)
      [[ -f ${2:-} ]] || die "$1 ${2:-}: there is no such file" "give the path of a GGUF file"
      helpers+=("$1" "$2")
      shift
      ;;
    --from)
      [[ -f ${2:-}/manifest.json ]] || die "--from ${2:-}: there is no study" "give the folder of its manifest.json"
      from=$2
      shift
      ;;
    --work) work=${2:?--work needs a folder} && shift ;;
    --to) to=${2:?--to needs a folder} && shift ;;
    --processes)
      [[ ${2:-} =~ ^[1-9][0-9]?$ ]] || die "--processes ${2:-}: give a number from 1 to 99"
      processes=$2
      shift
      ;;
    --mini) mini=(--methods p-punc,rand,aligned --points 2 --limit 4 --num-samples 3) ;;
    -h | --help) usage && exit ;;
    *) usage >&2 && exit 2 ;;
  esac
  shift
done

if [[ -z ${BACO:-} ]]; then
  prepare dev
  BACO=$venv/bin/baco
fi

# The answers of each method are one file, and the scores of all are one.
unpack() {
  [[ ! -e $work/manifest.json ]] || die "$work holds a study already" "give another folder:  --work FOLDER"
  mkdir -p -- "$work/answers"
  cp -- "$from/manifest.json" "$work/manifest.json"
  local packed
  for packed in "$from"/answers/*.tar.xz; do tar -C "$work/answers" -xJf "$packed"; done
  [[ ! -f $from/scores.tar.xz ]] || tar -C "$work" -xJf "$from/scores.tar.xz"
}

pack() {
  local first method
  mkdir -p -- "$to/answers"
  for first in "$work"/answers/*.1.jsonl; do
    method=$(basename "$first" .1.jsonl)
    (cd -- "$work/answers" && tar -cJf - "$method".[0-9].jsonl) >"$to/answers/$method.tar.xz"
  done
  (cd -- "$work" && tar -cJf - scores.jsonl) >"$to/scores.tar.xz"
  cp -- "$work/manifest.json" "$to/manifest.json"
}

sweep() { "$BACO" sweep "$root/scripts/reproduce_tales.toml" --pair tales "${mini[@]}" --output "$work" "$@"; }

# Each process writes a part of the points with a thread of its own, so that no core waits for another.
together() {
  local part one child code woken=0 failed=0 children=()
  set -m # process groups of their own, so that Ctrl-C reaches each of them once, from here
  trap 'woken=1; for one in $(jobs -p); do kill -INT -- "-$one" 2>/dev/null || true; done' INT TERM HUP
  for ((part = 1; part <= processes; part++)); do
    sweep --threads 1 --no-progress --shard "$part/$processes" </dev/null &
    children+=($!)
  done
  set +m
  for child in "${children[@]}"; do
    woken=1
    while ((woken)); do # by the trap, which ends a wait
      woken=0 code=0
      wait "$child" || code=$?
    done
    ((code == 0)) || failed=$code
  done
  trap - INT TERM HUP
  return "$failed"
}

[[ -z $from ]] || unpack
((processes == 1)) || together || exit
sweep # what is missing; after the others that is nothing
# Heads as narrow as those of a tiny judge are read four times as fast without flash attention and from an F32 cache.
fast=(--flash-attn off --cache-type-k f32 --cache-type-v f32)
"$BACO" report "$work" "${helpers[@]}" --pair tales "${fast[@]}" --texts 6 --output "$to/report.html" \
  --markdown "$to/tables.md" --csv "$to/points.csv" --figures "$to/figures"
pack
say "the evidence is in $to"
