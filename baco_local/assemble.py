"""Files and options become a pair: the one place where llama.cpp, samplers, catalogue and engine meet.

Reads no environment; everything it needs is handed in.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from baco_local.backend.base import Model, ModelInfo
from baco_local.backend.gguf_file import GgufSummary, check_adapter, check_model
from baco_local.backend.machine import (
    PARAMETERS_PER_THREAD,
    BuildFacts,
    free_memory,
    readers_for,
    usable_cores,
)
from baco_local.backend.memory import plan_pair
from baco_local.backend.timing import SIZES, measure_decodes
from baco_local.calibrate import calibrate as measure
from baco_local.catalog import KnownPair, PairCard, find_pair
from baco_local.config import LoadOptions, Offload, OffloadKind, PairFiles
from baco_local.errors import BackendError, ModelFileError, UsageError
from baco_local.pair import Pair
from baco_local.reading import Rewarder, Scorer
from baco_local.routing.dial import Calibration
from baco_local.scheduling.base import Helper, Reader
from baco_local.scheduling.pace import Cost, Costs
from baco_local.text.agreement import Agreement, check_pair, compare
from baco_local.text.chat import ChatTemplate
from baco_local.text.shared import share
from baco_local.text.vocab import Vocab
from baco_local.types import Role

if TYPE_CHECKING:
    from baco_local.backend.embedding import Embedder
    from baco_local.backend.llama import LlamaModel, Weights
    from baco_local.sampling.sampler import Build

__all__ = [
    "DEFAULT_PAIR",
    "BuildFacts",
    "PairInspection",
    "build_facts",
    "chain_builder",
    "inspect_pair",
    "load",
    "load_embedder",
    "load_rewarder",
    "load_scorer",
    "pairs_for",
]

Kept = TypeVar("Kept")

DEFAULT_PAIR = "tales"
AT_ONCE = "at once"  # a kept timing: of both models
SAY_S, GUESS_S = 80e-6, 100e-6  # our own work for a token and for a guess, on one core of a server of 2024
MOST_READ = 4096  # positions of a scorer's context: a longer text is read in overlapping windows
CLASSIFIERS = ("bert", "modern-bert", "neo-bert", "qwen3", "qwen3vl")  # whose classification head llama.cpp loads
SOFTMAX = ("qwen3", "qwen3vl")  # and puts a softmax behind
NO_TEMPLATE = (
    "the aligned model has no chat template, so it is asked in the same plain frame as the base model; "
    "is it really an instruction-tuned model?"
)


def load(
    pair: str | None = None,
    *,
    base: Path | str | None = None,
    aligned: Path | str | None = None,
    aligned_lora: Path | str | None = None,
    lora_scale: float = 1.0,
    options: LoadOptions | None = None,
    base_options: LoadOptions | None = None,
    aligned_options: LoadOptions | None = None,
    draft: Path | str | None = None,
    n_parallel: int = 1,
    calibrate: bool = True,
    on_progress: Callable[[str], None] | None = None,
    user_pairs: Path | None = None,
    cache_dir: Path | None = None,
) -> Pair:
    """Load two models that write one text.

    Args:
        pair: the name of a known pair; None = the bundled one, unless files are given.
        base: a GGUF file.
        aligned: a GGUF file of the same vocabulary.
        aligned_lora: instead of ``aligned``, an adapter that makes the aligned model of the base weights.
        lora_scale: how strongly the adapter acts; 1.0 = as trained.
        options: how both files are loaded.
        base_options: how the base model is loaded; None = as ``options``.
        aligned_options: how the aligned model is loaded; None = as ``options``.
        draft: a small model of the same vocabulary, that guesses for the speculative schedule; no text changes by it.
        n_parallel: how many answers decode together.
        calibrate: measure what the dial means for this pair when it is first needed; False = fixed formulas.
        on_progress: called with a few words when something takes a while.
        user_pairs: the user's own ``pairs.toml``.
        cache_dir: where calibrations and timings are kept; None = measured again every time.

    Raises:
        ModelNotFoundError: there is no such pair or file.
        ModelFileError: a file is not a usable model.
        PairError: the two vocabularies differ.
        MemoryPlanError: the pair would not fit.

    """
    files, card = _find(pair, base, aligned, aligned_lora, lora_scale, user_pairs)
    if n_parallel < 1:
        raise UsageError(f"n_parallel is {n_parallel}; at least one answer must be decoded at a time")
    both = options or LoadOptions()
    each = base_options or both, aligned_options or both
    n_cores = max(of.threads or usable_cores() for of in each)
    say = on_progress or (lambda _words: None)
    say(f"loading {files.name}")
    with ExitStack() as undo:
        models, notes = _open(files, *each, n_parallel, undo)
        agreement = check_pair(
            models[Role.BASE].vocab,
            models[Role.ALIGNED].vocab,
            base_name=str(files.base),
            aligned_name=_aligned_name(files),
        )
        template, template_notes = _template(models[Role.ALIGNED])
        wider = max(models.values(), key=lambda model: len(model.vocab))
        cache = _CalibrationCache(cache_dir, models, say)
        readers: dict[Reader, Model] = {**models}  # type: ignore[dict-item]  # a mapping's keys are invariant
        if draft is not None:
            readers[Helper.DRAFT] = _open_draft(Path(draft), both, models, n_parallel, undo)
        loaded = Pair(
            readers,
            share({role: model.vocab for role, model in models.items()}, agreement.unshared),
            chain_builder(wider.vocab_handle, len(wider.vocab)),
            name=files.name,
            card=card,
            template=template,
            notes=(*template_notes, *_advice(models), *agreement.notes, *notes),
            n_parallel=n_parallel,
            n_cores=n_cores,
            calibration=Calibration.from_json(card.calibration) if card.calibration and calibrate else None,
            calibrate=cache if calibrate else None,
            measure=_CostCache(cache_dir, readers, each, n_cores, say),
        )
        undo.pop_all()
    return loaded


def pairs_for(files: PairFiles, *options: LoadOptions) -> int:
    """Return how often a pair is to be loaded where many answers are wanted: tiny ones once per core, up to 8 times.

    Once where a model has 20 million parameters or more, the number of threads was said, or a device may compute.

    Raises:
        ModelFileError: a file is not a usable model.

    """
    on_device = any(each.offload != Offload(OffloadKind.LAYERS, 0) for each in options)
    if any(each.threads for each in options) or (on_device and build_facts().supports_gpu_offload):
        return 1
    paths = [path for path in (files.base, files.aligned) if path is not None]
    n_parameters = max(check_model(path).n_parameters for path in paths)
    return readers_for(n_parameters, usable_cores()) if n_parameters < PARAMETERS_PER_THREAD else 1


def chain_builder(vocab_handle: object | None, n_vocab: int) -> Build:
    """Return what turns a recipe into llama.cpp's samplers; grammars and DRY need the handle of a vocabulary."""
    from baco_local.sampling.chain import build_chain  # loads llama.cpp

    return lambda recipe: build_chain(recipe, vocab_handle, n_vocab)


