#!/usr/bin/env bash
# The whole comparison on the bundled pair, by one command: answers, scores, tables, pictures, page. It goes on where
# it was stopped.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

usage() {
  cat <<'HELP'
usage: ./scripts/reproduce_tales.sh [--judge MODEL.gguf] [--embed MODEL.gguf] [--work FOLDER] [--to FOLDER] [--mini]

  --judge  a model that wrote none of the texts: its bits per byte are the second axis of quality
  --embed  an embedding model: with it meanings are measured by vectors, too
  --work   where answers and scores are kept; build/tales-study if not said
  --to     where tables, figures, report and manifest go; docs/evidence if not said
  --mini   3 methods x 2 points x 4 prompts x 3 samples, to see that it works
BACO=program runs another baco than that of this checkout.
HELP
}

work=$root/build/tales-study to=$root/docs/evidence
mini=() helpers=()
while (($#)); do
  case $1 in
    --judge | --embed)
      [[ -f ${2:-} ]] || die "$1 ${2:-}: there is no such file" "give the path of a GGUF file"
      helpers+=("$1" "$2")
      shift
      ;;
    --work) work=${2:?--work needs a folder} && shift ;;
    --to) to=${2:?--to needs a folder} && shift ;;
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

"$BACO" sweep "$root/scripts/reproduce_tales.toml" --pair tales "${mini[@]}" --output "$work"
# Heads as narrow as those of a tiny judge are read three times as fast without flash attention.
"$BACO" report "$work" "${helpers[@]}" --pair tales --flash-attn off --texts 6 --output "$to/report.html" \
  --markdown "$to/tables.md" --csv "$to/points.csv" --figures "$to/figures"
cp -- "$work/manifest.json" "$to/manifest.json"
say "the evidence is in $to"
