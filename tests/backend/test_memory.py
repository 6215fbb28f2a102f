"""What the memory plan promises, as laws over shares of any size and as worked examples."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baco_local.backend.gguf_file import GgufSummary
from baco_local.backend.machine import Device
from baco_local.backend.memory import (
    LEAST_CONTEXT,
    MARGIN_BYTES,
    DeviceLoad,
    Share,
    cells,
    keeps_apart,
    layers_that_fit,
    memory_share,
    plan_context,
    plan_pair,
)
from baco_local.config import CacheType, LoadOptions, Offload, OffloadKind
from baco_local.errors import MemoryPlanError

GB = 10**9
ONE_B = GgufSummary(
    path=Path("one.gguf"),
    kind="model",
    architecture="llama",
    name="one",
    quantisation="Q8_0",
    size_bytes=GB,
    n_parameters=GB,
    n_layers=16,
    n_ctx_train=8192,
    n_vocab=128_000,
    tokenizer="gpt2",
    chat_template=None,
    cache_width_k=16 * 8 * 64,
    cache_width_v=16 * 8 * 64,
    parts=(Path("one.gguf"),),
)
ADAPTER = GgufSummary(
    path=Path("lora.gguf"),
    kind="adapter",
    architecture="llama",
    name="lora",
    quantisation="F16",
    size_bytes=GB // 50,
    n_parameters=GB // 100,
    n_layers=0,
    n_ctx_train=0,
    n_vocab=0,
    tokenizer="",
    chat_template=None,
    cache_width_k=0,
    cache_width_v=0,
    parts=(Path("lora.gguf"),),
)

shares = st.lists(
    st.builds(
        Share,
        label=st.just("base"),
        weight_bytes=st.integers(0, 8 * GB),
        cell_bytes=st.integers(0, 300_000),
        fixed_bytes=st.integers(0, GB),
        n_ctx_train=st.sampled_from([128, 512, 2048, 4096, 32768, 131072]),
        ctx_size=st.sampled_from([0, 0, 0, 300, 4096]),
    ),
    min_size=1,
    max_size=2,
)


@given(ctx_size=st.integers(1, 10**6), n_sequences=st.integers(1, 64))
def test_cells_hold_every_sequence_and_are_what_llama_cpp_would_make_of_them(ctx_size: int, n_sequences: int) -> None:
    """Cells are a multiple of 256, enough for all sequences, and less than 256 too many for each that owns some."""
    n, n_owners = cells(ctx_size, n_sequences), n_sequences if keeps_apart(n_sequences) else 1
    assert n % (256 * n_owners) == 0
    assert 0 <= n - ctx_size * n_sequences < 256 * n_owners


def test_cache_bytes_follow_the_formula_of_llama_cpp() -> None:
    """A 1.2B model keeps 128 MiB of f16 cache at 4,096 positions; q8_0 takes a little over half of that."""
    share = memory_share("base", ONE_B, LoadOptions(), n_sequences=1)
    assert share.cell_bytes * 4096 == 128 << 20
    q8 = LoadOptions(cache_type_k=CacheType.Q8_0, cache_type_v=CacheType.Q8_0)
    assert memory_share("base", ONE_B, q8, n_sequences=1).cell_bytes * 32 == share.cell_bytes * 17


@given(shares=shares, n_sequences=st.integers(1, 16), free_bytes=st.integers(0, 64 * GB))
def test_a_plan_fits_and_gives_way_only_where_it_was_free_to(
    shares: list[Share], n_sequences: int, free_bytes: int
) -> None:
    """A plan never needs more than is free, keeps sizes that were asked for, and never exceeds the trained length."""
    try:
        plan = plan_context(shares, n_sequences=n_sequences, free_bytes=free_bytes)
    except MemoryPlanError:
        least = [share.ctx_size or min(share.n_ctx_train, LEAST_CONTEXT) for share in shares]
        assert sum(s.needs(size, n_sequences) for s, size in zip(shares, least, strict=True)) > free_bytes
        return
    assert plan.needed_bytes <= free_bytes
    for share, size in zip(shares, plan.ctx_sizes, strict=True):
        if share.ctx_size:
            assert size == share.ctx_size
        else:
            assert min(share.n_ctx_train, LEAST_CONTEXT) <= size <= share.n_ctx_train


@given(shares=shares, n_sequences=st.integers(1, 16), free_bytes=st.integers(0, 64 * GB), more=st.integers(0, 64 * GB))
def test_more_memory_never_gives_a_smaller_context(
    shares: list[Share], n_sequences: int, free_bytes: int, more: int
) -> None:
    """What fits into less memory is planned at least as large in more."""
    try:
        small = plan_context(shares, n_sequences=n_sequences, free_bytes=free_bytes)
    except MemoryPlanError:
        return
    large = plan_context(shares, n_sequences=n_sequences, free_bytes=free_bytes + more)
    assert all(a <= b for a, b in zip(small.ctx_sizes, large.ctx_sizes, strict=True))


def test_short_memory_halves_both_contexts_and_says_so() -> None:
    """Where 8,192 positions do not fit, 4,096 are taken for both models, with a note for each."""
    pair = [memory_share(label, ONE_B, LoadOptions(), n_sequences=4) for label in ("base", "aligned")]
    full = plan_context(pair, n_sequences=4, free_bytes=100 * GB)
    assert (full.ctx_sizes, full.notes) == ((8192, 8192), ())
    half = plan_context(pair, n_sequences=4, free_bytes=full.needed_bytes - 1)
    assert half.ctx_sizes in ((4096, 8192), (4096, 4096))
    assert "4096 positions of context instead of the 8192" in half.notes[0]


def test_refusal_names_what_is_needed_what_is_free_and_what_to_try() -> None:
    """An explicit context that does not fit is refused with exit code 4 and a context size that would fit."""
    asked = LoadOptions(ctx_size=65536)
    pair = [memory_share(label, ONE_B, asked, n_sequences=1) for label in ("base", "aligned")]
    with pytest.raises(MemoryPlanError) as caught:
        plan_context(pair, n_sequences=1, free_bytes=4 * GB)
    assert caught.value.exit_code == 4
    message = str(caught.value)
    assert "they need 6.5 GB, and 4.0 GB are free" in message
    assert "base 1.0 GB + aligned 1.0 GB + caches 4.5 GB at 65536 positions" in message
    assert "try -c 16384 (3.3 GB)" in message


def test_refusal_without_a_fitting_context_suggests_smaller_files() -> None:
    """Where the weights alone are too large no context size is suggested."""
    pair = [memory_share(label, ONE_B, LoadOptions(), n_sequences=1) for label in ("base", "aligned")]
    with pytest.raises(MemoryPlanError, match=r"nothing was loaded; try files with a smaller quantisation"):
        plan_context(pair, n_sequences=1, free_bytes=GB)


def test_context_beyond_training_is_taken_with_a_note() -> None:
    """An explicit size above the trained length is used as asked, and the note says what to expect."""
    share = memory_share("aligned", ONE_B, LoadOptions(ctx_size=16384), n_sequences=1)
    plan = plan_context([share], n_sequences=1, free_bytes=100 * GB)
    assert plan.ctx_sizes == (16384,)
    assert plan.notes == (
        "aligned: 16384 positions of context, and it was trained for 8192; beyond those its text may fall apart",
    )


loads = st.lists(
    st.builds(
        DeviceLoad,
        weight_bytes=st.integers(0, 20 * GB),
        cache_bytes=st.integers(0, GB),
        fixed_bytes=st.integers(0, GB),
        n_layers=st.integers(1, 100),
    ),
    min_size=1,
    max_size=2,
)


@given(loads=loads, free_bytes=st.integers(-GB, 80 * GB))
def test_offloaded_layers_fit_on_the_device(loads: list[DeviceLoad], free_bytes: int) -> None:
    """The chosen layers never take more than is free, and all are chosen when everything fits."""
    layers = layers_that_fit(loads, free_bytes)
    fixed, total = sum(load.fixed_bytes for load in loads), sum(load.spread_bytes for load in loads)
    used = sum(n * load.spread_bytes // (load.n_layers + 1) for n, load in zip(layers, loads, strict=True))
    assert all(0 <= n <= load.n_layers + 1 for n, load in zip(layers, loads, strict=True))
    if any(layers):
        assert used + fixed <= max(free_bytes, fixed)
    if fixed + total <= free_bytes:
        assert layers == tuple(load.n_layers + 1 for load in loads) or not total


@pytest.mark.parametrize(("free_gb", "expected"), [(0.0, 0), (0.5, 0), (1.1, 9), (1.6, 17), (9.0, 17)])
def test_layers_by_free_memory(free_gb: float, expected: int) -> None:
    """1 GB of weights in 16 layers and an output, 0.1 GB of cache and 0.5 GB of buffers: a small truth table."""
    load = DeviceLoad(weight_bytes=GB, cache_bytes=GB // 10, fixed_bytes=GB // 2, n_layers=16)
    assert layers_that_fit([load], int(free_gb * GB)) == (expected,)


def device(free_bytes: int, *, shares_memory: bool = False) -> Device:
    """Return a GPU with some free memory."""
    return Device(
        name="GPU0",
        description="a GPU",
        is_gpu=True,
        shares_memory=shares_memory,
        free_bytes=free_bytes,
        total_bytes=24 * GB,
    )


def test_pair_without_gpu_stays_on_the_cpu() -> None:
    """A build without devices gets no layer offloaded and the trained context."""
    plan = plan_pair(ONE_B, ONE_B, None, LoadOptions(), LoadOptions(), n_sequences=1, free_bytes=30 * GB)
    assert plan.base.offload == plan.aligned.offload == Offload(OffloadKind.LAYERS, 0)
    assert plan.base.ctx_size == plan.aligned.ctx_size == 8192


def test_pair_goes_to_a_large_gpu_whole_and_explicit_wishes_stay() -> None:
    """With room for everything all layers go, except where the user said how many."""
    wish = LoadOptions(offload=Offload(OffloadKind.LAYERS, 3))
    plan = plan_pair(
        ONE_B, ONE_B, None, LoadOptions(), wish, n_sequences=1, free_bytes=8 * GB, devices=[device(20 * GB)]
    )
    assert plan.base.offload == Offload(OffloadKind.LAYERS, 17)
    assert plan.aligned.offload == Offload(OffloadKind.LAYERS, 3)


def test_adapter_pair_counts_its_weights_once() -> None:
    """One set of weights under two contexts needs the second file's bytes less, and offloads the same layers twice."""
    both = plan_pair(ONE_B, ONE_B, None, LoadOptions(), LoadOptions(), n_sequences=1, free_bytes=30 * GB)
    lora = plan_pair(
        ONE_B,
        None,
        ADAPTER,
        LoadOptions(),
        LoadOptions(),
        n_sequences=1,
        free_bytes=30 * GB,
        devices=[device(GB + MARGIN_BYTES)],
    )
    assert lora.needed_bytes == both.needed_bytes - GB + ADAPTER.size_bytes
    assert lora.base.offload == lora.aligned.offload
    assert 0 < lora.base.offload.layers < 17


def test_gpu_that_shares_the_memory_of_the_computer_adds_none() -> None:
    """An integrated GPU does not make a pair fit that the computer's memory cannot hold."""
    with pytest.raises(MemoryPlanError):
        plan_pair(
            ONE_B,
            ONE_B,
            None,
            LoadOptions(),
            LoadOptions(),
            n_sequences=1,
            free_bytes=GB,
            devices=[device(20 * GB, shares_memory=True)],
        )