def build_facts() -> BuildFacts:
    """Return how the llama.cpp in use was built, and what it can compute on."""
    from baco_local.backend import llama

    return llama.build_facts()


@dataclass(frozen=True, slots=True, kw_only=True)
class PairInspection:
    """What can be said of two files without loading their weights."""

    base: GgufSummary
    aligned: GgufSummary
    agreement: Agreement
    notes: tuple[str, ...]


def inspect_pair(base: Path | str, aligned: Path | str) -> PairInspection:
    """Look at two model files: what they are, and whether their vocabularies agree."""
    paths = Path(base), Path(aligned)
    summaries = [check_model(path) for path in paths]
    with _vocabularies(*paths) as vocabs:
        agreement = compare(*vocabs)
    return PairInspection(
        base=summaries[0], aligned=summaries[1], agreement=agreement, notes=_file_notes(summaries[0], summaries[1])
    )


@contextmanager
def _vocabularies(base: Path, aligned: Path) -> Iterator[tuple[Vocab, Vocab]]:
    """Read two token tables, and no weight."""
    from baco_local.backend.llama import load_weights

    on_cpu = LoadOptions(offload=Offload(OffloadKind.LAYERS, 0))
    with ExitStack() as opened:
        vocabs = []
        for path in (base, aligned):
            weights = load_weights(path, on_cpu, vocab_only=True)
            opened.callback(weights.close)
            vocabs.append(weights.vocab)
        yield vocabs[0], vocabs[1]


