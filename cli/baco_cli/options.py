"""Every option that commands share, once: bundles of annotated fields, and what each bundle asks of the library.

A command names the bundles it wants as parameters and is decorated with ``bundled``; None always means "not given".
Opens no model and prints nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import typer
from typer.models import OptionInfo

from baco_cli.console import Screen, ThemeName
from baco_cli.folders import pairs_file
from baco_local.backend.machine import cores_each, usable_cores
from baco_local.catalog import known_pairs
from baco_local.config import (
    BoundaryRule,
    CacheType,
    ContentFrom,
    DecodeOptions,
    DrafterName,
    EndCheck,
    FlashAttention,
    LoadOptions,
    Offload,
    ScheduleName,
    StopRule,
    Uncertainty,
    check_seed,
)
from baco_local.errors import UsageError
from baco_local.routing.blends import BLENDS
from baco_local.routing.dial import ROUTERS, find_router
from baco_local.sampling.steps import SamplingOptions
from baco_local.settings import Settings
from baco_local.text.chat import Message
from baco_local.text.frames import frame
from baco_local.types import Role

__all__ = [
    "VALUE_NAMES",
    "Asking",
    "EachModel",
    "Machine",
    "ModelChoice",
    "Output",
    "Sampling",
    "System",
    "Writing",
    "bias",
    "bundled",
    "dial_words",
    "one_of",
    "option",
    "per_call",
    "read_text",
    "refuse_early",
    "turned",
    "unescaped",
]

ASKING, MODELS, WRITING, SAMPLING, MACHINE, OUTPUT = "Prompt", "Models", "Writing", "Sampling", "Machine", "Output"
AT_ONCE = 16  # answers that decode together if nothing is said: more gain little and take memory
RANDOM_SEEDS = 2**32  # seeds that baco picks stay short enough to be typed again

VALUE_NAMES: dict[Any, str] = {int: "N", float: "X", str: "TEXT", Path: "FILE", list[str]: "TEXT", bool: " "}

Command = TypeVar("Command", bound=Callable[..., Any])


def option(*names: str, help: str, panel: str, llama: str | None = None, **more: Any) -> Any:  # noqa: A002 - Typer's word
    """Declare an option that BACO_NAME also sets, or llama.cpp's own LLAMA_ARG_NAME where it has the same meaning."""
    long = next(name for name in names if name.startswith("--")).split("/")[0]
    variables = [f"BACO_{long.lstrip('-').replace('-', '_').upper()}"] + ([f"LLAMA_ARG_{llama}"] if llama else [])
    return typer.Option(*names, help=help, rich_help_panel=panel, envvar=variables, show_envvar=False, **more)


def per_call(*names: str, help: str, panel: str, **more: Any) -> Any:  # noqa: A002
    """Declare an option that belongs to one call, so that no environment variable sets it."""
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


def router_names(incomplete: str) -> list[str]:
    """Return the rules whose names begin like this, for completion in the shell."""
    names = [name.lower() if incomplete.islower() else name for name in (*ROUTERS, *BLENDS)]
    return [name for name in names if name.startswith(incomplete)]


def pair_names(incomplete: str) -> list[str]:
    """Return the known pairs whose names begin like this, for completion in the shell."""
    return [name for name in known_pairs(pairs_file()) if name.startswith(incomplete)]


def bundled(command: Command) -> Command:
    """Spread each parameter that is a dataclass into the options of the command, and hand it over filled."""
    hints = named_values(command)
    parameters: list[inspect.Parameter] = []
    bundles: dict[str, type] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        if dataclasses.is_dataclass(kind := hints[name]):
            assert isinstance(kind, type)
            bundles[name] = kind
            annotations = named_values(kind)
            parameters += (
                inspect.Parameter(
                    field.name, parameter.KEYWORD_ONLY, default=field.default, annotation=annotations[field.name]
                )
                for field in dataclasses.fields(kind)
            )
        else:
            parameters.append(parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=hints[name]))

    @functools.wraps(command)
    def spread(**given: Any) -> Any:
        filled = {
            name: kind(**{field.name: given.pop(field.name) for field in dataclasses.fields(kind)})
            for name, kind in bundles.items()
        }
        return command(**filled, **given)

    spread.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    spread.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return spread  # type: ignore[return-value]


