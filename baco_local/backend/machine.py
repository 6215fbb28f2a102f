"""What this computer offers: cores, free memory, devices; containers and their limits included.

Knows no model; what fits where is decided in ``memory``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = [
    "EQUAL_ROWS",
    "PARAMETERS_PER_THREAD",
    "PLENTY",
    "BuildFacts",
    "Device",
    "cores_each",
    "free_memory",
    "readers_for",
    "threads_for",
    "ubatch_for",
    "usable_cores",
]

CGROUP = Path("/sys/fs/cgroup")  # Linux: limits of the container we are in

PLENTY = 512  # tokens computed at once; more gain nothing
EQUAL_ROWS = 63  # from 64 on, llama.cpp's flash attention on a CPU has another kernel, with other last bits
NO_GPU = frozenset({"CPU", "BLAS", "RPC", "zDNN"})  # backends of ggml that are no GPU of this machine
MOST_READERS = 8  # contexts that only read; each takes memory of its own
PARAMETERS_PER_THREAD = 20_000_000  # below, llama.cpp's threads spin at barriers for longer than they compute


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Something that ggml can compute on."""

    name: str
    description: str
    is_gpu: bool
    shares_memory: bool  # its memory is the computer's own: integrated GPUs, Apple
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildFacts:
    """How the llama.cpp in use was built and what it can compute on."""

    version: str
    bindings: str  # version of llama-cpp-python
    system: str  # llama.cpp's own line: instruction sets, OpenMP ...
    backends: tuple[str, ...]  # what ggml was built to compute with: CPU, CUDA, Vulkan ...; a card need not be there
    supports_gpu_offload: bool  # there is one
    devices: tuple[Device, ...]
    library: str

    @property
    def made_for_gpu(self) -> bool:
        """Return whether it could compute on a GPU, were one there."""
        return not NO_GPU.issuperset(self.backends)


def usable_cores(cgroup: Path = CGROUP) -> int:
    """Return the physical cores that this process may keep busy; never more threads than that, for they spin."""
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = min(cores, len(os.sched_getaffinity(0)))
    quota, period, *_ = (*_words(cgroup / "cpu.max"), "max", "max")
    if quota.isdecimal() and period.isdecimal() and int(period):
        cores = min(cores, int(quota) // int(period))
    return max(1, cores)


def cores_each(n_workers: int, cores: int) -> int:
    """Return how many cores each of some workers side by side gets; one at least."""
    return max(1, cores // n_workers)


def threads_for(n_parameters: int, cores: int) -> int:
    """Return how many threads pay for a model of this size; those of a tiny one would only wait for each other."""
    return max(1, min(cores, n_parameters // PARAMETERS_PER_THREAD))


def readers_for(n_parameters: int, cores: int) -> int:
    """Return how many contexts of a model of this size keep the cores busy; those of a tiny one need one core each."""
    return min(MOST_READERS, max(1, cores // threads_for(n_parameters, cores)))


def ubatch_for(n_parameters: int, layers_offloaded: int) -> int:
    """Return how many tokens to compute at once.

    A tiny model reads fast anyway; so its rows, if of Q8_0, are bitwise the same in any company and in any split of a
    prompt. A larger one would read long prompts two to three times slower.
    """
    return PLENTY if layers_offloaded or n_parameters >= PARAMETERS_PER_THREAD else EQUAL_ROWS


def free_memory(cgroup: Path = CGROUP) -> int:
    """Return the bytes that can be used without swapping."""
    free = int(psutil.virtual_memory().available)
    limit, used = _words(cgroup / "memory.max"), _words(cgroup / "memory.current")
    if limit and used and limit[0].isdecimal() and used[0].isdecimal():
        free = min(free, max(0, int(limit[0]) - int(used[0])))
    return free


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