# --- models that read texts and write none ------------------------------------------------------------------------


def load_embedder(path: Path, options: LoadOptions | None = None) -> Embedder:
    """Load a model that turns texts into vectors: an embedding model as its file says, any other by the mean state."""
    from baco_local.backend import embedding, llama

    options = options or LoadOptions()
    weights = llama.load_weights(path, options, or_encoder=True)
    try:
        return embedding.open_embedder(weights, options, n_contexts=_n_contexts(weights, options))
    finally:
        weights.close()


def load_scorer(
    path: Path, options: LoadOptions | None = None, *, adapter: Path | None = None, adapter_scale: float = 1.0
) -> Scorer:
    """Load a model that says how many bits a text has."""
    from baco_local.backend import llama

    options = options or LoadOptions()
    weights = llama.load_weights(path, options)
    try:
        options = dataclasses.replace(options, ctx_size=options.ctx_size or min(weights.n_ctx_train, MOST_READ))
        models: list[Model] = []
        for _ in range(_n_contexts(weights, options)):
            try:
                models.append(
                    llama.open_model(weights, options, n_sequences=1, adapter=adapter, adapter_scale=adapter_scale)
                )
            except BackendError:  # no memory for another one, perhaps
                if not models:
                    raise
                break
    finally:
        weights.close()
    return Scorer(models, _template_of(models[0].info, models[0].vocab))


def load_rewarder(path: Path, head: Path | None = None, options: LoadOptions | None = None) -> Rewarder:
    """Load a reward model: with a row of weights (``.npy``) beside any model, or by the classifier in its file.

    Raises:
        UsageError: the head does not fit the model.
        ModelFileError: without a head, llama.cpp would not give this model's own score.

    """
    from baco_local.backend import embedding, llama
    from baco_local.backend.embedding import Pooling

    options = options or LoadOptions()
    weights = llama.load_weights(path, options, or_encoder=True)
    try:
        architecture = weights.summary.architecture
        if head is None and architecture not in CLASSIFIERS:
            raise ModelFileError(
                f"{path} is a {architecture} model, of which llama.cpp reads no classifier\n"
                "give the row of weights of its score beside it:  --reward-head HEAD.npy"
            )
        pooling = Pooling.RANK if head is None else Pooling.LAST
        embedder = embedding.open_embedder(weights, options, pooling, _n_contexts(weights, options))
    finally:
        weights.close()
    try:
        softmax = head is None and architecture in SOFTMAX
        if softmax and embedder.width != 2:
            raise ModelFileError(
                f"{path} has a classifier of {embedder.width} label; llama.cpp puts a softmax behind it, so that it "
                "always reads 1\ngive the row of weights of its score beside it:  --reward-head HEAD.npy"
            )
        row = None if head is None else _reward_head(head, embedder.width)
    except BaseException:
        embedder.close()
        raise
    return Rewarder(embedder, _template_of(embedder.info, embedder.vocab), row, softmax=softmax)


def _n_contexts(weights: Weights, options: LoadOptions) -> int:
    """Return how many contexts read at the same time: one where the number of threads was said, or on a device."""
    if options.threads or weights.layers_offloaded:
        return 1
    return readers_for(weights.summary.n_parameters, usable_cores())


def _reward_head(path: Path, width: int) -> NDArray[np.float32]:  # [width]
    try:
        row = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"--reward-head {str(path)!r} is no array of numpy: {error}") from error
    if row.size != width or not np.issubdtype(row.dtype, np.floating):
        raise UsageError(
            f"--reward-head {str(path)!r} holds {row.size} numbers of type {row.dtype}; "
            f"the states of the model have {width}"
        )
    return np.asarray(row, np.float32).reshape(width)


def _template_of(info: ModelInfo, vocab: Vocab) -> ChatTemplate | None:
    if not info.chat_template:
        return None
    bos, eos = ("" if token is None else vocab.texts[token] for token in (vocab.bos, vocab.eos))
    return ChatTemplate(info.chat_template, bos, eos)


# --- parts of load ------------------------------------------------------------------------------------------------