def named_values(declared: Any) -> dict[str, Any]:
    """Return the annotations of a command or bundle, each value with a short name in the help."""
    hints = get_type_hints(declared, include_extras=True)
    for hint in hints.values():
        for info in getattr(hint, "__metadata__", ()):
            if isinstance(info, OptionInfo) and info.metavar is None:
                kinds = {hint.__origin__, *get_args(hint.__origin__)} & VALUE_NAMES.keys()
                info.metavar = VALUE_NAMES[kinds.pop()] if kinds else "NAME"
    return hints


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Which two models."""

    model: Annotated[
        str | None,
        option(
            "--model",
            "-m",
            "--pair",
            help="A known pair by its name; see: baco pairs.",
            panel=MODELS,
            metavar="PAIR",
            autocompletion=pair_names,
        ),
    ] = None
    base: Annotated[
        str | None,
        option("--base", "-B", help="The base model: a GGUF file, or a known pair's.", panel=MODELS, metavar="SPEC"),
    ] = None
    aligned: Annotated[
        str | None,
        option("--aligned", "-A", help="The aligned model of the same family.", panel=MODELS, metavar="SPEC"),
    ] = None
    aligned_lora: Annotated[
        Path | None,
        option(
            "--aligned-lora",
            help="Instead of -A: an adapter for the base model, so that weights load once.",
            panel=MODELS,
        ),
    ] = None
    draft: Annotated[
        Path | None,
        option(
            "--draft",
            "--model-draft",
            "-md",
            help="A small GGUF file of the same vocabulary that guesses ahead; the text stays the same.",
            panel=MODELS,
            llama="MODEL_DRAFT",
        ),
    ] = None
    lora_scale: Annotated[
        float | None, option("--lora-scale", help="How strongly the adapter acts; 1 = fully.", panel=MODELS)
    ] = None

    def __post_init__(self) -> None:
        """Want one way to name both models."""
        files = {"-B": self.base, "-A": self.aligned, "--aligned-lora": self.aligned_lora}
        given = [name for name, value in files.items() if value is not None]
        if self.model is not None and given:
            raise UsageError(
                f"-m {self.model} already names both models; leave out {' and '.join(given)}, or leave out -m"
            )
        if self.base is None and given:
            raise UsageError(f"{given[0]} needs the base model beside it; add -B BASE.gguf")
        if self.base is not None and len(given) != 2:
            what = (
                "the aligned model is missing; add -A ALIGNED.gguf"
                if len(given) == 1
                else "-A and --aligned-lora exclude each other"
            )
            raise UsageError(f"{what} (or --aligned-lora ADAPTER.gguf)" if len(given) == 1 else what)
        if self.lora_scale is not None and self.aligned_lora is None:
            raise UsageError("--lora-scale does nothing without --aligned-lora")


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """What stands before every conversation."""

    system_prompt: Annotated[
        str | None, per_call("--system-prompt", "-sys", help="How the answer shall be.", panel=ASKING)
    ] = None
    system_prompt_file: Annotated[
        Path | None, per_call("--system-prompt-file", "-sysf", help="The same from a file.", panel=ASKING)
    ] = None

    @property
    def system(self) -> str | None:
        """Return the system text."""
        return one_of("--system-prompt", self.system_prompt, self.system_prompt_file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking(System):
    """What is asked, apart from the argument."""

    prompt_text: Annotated[
        str | None, per_call("--prompt", "-p", help="The prompt, instead of the argument.", panel=ASKING)
    ] = None
    file: Annotated[
        Path | None, per_call("--file", "-f", help="A text file that goes before the prompt.", panel=ASKING)
    ] = None

    def messages(self, argument: str | None, piped: str | None) -> list[Message]:
        """Return the conversation; its last message is what was piped in, the file and the argument, in this order."""
        if argument is not None and self.prompt_text is not None:
            raise UsageError(f"the prompt is given twice: {argument!r} and -p {self.prompt_text!r}; leave one out")
        system = self.system
        file = None if self.file is None else read_text(self.file, "--file")
        last = self.prompt_text if argument is None else argument
        parts = [part.strip("\n") for part in (piped, file, last) if part is not None and part.strip()]
        if not parts:
            raise UsageError(
                'there is no prompt\n    give one:  baco run "Tell me a story about a fox."\n    or talk:   baco chat'
            )
        return [*([] if system is None else [Message("system", system)]), Message("user", "\n\n".join(parts))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """How both models are loaded."""

    ctx_size: Annotated[
        int | None,
        option(
            "--ctx-size", "-c", help="Tokens that fit in the context; 0 = as trained.", panel=MACHINE, llama="CTX_SIZE"
        ),
    ] = None
    ngl: Annotated[
        str | None,
        option(
            "--n-gpu-layers",
            "-ngl",
            help="Layers on the GPU: auto (what fits), all or a number.",
            panel=MACHINE,
            llama="N_GPU_LAYERS",
            metavar="N|auto|all",
        ),
    ] = None
    threads: Annotated[
        int | None, option("--threads", "-t", help="CPU threads; 0 = one per core.", panel=MACHINE, llama="THREADS")
    ] = None
    threads_batch: Annotated[
        int | None, option("--threads-batch", "-tb", help="CPU threads while prompts are read.", panel=MACHINE)
    ] = None
    batch_size: Annotated[
        int | None, option("--batch-size", "-b", help="Tokens handed over at once.", panel=MACHINE, llama="BATCH")
    ] = None
    ubatch_size: Annotated[
        int | None,
        option("--ubatch-size", "-ub", help="Tokens computed at once; 0 = as fits.", panel=MACHINE, llama="UBATCH"),
    ] = None
    cache_type_k: Annotated[
        CacheType | None,
        option(
            "--cache-type-k",
            "-ctk",
            help="Number type of the K cache: f16, q8_0 ...",
            panel=MACHINE,
            llama="CACHE_TYPE_K",
        ),
    ] = None
    cache_type_v: Annotated[
        CacheType | None,
        option("--cache-type-v", "-ctv", help="Number type of the V cache.", panel=MACHINE, llama="CACHE_TYPE_V"),
    ] = None
    flash_attention: Annotated[
        FlashAttention | None,
        option("--flash-attn", "-fa", help="Flash attention: on, off or auto.", panel=MACHINE, llama="FLASH_ATTN"),
    ] = None
    mmap: Annotated[
        bool | None,
        option("--mmap/--no-mmap", help="Map the files instead of reading them.", panel=MACHINE, llama="MMAP"),
    ] = None
    main_gpu: Annotated[
        int | None, option("--main-gpu", "-mg", help="The GPU to use first.", panel=MACHINE, llama="MAIN_GPU")
    ] = None
    tensor_split: Annotated[
        str | None,
        option(
            "--tensor-split",
            "-ts",
            help="Shares of several GPUs: 3,1.",
            panel=MACHINE,
            llama="TENSOR_SPLIT",
            metavar="N,N...",
        ),
    ] = None

    n_parallel: Annotated[
        int | None,
        option(
            "--parallel",
            "-np",
            min=1,
            help="Answers written at once (by each worker); 16 at most if not said.",
            panel=MACHINE,
            llama="N_PARALLEL",
        ),
    ] = None

    def at_once(self, n_wanted: int) -> int:
        """Return how many answers decode together."""
        return min(n_wanted, AT_ONCE if self.n_parallel is None else self.n_parallel)

    def shared_by(self, n_workers: int) -> Machine:
        """Return what each of some workers gets: its share of the cores, unless the number of threads was said."""
        if n_workers == 1 or self.threads:
            return self
        return dataclasses.replace(self, threads=cores_each(n_workers, usable_cores()))

    def load_options(self) -> LoadOptions:
        """Return what both models are loaded with."""
        given = same_names(self, LoadOptions) | {
            "offload": None if self.ngl is None else Offload.parse(self.ngl),
            "tensor_split": None if self.tensor_split is None else shares(self.tensor_split),
        }
        return LoadOptions(**_given(given))


@dataclass(frozen=True, slots=True, kw_only=True)
class EachModel:
    """What is said to one of the two models only."""

    base_ngl: Annotated[
        str | None, option("--base-ngl", help="-ngl for base alone.", panel=MACHINE, metavar="N|auto|all")
    ] = None
    aligned_ngl: Annotated[
        str | None, option("--aligned-ngl", help="-ngl for aligned alone.", panel=MACHINE, metavar="N|auto|all")
    ] = None
    base_temp: Annotated[float | None, option("--base-temp", help="--temp for base alone.", panel=SAMPLING)] = None
    aligned_temp: Annotated[
        float | None, option("--aligned-temp", help="--temp for aligned alone.", panel=SAMPLING)
    ] = None
    base_opt: Annotated[
        list[str] | None,
        per_call(
            "--base-opt",
            help="Any Machine or Sampling option for base alone: --base-opt top-k=40",
            panel=MODELS,
            metavar="NAME=VALUE",
        ),
    ] = None
    aligned_opt: Annotated[
        list[str] | None,
        per_call("--aligned-opt", help="The same for aligned alone.", panel=MODELS, metavar="NAME=VALUE"),
    ] = None

    def load_options(self, role: Role, both: LoadOptions) -> LoadOptions | None:
        """Return what one model is loaded with; None where it is as the other."""
        own = self._own(role, LOAD_NAMES)
        ngl = self.base_ngl if role is Role.BASE else self.aligned_ngl
        if ngl is not None:
            own["offload"] = Offload.parse(ngl)
        return dataclasses.replace(both, **own) if own else None

    def sampling(self, role: Role) -> dict[str, Any]:
        """Return the sampling settings of one model."""
        temperature = self.base_temp if role is Role.BASE else self.aligned_temp
        return self._own(role, SAMPLING_NAMES) | _given({"temperature": temperature})

    def _own(self, role: Role, names: Mapping[str, tuple[str, Callable[[str], Any]]]) -> dict[str, Any]:
        """Read NAME=VALUE pairs of one model, those of ``names`` alone."""
        own = {}
        for text in (self.base_opt if role is Role.BASE else self.aligned_opt) or ():
            name, equals, value = text.partition("=")
            name = name.strip().lstrip("-").replace("_", "-")
            if not equals or name not in {**LOAD_NAMES, **SAMPLING_NAMES}:
                known = ", ".join(sorted({**LOAD_NAMES, **SAMPLING_NAMES}))
                raise UsageError(f"--{role}-opt {text!r} is not NAME=VALUE with a known name\nnames: {known}")
            if name in names:
                field, read = names[name]
                try:
                    own[field] = read(value.strip())
                except ValueError as error:
                    raise UsageError(f"--{role}-opt {text!r}: {value.strip()!r} is not a value for {name}") from error
        return own


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """Who speaks when, and how long."""

    diversity: Annotated[
        float | None,
        option(
            "--diversity",
            "-d",
            help="The dial: 0 = aligned alone, 10 = base alone; 5 if not said.",
            metavar="0..10",
            panel=WRITING,
        ),
    ] = None
    max_tokens: Annotated[
        int | None,
        option(
            "--max-tokens",
            "-n",
            "--n-predict",
            help="Stop after this many tokens; 512 if not said.",
            panel=WRITING,
            llama="N_PREDICT",
        ),
    ] = None
    stop: Annotated[
        list[str] | None,
        per_call("--stop", "-r", help="Stop before this text; may be repeated.", panel=WRITING),
    ] = None
    router: Annotated[
        str | None,
        option(
            "--router",
            help="The rule that chooses the speaker: P-PUNC, H, RAND ...",
            autocompletion=router_names,
            panel=WRITING,
            metavar="NAME",
        ),
    ] = None
    threshold: Annotated[
        float | None, option("--threshold", "--gamma", help="The rule's own number, instead of -d.", panel=WRITING)
    ] = None
    boundary: Annotated[
        BoundaryRule | None, option("--boundary", help="Where the speaker may change: word or token.", panel=WRITING)
    ] = None
    no_joiners: Annotated[
        bool, option("--no-joiners", help="Let a new word start at 't, -known and .14.", panel=WRITING)
    ] = False
    start: Annotated[Role | None, option("--start", help="Who speaks first: aligned or base.", panel=WRITING)] = None
    stop_rule: Annotated[
        StopRule | None,
        option("--stop-rule", help="Whose end of turn ends the answer: aligned or either.", panel=WRITING),
    ] = None
    end_check: Annotated[
        EndCheck | None,
        option("--end-check", help="Where aligned may want to end: at any word, or behind a sentence.", panel=WRITING),
    ] = None
    content_from: Annotated[
        ContentFrom | None,
        option(
            "--content-from", help="Whose word the content rules watch: base, aligned, either, both.", panel=WRITING
        ),
    ] = None
    uncertainty: Annotated[
        Uncertainty | None,
        option("--uncertainty", help="Whose probabilities the rules read: base, aligned or mean.", panel=WRITING),
    ] = None
    no_guards: Annotated[
        bool, option("--no-guards", help="Take off all brakes on a drifting base model.", panel=WRITING)
    ] = False
    no_guard_markers: Annotated[
        bool, option("--no-guard-markers", help="Do not cut lines such as 'Question:' that base opens.", panel=WRITING)
    ] = False
    no_guard_loops: Annotated[bool, option("--no-guard-loops", help="Let base go in circles.", panel=WRITING)] = False
    max_base_run: Annotated[
        int | None, option("--max-base-run", help="Words that base may write in a row; 0 = no limit.", panel=WRITING)
    ] = None
    schedule: Annotated[
        ScheduleName | None,
        option(
            "--schedule",
            help="When the models read: lockstep, lazy, speculative, auto; the text is the same.",
            panel=WRITING,
        ),
    ] = None
    drafter: Annotated[
        DrafterName | None,
        option("--drafter", help="Who guesses ahead: model (--draft), lookup, base, aligned, none.", panel=WRITING),
    ] = None
    draft_max: Annotated[
        int | None,
        option("--draft-max", min=0, help="How far ahead is guessed at most.", panel=WRITING, llama="DRAFT_MAX"),
    ] = None
    ignore_eos: Annotated[
        bool, option("--ignore-eos", help="Never end by itself: for measurements.", panel=WRITING)
    ] = False
    frame: Annotated[
        str | None,
        option("--frame", help="How base is asked: qa, raw, shots or a text file.", panel=WRITING, metavar="NAME|FILE"),
    ] = None

    def knobs(self, defaults: Settings) -> dict[str, Any]:
        """Return the settings that were given."""
        if self.diversity is not None and self.threshold is not None:
            raise UsageError("-d and --threshold both turn the router; give one of them")
        guards = _given(
            {
                "role_markers": False if self.no_guards or self.no_guard_markers else None,
                "loops": False if self.no_guards or self.no_guard_loops else None,
                "max_base_run": 0 if self.no_guards and self.max_base_run is None else self.max_base_run,
            }
        )
        return _given(
            same_names(self, DecodeOptions)
            | {
                "guards": dataclasses.replace(defaults.decode.guards, **guards) if guards else None,
                "stop": tuple(map(unescaped, self.stop)) if self.stop else None,
                "joiners": False if self.no_joiners else None,
                "ignore_end": self.ignore_eos or None,
                "frame": self.frame,
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a token is drawn; names and meanings are llama.cpp's."""

    seed: Annotated[
        int | None,
        option(
            "--seed",
            "-s",
            help="The same seed gives the same text; -1 = random.",
            panel=SAMPLING,
        ),
    ] = None
    temperature: Annotated[
        float | None, option("--temp", help="Temperature; 0 = always the likeliest.", panel=SAMPLING)
    ] = None
    top_k: Annotated[
        int | None, option("--top-k", help="Keep the K likeliest; 0 = off.", panel=SAMPLING, llama="TOP_K")
    ] = None
    top_p: Annotated[
        float | None, option("--top-p", help="Keep the likeliest up to this mass; 1 = off.", panel=SAMPLING)
    ] = None
    min_p: Annotated[
        float | None, option("--min-p", help="Keep what is this likely beside the best; 0 = off.", panel=SAMPLING)
    ] = None
    typical: Annotated[
        float | None, option("--typical", help="Keep the typical up to this mass; 1 = off.", panel=SAMPLING)
    ] = None
    top_nsigma: Annotated[
        float | None, option("--top-nsigma", help="Keep N deviations from the best; -1 = off.", panel=SAMPLING)
    ] = None
    repeat_penalty: Annotated[
        float | None, option("--repeat-penalty", help="Against repetition; 1 = off.", panel=SAMPLING)
    ] = None
    repeat_last_n: Annotated[
        int | None, option("--repeat-last-n", help="How far penalties look back; -1 = all.", panel=SAMPLING)
    ] = None
    presence_penalty: Annotated[
        float | None, option("--presence-penalty", help="Taken off once; 0 = off.", panel=SAMPLING)
    ] = None
    frequency_penalty: Annotated[
        float | None, option("--frequency-penalty", help="Taken off per use; 0 = off.", panel=SAMPLING)
    ] = None
    xtc_probability: Annotated[
        float | None, option("--xtc-probability", help="How often the obvious is removed; 0 = off.", panel=SAMPLING)
    ] = None
    xtc_threshold: Annotated[
        float | None, option("--xtc-threshold", help="From where on a token is obvious.", panel=SAMPLING)
    ] = None
    dry_multiplier: Annotated[
        float | None, option("--dry-multiplier", help="Against repeated phrases; 0 = off.", panel=SAMPLING)
    ] = None
    dry_base: Annotated[float | None, option("--dry-base", help="How fast that grows with length.", panel=SAMPLING)] = (
        None
    )
    dry_allowed_length: Annotated[
        int | None, option("--dry-allowed-length", help="Phrases this short are free.", panel=SAMPLING)
    ] = None
    dry_penalty_last_n: Annotated[
        int | None, option("--dry-penalty-last-n", help="How far it looks back; -1 = all.", panel=SAMPLING)
    ] = None
    dry_sequence_breaker: Annotated[
        list[str] | None,
        per_call("--dry-sequence-breaker", help="Text that ends a phrase; may be repeated.", panel=SAMPLING),
    ] = None
    dynatemp_range: Annotated[
        float | None,
        option("--dynatemp-range", help="Let the temperature follow the entropy; 0 = off.", panel=SAMPLING),
    ] = None
    dynatemp_exponent: Annotated[
        float | None, option("--dynatemp-exp", help="How sharply it follows.", panel=SAMPLING)
    ] = None
    samplers: Annotated[
        str | None,
        option("--samplers", help="The steps and their order: 'top_k;temperature'.", panel=SAMPLING, metavar="A;B;C"),
    ] = None
    logit_bias: Annotated[
        list[str] | None,
        per_call(
            "--logit-bias",
            "-l",
            help="Raise or lower a token by its id: 123+2.5, 123-inf forbids it.",
            panel=SAMPLING,
            metavar="ID±X",
        ),
    ] = None
    grammar: Annotated[
        str | None, per_call("--grammar", help="Allow only what a GBNF grammar allows.", panel=SAMPLING)
    ] = None
    grammar_file: Annotated[Path | None, per_call("--grammar-file", help="The same from a file.", panel=SAMPLING)] = (
        None
    )
    json_schema: Annotated[
        str | None, per_call("--json-schema", "-j", help="Allow only JSON that fits a schema.", panel=SAMPLING)
    ] = None
    json_schema_file: Annotated[
        Path | None, per_call("--json-schema-file", "-jf", help="The same from a file.", panel=SAMPLING)
    ] = None

    def knobs(self) -> dict[str, Any]:
        """Return the settings that were given."""
        breakers = self.dry_sequence_breaker
        return _given(
            same_names(self, SamplingOptions)
            | {
                "dry_sequence_breakers": tuple(map(unescaped, breakers)) if breakers else None,
                "logit_bias": tuple(map(bias, self.logit_bias)) if self.logit_bias else None,
                "grammar": one_of("--grammar", self.grammar, self.grammar_file),
                "json_schema": one_of("--json-schema", self.json_schema, self.json_schema_file),
            }
        )

    def chosen_seed(self) -> int:
        """Return the seed of this call: the given one, or one of baco's own choice."""
        return secrets.randbelow(RANDOM_SEEDS) if self.seed is None or self.seed == -1 else check_seed(self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What is shown, and how."""

    json: Annotated[bool, per_call("--json", help="Print JSON instead of text.", panel=OUTPUT)] = False
    mark: Annotated[bool, option("--mark", help="Put ⟦ ⟧ around base text, also on a pipe.", panel=OUTPUT)] = False
    no_color: Annotated[bool, option("--no-color", help="No colours; base stays underlined.", panel=OUTPUT)] = False
    theme: Annotated[
        ThemeName,
        option("--theme", help="Hues for a dark or a light terminal, or auto.", panel=OUTPUT, show_default=False),
    ] = ThemeName.AUTO
    quiet: Annotated[bool, option("--quiet", "-q", help="Nothing but the text, and errors.", panel=OUTPUT)] = False
    verbose: Annotated[
        int,
        per_call("--verbose", "-v", count=True, help="Say more about models and settings.", panel=OUTPUT, metavar=" "),
    ] = 0

    def screen(self) -> Screen:
        """Look at the terminal."""
        return Screen.open(no_color=self.no_color, mark=self.mark, quiet=self.quiet, theme=self.theme)


def turned(defaults: Settings, writing: Writing, sampling: Sampling, each: EachModel, **more: Any) -> Settings:
    """Return the settings of a pair with everything turned that was given."""
    knobs = writing.knobs(defaults) | sampling.knobs() | more
    knobs |= {f"{role}_sampling": own for role in Role if (own := each.sampling(role))}
    return defaults.turn(knobs)


def refuse_early(writing: Writing, sampling: Sampling, each: EachModel) -> None:
    """Refuse before models are loaded what would be refused afterwards."""
    settings = turned(Settings(), writing, sampling, each)
    if settings.decode.router.strip().lower() not in BLENDS:
        find_router(settings.decode.router)
    frame(settings.frame)


def dial_words(settings: Settings) -> str:
    """Return where the dial stands: ``d=5``, or ``threshold=0.4`` where the raw number was given."""
    decode = settings.decode
    return f"d={decode.diversity:g}" if decode.threshold is None else f"threshold={decode.threshold:g}"


def unescaped(text: str) -> str:
    r"""Return text with a typed ``\n`` or ``\t`` read as the character, as llama.cpp does."""
    return re.sub(r"\\([nrt\\])", lambda found: {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}[found[1]], text)


def bias(text: str) -> tuple[int, float]:
    """Read ``123+2.5``, ``123-1`` or ``123-inf``."""
    found = re.fullmatch(r"\s*(\d+)\s*([+-])\s*(inf|false|\d+\.?\d*|\.\d+)\s*", text, re.IGNORECASE)
    if found is None:
        raise UsageError(f"--logit-bias {text!r} is not a token id with a number: 123+2.5, 123-1, 123-inf")
    size = math.inf if found[3].lower() in {"inf", "false"} else float(found[3])
    return int(found[1]), size if found[2] == "+" else -size


def shares(text: str) -> tuple[float, ...]:
    """Read ``3,1`` or ``3/1``."""
    try:
        return tuple(float(part) for part in re.split("[,/]", text))
    except ValueError:
        raise UsageError(f"--tensor-split {text!r} is not a list of numbers such as 3,1") from None


def one_of(name: str, text: str | None, path: Path | None) -> str | None:
    """Return the text of an option that can also be read from a file."""
    if text is not None and path is not None:
        raise UsageError(f"{name} and {name}-file are both given; leave one out")
    return text if path is None else read_text(path, f"{name}-file")


def read_text(path: Path, name: str) -> str:
    """Read a text file that an option names."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{name}: {str(path)!r} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{name}: {str(path)!r} is not UTF-8 text") from error


