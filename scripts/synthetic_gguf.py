#!/usr/bin/env python3
"""Write random-weight GGUF files of any shape: a pair, an adapter, a recurrent model; for benchmarks and tests.

The files load in llama.cpp, split text and decode at the speed of a trained model of that shape and type, and their
next-token distributions are as peaked as a trained model's. They know nothing: use them for speed, memory and
equality, never for quality. Needs numpy and gguf (extra "dev").

    synthetic_gguf.py FOLDER --preset 0.5b --quant Q4_0 --lora

writes ``FOLDER/base.gguf``, ``FOLDER/aligned.gguf`` and ``FOLDER/adapter.gguf``. The same options give the same bytes.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Quant
from numpy.typing import NDArray

__all__ = [
    "PRESETS",
    "Quant",
    "Shape",
    "Vocabulary",
    "byte_pair",
    "sentence_piece",
    "write_adapter",
    "write_model",
    "write_pair",
    "write_recurrent",
]

Matrix: TypeAlias = NDArray[np.float32]  # [out, in], as in torch.nn.Linear.weight; GGUF counts the other way round
BLOCK = 32  # numbers that share one scale in Q8_0 and Q4_0


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of one llama-architecture model; input and output embeddings are one matrix."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    ffn: int
    vocab: int
    context: int = 4096

    def __post_init__(self) -> None:
        """Refuse what llama.cpp or the block formats would refuse later, and less clearly."""
        if self.width % self.heads or self.heads % self.kv_heads or (self.width // self.heads) % 2:
            raise ValueError("width must be an even multiple of heads, and heads a multiple of kv_heads")
        if self.width % BLOCK or self.ffn % BLOCK:
            raise ValueError(f"width and ffn must be multiples of {BLOCK}, the block length of Q8_0 and Q4_0")

    @property
    def head_width(self) -> int:
        """Return the numbers per attention head."""
        return self.width // self.heads

    def matrices(self) -> dict[str, tuple[int, int]]:
        """Return name -> (out, in) of every weight matrix, in file order."""
        kv = self.head_width * self.kv_heads
        layer = {
            "attn_q": (self.width, self.width),
            "attn_k": (kv, self.width),
            "attn_v": (kv, self.width),
            "attn_output": (self.width, self.width),
            "ffn_gate": (self.ffn, self.width),
            "ffn_up": (self.ffn, self.width),
            "ffn_down": (self.width, self.ffn),
        }
        named = {f"blk.{i}.{name}.weight": size for i in range(self.layers) for name, size in layer.items()}
        return {"token_embd.weight": (self.vocab, self.width)} | named


# --- vocabularies -------------------------------------------------------------------------------------------------

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")  # the last three ids of a byte-level vocabulary
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A token table in the terms of a GGUF file."""

    model: str  # "gpt2" or "llama"
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    bos: str
    eos: str
    merges: tuple[str, ...] = ()  # byte-level BPE only
    scores: tuple[float, ...] = ()  # SentencePiece only
    chat_template: str | None = None

    def write(self, writer: gguf.GGUFWriter) -> None:
        """Add the table to a file."""
        writer.add_tokenizer_model(self.model)
        writer.add_token_list(list(self.tokens))
        writer.add_token_types(list(self.types))
        if self.model == "gpt2":
            writer.add_tokenizer_pre("gpt-2")
            writer.add_token_merges(list(self.merges))
            writer.add_add_bos_token(False)
        else:
            writer.add_token_scores(list(self.scores))
        writer.add_bos_token_id(self.tokens.index(self.bos))
        writer.add_eos_token_id(self.tokens.index(self.eos))
        if self.chat_template is not None:
            writer.add_chat_template(self.chat_template)