def _find(
    pair: str | None,
    base: Path | str | None,
    aligned: Path | str | None,
    aligned_lora: Path | str | None,
    lora_scale: float,
    user_pairs: Path | None,
) -> tuple[PairFiles, PairCard]:
    if base is None and aligned is None and aligned_lora is None:
        known: KnownPair = find_pair(pair or DEFAULT_PAIR, user_pairs)
        return known.files, known.card
    if pair is not None:
        raise UsageError(f"give either the name of a pair ({pair!r}) or files, not both")
    if base is None or (aligned is None and aligned_lora is None):
        missing = "base" if base is None else "aligned"
        raise UsageError(f"the {missing} model is missing; give both files: --base BASE.gguf --aligned ALIGNED.gguf")
    second = Path(aligned or aligned_lora or "")
    files = PairFiles(
        base=Path(base),
        aligned=None if aligned is None else Path(aligned),
        aligned_lora=None if aligned_lora is None else Path(aligned_lora),
        lora_scale=lora_scale,
        name=f"{Path(base).stem} + {second.stem}",
    )
    return files, PairCard(name=files.name)


def _open(
    files: PairFiles, base_options: LoadOptions, aligned_options: LoadOptions, n_parallel: int, undo: ExitStack
) -> tuple[dict[Role, LlamaModel], tuple[str, ...]]:
    """Check both files, plan memory, load, and open a context per model; what is open is undone on an error."""
    from baco_local.backend import llama

    base = check_model(files.base)
    aligned = check_model(files.aligned) if files.aligned else None
    adapter = check_adapter(files.aligned_lora, base) if files.aligned_lora else None
    if aligned and aligned.tokens_digest != base.tokens_digest:  # so that nobody waits for weights that cannot be used
        with _vocabularies(base.path, aligned.path) as vocabs:
            check_pair(*vocabs, base_name=str(base.path), aligned_name=str(aligned.path))
    plan = plan_pair(
        base,
        aligned,
        adapter,
        base_options,
        aligned_options,
        n_sequences=n_parallel,
        free_bytes=free_memory(),
        devices=llama.devices() if llama.build_facts().supports_gpu_offload else (),
    )

    def weights_of(path: Path, options: LoadOptions) -> Weights:
        weights = llama.load_weights(path, options)
        undo.callback(weights.close)
        return weights

    def opened(weights: Weights, options: LoadOptions, lora: Path | None = None) -> LlamaModel:
        model = llama.open_model(weights, options, n_sequences=n_parallel, adapter=lora, adapter_scale=files.lora_scale)
        undo.callback(model.close)
        return model

    base_weights = weights_of(files.base, plan.base)
    aligned_weights = weights_of(files.aligned, plan.aligned) if files.aligned else base_weights
    models = {
        Role.BASE: opened(base_weights, plan.base),
        Role.ALIGNED: opened(aligned_weights, plan.aligned, files.aligned_lora),
    }
    for weights in {id(w): w for w in (base_weights, aligned_weights)}.values():
        weights.close()  # the models keep them
    return models, (*plan.notes, *(_file_notes(base, aligned) if aligned else ()))


def _open_draft(
    path: Path, options: LoadOptions, models: dict[Role, LlamaModel], n_parallel: int, undo: ExitStack
) -> LlamaModel:
    """Open a small model that guesses; it reads what the aligned model reads, as far as its context goes."""
    from baco_local.backend import llama

    aligned = models[Role.ALIGNED]
    check_model(path)
    weights = llama.load_weights(path, options)
    undo.callback(weights.close)
    check_pair(weights.vocab, aligned.vocab, base_name=str(path), aligned_name=aligned.info.path)
    n_ctx = min(weights.n_ctx_train, *(model.n_ctx for model in models.values()))
    model = llama.open_model(weights, replace(options, ctx_size=n_ctx), n_sequences=n_parallel)
    undo.callback(model.close)
    weights.close()
    if not model.can_rewind:
        raise ModelFileError(f"{path} cannot take back what it has read, so it cannot guess; name another small model")
    return model


def _template(aligned: LlamaModel) -> tuple[ChatTemplate | None, tuple[str, ...]]:
    template = _template_of(aligned.info, aligned.vocab)
    return template, (() if template else (NO_TEMPLATE,))