def same_names(bundle: Any, target: type) -> dict[str, Any]:
    """Return the fields of a bundle that a class of the library has under the same name."""
    theirs = {field.name for field in dataclasses.fields(target)}
    return {field.name: getattr(bundle, field.name) for field in dataclasses.fields(bundle) if field.name in theirs}


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


LOAD_NAMES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "batch-size": ("batch_size", int),
    "cache-type-k": ("cache_type_k", CacheType),
    "cache-type-v": ("cache_type_v", CacheType),
    "ctx-size": ("ctx_size", int),
    "flash-attn": ("flash_attention", FlashAttention),
    "main-gpu": ("main_gpu", int),
    "n-gpu-layers": ("offload", Offload.parse),
    "ngl": ("offload", Offload.parse),
    "tensor-split": ("tensor_split", shares),
    "threads": ("threads", int),
    "threads-batch": ("threads_batch", int),
    "ubatch-size": ("ubatch_size", int),
}

SAMPLING_NAMES: dict[str, tuple[str, Callable[[str], Any]]] = {
    {"temperature": "temp", "dynatemp_exponent": "dynatemp-exp"}.get(field.name, field.name.replace("_", "-")): (
        field.name,
        {"int": int, "float": float}[str(field.type)],
    )
    for field in dataclasses.fields(SamplingOptions)
    if field.type in {"int", "float"}
}