def byte_signs() -> list[str]:
    """Return the printable sign that byte-level BPE writes for each byte: itself, or one from U+0100 upward."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = itertools.count(256)
    return [chr(b) if b in printable else chr(next(spare)) for b in range(256)]


def made_up_words() -> Iterator[tuple[str, str]]:
    """Yield up to 745,000 merges: syllables, words of one and two, inner pieces of two, words of three syllables."""
    space = byte_signs()[ord(" ")]
    syllables = [c + v for v in "aeiou" for c in "bcdfghjklmnprstvwz"]
    one = [space + s for s in syllables]
    two = [stem + s for stem in one for s in syllables]
    yield from ((s[0], s[1]) for s in syllables)
    for stems in ([space], one, syllables, two):
        yield from itertools.product(stems, syllables)


def byte_pair(size: int, *, chat: bool = False, added: tuple[str, ...] = ()) -> Vocabulary:
    """Return a byte-level BPE vocabulary: 256 bytes, made-up words, ``added`` user-defined tokens, three specials."""
    n_merges = size - 256 - len(added) - len(SPECIAL)
    merges = list(itertools.islice(made_up_words(), max(0, n_merges)))
    tokens = (*byte_signs(), *(a + b for a, b in merges), *added, *SPECIAL)
    if len(tokens) != size or not merges:
        raise ValueError(f"vocab is {size}; it must lie between {257 + len(added) + len(SPECIAL)} and 745,000")
    kinds = [gguf.TokenType.NORMAL] * (256 + len(merges)) + [gguf.TokenType.USER_DEFINED] * len(added)
    return Vocabulary(
        model="gpt2",
        tokens=tokens,
        types=(*map(int, kinds), *(int(gguf.TokenType.CONTROL) for _ in SPECIAL)),
        bos="<|endoftext|>",
        eos="<|im_end|>" if chat else "<|endoftext|>",
        merges=tuple(f"{a} {b}" for a, b in merges),
        chat_template=CHAT_TEMPLATE if chat else None,
    )


def sentence_piece(size: int) -> Vocabulary:
    """Return a SentencePiece vocabulary: unknown, start, end, 256 byte tokens, letters, made-up words."""
    special = ("<unk>", "<s>", "</s>")
    space = byte_signs()[ord(" ")]
    merged = ((a + b).replace(space, "\u2581") for a, b in made_up_words())
    words = itertools.chain("\u2581abcdefghijklmnopqrstuvwxyz", merged)
    tokens = (*special, *(f"<0x{byte:02X}>" for byte in range(256)), *words_up_to(words, size - 259))
    kinds = gguf.TokenType
    return Vocabulary(
        model="llama",
        tokens=tokens,
        types=(
            *map(int, (kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL)),
            *(int(kinds.BYTE) for _ in range(256)),
            *(int(kinds.NORMAL) for _ in tokens[259:]),
        ),
        bos="<s>",
        eos="</s>",
        scores=(*(0.0 for _ in range(259)), *(-float(rank) for rank, _ in enumerate(tokens[259:]))),
    )


def words_up_to(words: Iterable[str], n: int) -> tuple[str, ...]:
    """Return the first ``n`` words, or refuse a vocabulary that is too small or too large."""
    found = tuple(itertools.islice(words, max(0, n)))
    if len(found) != n or n < 28:
        raise ValueError(f"a SentencePiece vocabulary of {n + 259} tokens cannot be made; ask for 287 to 745,000")
    return found


# --- weights ------------------------------------------------------------------------------------------------------


def normal(size: tuple[int, ...], name: str, seed: int, stream: str) -> Matrix:
    """Return standard normal numbers that depend on name, seed and stream alone."""
    rng = np.random.Generator(np.random.SFC64([seed, zlib.crc32(f"{stream}:{name}".encode())]))
    return rng.standard_normal(size, dtype=np.float32)


def weights(name: str, size: tuple[int, int], seed: int, noise: float) -> Matrix:
    """Return one matrix that keeps the scale of its input.

    Noise stretches every block of 32 numbers by its own factor. Q8_0 and Q4_0 carry one scale per block, so they
    keep even a noise far below their rounding step, and the same pair agrees equally well in every file type.
    """
    blocks = normal((size[0] * size[1] // BLOCK, BLOCK), name, seed, "base")
    if noise:
        blocks *= 1 + np.float32(noise) * normal((len(blocks), 1), name, seed, "noise")
    return blocks.reshape(size) / np.float32(np.hypot(1, noise) * np.sqrt(size[1]))


def output_gain(vocab: int, peak: float, n_rows: int = 64) -> float:
    """Return the spread of logits at which the likeliest token has probability ``peak`` on average.

    After the last norm the hidden state has length sqrt(width), so against random embedding rows the logits are
    independent normal numbers. How peaked they are depends on the vocabulary and on their spread, nothing else.
    """
    rows = np.random.default_rng(0).standard_normal((n_rows, vocab), dtype=np.float32)
    rows -= rows.max(axis=1, keepdims=True)
    low, high = 0.0, 64.0
    while high - low > 0.01:
        gain = (low + high) / 2
        mean_peak = (1 / np.exp(np.float32(gain) * rows).sum(axis=1)).mean()
        low, high = (gain, high) if mean_peak < peak else (low, gain)
    return high


# --- files --------------------------------------------------------------------------------------------------------


def finish(writer: gguf.GGUFWriter, tensors: Iterable[NDArray[Any]]) -> None:
    """Write header, keys and announced tensors, one tensor in memory at a time."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in tensors:
        writer.write_tensor_data(tensor)
    writer.close()