def _advice(models: dict[Role, LlamaModel]) -> tuple[str, ...]:
    base = models[Role.BASE].info
    instructed = models[Role.ALIGNED].info.adapter is None and any(
        word in f"{base.name} {Path(base.path).name}".lower() for word in ("instruct", "-chat", "-it-", "-it.")
    )
    return (
        ("the base model looks instruction-tuned by its name; the dial does little with such a pair",)
        if instructed
        else ()
    )


def _file_notes(base: GgufSummary, aligned: GgufSummary) -> tuple[str, ...]:
    notes = []
    if base.quantisation != aligned.quantisation:
        notes.append(
            f"the two files have different quantisation: base {base.quantisation}, aligned {aligned.quantisation}"
        )
    if base.architecture != aligned.architecture:
        notes.append(f"the two models differ in architecture: base {base.architecture}, aligned {aligned.architecture}")
    return tuple(notes)


def _aligned_name(files: PairFiles) -> str:
    return str(files.aligned or files.aligned_lora)


def _kept(path: Path | None, read: Callable[[Any], Kept], make: Callable[[], Any]) -> Kept:
    """Return what ``read`` finds in a JSON file, or make it and keep it there; None = it is not kept."""
    if path is not None and path.exists():
        with suppress(OSError, ValueError, TypeError, KeyError, UsageError):  # half-written or older: made again
            return read(json.loads(path.read_text(encoding="utf-8")))
    made = make()
    if path is not None:
        with suppress(OSError):  # a folder that cannot be written costs a measurement next time, no answer now
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(made), encoding="utf-8")
    return read(made)


class _CalibrationCache:
    """Measures what the dial means for a pair, once per pair of vocabulary and files."""

    def __init__(self, folder: Path | None, models: dict[Role, LlamaModel], say: Callable[[str], None]) -> None:
        infos = [models[role].info for role in Role]
        self._path = None
        if folder is not None:
            files = [Path(info.adapter or info.path) for info in infos]
            print_ = "-".join(f"{path.stem[:40]}-{path.stat().st_size:x}-{path.stat().st_mtime_ns:x}" for path in files)
            self._path = folder / f"{print_}-{models[Role.BASE].vocab.fingerprint()}.json"
        self._say = say

    def __call__(self, pair: Pair) -> Calibration | None:
        """Return the kept calibration, or measure and keep one."""

        def measured() -> dict[str, object]:
            self._say("measuring what the dial means for this pair (once)")
            return measure(pair).to_json()

        return _kept(self._path, Calibration.from_json, measured)


class _CostCache:
    """Times the decodes of a pair, once per machine, build of llama.cpp, files and threads."""

    def __init__(
        self,
        folder: Path | None,
        models: Mapping[Reader, Model],
        options: tuple[LoadOptions, ...],
        n_cores: int,
        say: Callable[[str], None],
    ) -> None:
        self._folder, self._models, self._options, self._say = folder, models, options, say
        self._n_cores = n_cores

    def __call__(self) -> Costs:
        """Return the kept costs, or time and keep them."""
        path = None if self._folder is None else self._folder / f"costs-{self._fingerprint()}.json"
        return _kept(path, self._costs, self._timed)

    def _timed(self) -> Mapping[str, Sequence[tuple[int, float]]]:
        self._say("timing this pair (once)")
        groups = {str(reader): {reader: model} for reader, model in self._models.items()}
        groups[AT_ONCE] = {role: self._models[role] for role in Role}
        return measure_decodes(groups, self._n_cores)

    def _costs(self, timed: Any) -> Costs:
        costs = {name: Cost(tuple((int(n), float(s)) for n, s in points)) for name, points in timed.items()}
        of = {reader: costs[str(reader)] for reader in self._models}
        return Costs(of, at_once=costs[AT_ONCE], say=SAY_S, guess=GUESS_S)

    def _fingerprint(self) -> str:
        """Return a name for all that the timings depend on."""
        facts: list[object] = [platform.node(), usable_cores(), build_facts().version, self._options, SIZES]
        for model in self._models.values():
            file = Path(model.info.path).stat()
            facts += (model.info, file.st_size, file.st_mtime_ns, model.n_sequences)
        return hashlib.blake2b(repr(facts).encode(), digest_size=12).hexdigest()