def write_model(
    path: Path,
    shape: Shape,
    quant: Quant = Quant.F32,
    *,
    vocabulary: Vocabulary | None = None,
    seed: int = 0,
    noise: float = 0.0,
    peak: float = 0.5,
    architecture: str = "llama",
    with_weights: bool = True,
) -> None:
    """Write one model; ``noise`` 0 gives the base model of this seed, without weights it is a vocabulary only."""
    vocabulary = vocabulary or byte_pair(shape.vocab)
    if len(vocabulary.tokens) != shape.vocab:
        raise ValueError(f"the vocabulary has {len(vocabulary.tokens)} tokens and the shape {shape.vocab}")
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(f"synthetic {path.stem}")
    writer.add_file_type(FILE_TYPES[quant])
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(shape.vocab)
    vocabulary.write(writer)
    if not with_weights:
        finish(writer, ())
        return
    ones = np.ones(shape.width, np.float32)  # norms stay F32 in every file type
    norms = {f"blk.{i}.{kind}_norm.weight": ones for i in range(shape.layers) for kind in ("attn", "ffn")}
    norms["output_norm.weight"] = np.float32(output_gain(shape.vocab, peak)) * ones
    block, block_bytes = gguf.GGML_QUANT_SIZES[quant]
    for name, norm in norms.items():
        writer.add_tensor_info(name, norm.shape, norm.dtype, norm.nbytes)
    for name, (n_out, n_in) in shape.matrices().items():
        writer.add_tensor_info(name, (n_out, n_in), np.dtype(np.float32), n_out * n_in // block * block_bytes, quant)
    matrices = (gguf.quantize(weights(n, size, seed, noise), quant) for n, size in shape.matrices().items())
    finish(writer, itertools.chain(norms.values(), matrices))


def write_adapter(
    path: Path,
    shape: Shape,
    *,
    seed: int = 0,
    rank: int = 16,
    alpha: float = 32.0,
    strength: float = 0.015,
    architecture: str = "llama",
) -> None:
    """Write an F16 adapter for every linear layer; each product B A alpha/rank is ``strength`` times its matrix."""
    writer = gguf.GGUFWriter(str(path), architecture)  # must name the architecture of the model
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
    parts: dict[str, tuple[tuple[int, int], float]] = {}
    for name, (n_out, n_in) in shape.matrices().items():
        if name == "token_embd.weight":
            continue
        parts[name + ".lora_a"] = ((rank, n_in), 1 / np.sqrt(n_in))
        parts[name + ".lora_b"] = ((n_out, rank), strength * rank / alpha / np.sqrt(rank))
    for name, (size, _) in parts.items():
        writer.add_tensor_info(name, size, np.dtype(np.float16), 2 * size[0] * size[1])
    finish(writer, ((s * normal(size, name, seed, "lora")).astype(np.float16) for name, (size, s) in parts.items()))


def write_recurrent(path: Path, vocabulary: Vocabulary, *, seed: int = 0, layers: int = 2, width: int = 64) -> None:
    """Write a Mamba model: its state cannot be taken back in part, and a sequence cannot be cut."""
    inner, state, kernel, rank = 2 * width, 8, 4, 4
    vectors: dict[str, NDArray[np.float32]] = {"output_norm.weight": np.full(width, 8.0, np.float32)}
    matrices: dict[str, tuple[int, int]] = {"token_embd.weight": (len(vocabulary.tokens), width)}
    for i in range(layers):
        block = f"blk.{i}."
        vectors |= {
            block + "attn_norm.weight": np.ones(width, np.float32),
            block + "ssm_conv1d.bias": np.zeros(inner, np.float32),
            block + "ssm_dt.bias": np.zeros(inner, np.float32),
            block + "ssm_d": np.ones(inner, np.float32),
            block + "ssm_a": np.tile(-np.arange(1, state + 1, dtype=np.float32), (inner, 1)),  # decays, as trained ones
        }
        matrices |= {
            block + "ssm_in.weight": (2 * inner, width),
            block + "ssm_conv1d.weight": (inner, kernel),
            block + "ssm_x.weight": (rank + 2 * state, inner),
            block + "ssm_dt.weight": (inner, rank),
            block + "ssm_out.weight": (width, inner),
        }
    writer = gguf.GGUFWriter(str(path), "mamba")
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(f"synthetic {path.stem}")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(4096)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(layers)
    writer.add_ssm_conv_kernel(kernel)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(rank)
    writer.add_layer_norm_rms_eps(1e-5)
    vocabulary.write(writer)
    tensors = vectors | {name: weights(name, size, seed, 0.0) for name, size in matrices.items()}
    for name, tensor in tensors.items():
        writer.add_tensor_info(name, tensor.shape, tensor.dtype, tensor.nbytes)
    finish(writer, tensors.values())


def write_pair(
    folder: Path,
    shape: Shape,
    quant: Quant = Quant.F32,
    *,
    seed: int = 0,
    noise: float = 0.015,
    peak: float = 0.5,
    adapter: bool = False,
) -> None:
    """Write ``base.gguf``, its relative ``aligned.gguf`` with a chat template, and if asked for ``adapter.gguf``."""
    folder.mkdir(parents=True, exist_ok=True)
    plain, chat = byte_pair(shape.vocab), byte_pair(shape.vocab, chat=True)
    write_model(folder / "base.gguf", shape, quant, vocabulary=plain, seed=seed, peak=peak)
    write_model(folder / "aligned.gguf", shape, quant, vocabulary=chat, seed=seed, peak=peak, noise=noise)
    if adapter:
        write_adapter(folder / "adapter.gguf", shape, seed=seed, strength=noise)


# --- command line -------------------------------------------------------------------------------------------------

PRESETS = {
    "tiny": Shape(layers=2, width=128, heads=4, kv_heads=2, ffn=384, vocab=1024),
    "135m": Shape(layers=30, width=576, heads=9, kv_heads=3, ffn=1536, vocab=49152),
    "0.5b": Shape(layers=24, width=896, heads=14, kv_heads=2, ffn=4864, vocab=151936),
    "1b": Shape(layers=16, width=2048, heads=32, kv_heads=8, ffn=8192, vocab=128256),
}
FILE_TYPES = {  # every matrix has this one type; llama.cpp's own quantiser would keep a Q4_0 model's embedding at Q6_K
    Quant.F32: gguf.LlamaFileType.ALL_F32,
    Quant.F16: gguf.LlamaFileType.MOSTLY_F16,
    Quant.Q8_0: gguf.LlamaFileType.MOSTLY_Q8_0,
    Quant.Q4_0: gguf.LlamaFileType.MOSTLY_Q4_0,
}


def main() -> None:
    """Parse the command line and write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the files go")
    parser.add_argument("--preset", choices=PRESETS, default="tiny", help="shape to start from (default: tiny)")
    for field in dataclasses.fields(Shape):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=int, metavar="N", help=f"override {field.name}")
    parser.add_argument("--quant", choices=[q.name for q in FILE_TYPES], default="Q8_0", help="type of every matrix")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peak", type=float, default=0.5, help="mean probability of the likeliest token (default 0.5)")
    parser.add_argument("--noise", type=float, default=0.015, help="noise / weight in aligned.gguf and the adapter")
    parser.add_argument("--lora", action="store_true", help="also write adapter.gguf, a random low-rank adapter")
    args = parser.parse_args()
    try:
        sizes = {f.name: getattr(args, f.name) for f in dataclasses.fields(Shape)}
        shape = dataclasses.replace(PRESETS[args.preset], **{k: v for k, v in sizes.items() if v is not None})
        write_pair(
            args.folder,
            shape,
            Quant[args.quant],
            seed=args.seed,
            noise=args.noise,
            peak=args.peak,
            adapter=args.lora,
        )
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
