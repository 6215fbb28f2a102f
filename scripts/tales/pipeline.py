"""Join the steps of a run in a work folder: prepare, pretrain, tune, prefer, publish. Each goes on where it stopped.

The composition root of the training package; knows file names in the work folder, and prints nothing.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from tales import tokenizer as bpe
from tales.adapter import adapted, merged
from tales.card import DATA, update_card
from tales.config import Plan
from tales.corpus import Corpus, holds_dropped_word, read_corpus
from tales.export import ROLES, export, export_adapter
from tales.gather import gather, load_comparisons
from tales.model import Llama, mean_of
from tales.preference import by_length, loss_of, rows_of
from tales.requests import careless, conversation, titled
from tales.rows import Answers, Shelf, draw_answers, draw_rows, long_rows, open_shelf, store
from tales.train import Batch, Report, Stage, held_out_nats, run

__all__ = ["Loss", "Work", "load_model", "losses", "make_answers", "prefer", "prepare", "pretrain", "publish", "tune"]

N_SHORT = 1400  # characters; a story by others that is at most as long may serve as an answer


@dataclass(frozen=True, slots=True)
class Work:
    """Name the files of a work folder."""

    folder: Path

    def file(self, name: str) -> Path:
        """Return the path of a file, and see to its folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / name


@dataclass(frozen=True, slots=True)
class Loss:
    """Hold a loss on held-out text; bits per byte compare across vocabularies."""

    nats_per_token: float
    bits_per_byte: float
    n_tokens: int


def device() -> torch.device:
    """Return the graphics card if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def prepare(plan: Plan, work: Work, folder: Path, corpus: Corpus | None = None) -> None:
    """Clean, compose, learn the vocabulary, and write the ids of all sources; done once for a work folder."""
    if work.file("prepared").exists():
        return
    corpus = corpus or read_corpus(folder)
    rng = random.Random(plan.seed)
    natural = [story for story in corpus.train["tinystories"] if len(story) <= N_SHORT]
    texts = {name: documents for name, documents in corpus.train.items() if name != "answers"}
    texts["composed"] = [titled(rng) for _ in range(plan.n_composed)]
    texts["questions"] = corpus.train["answers"] + [careless(rng, natural) for _ in range(plan.n_questions)]
    for name in ("composed", "questions"):
        texts[name] = [document for document in texts[name] if not holds_dropped_word(document)]
    for documents in texts.values():
        rng.shuffle(documents)
    tokenizer = bpe.learn(vocabulary_sample(texts), plan.shape.n_vocab)
    tokenizer.save(str(work.file("tokenizer.json")))
    for name, documents in texts.items():
        store(work.file(f"{name}.npz"), encode(documents, tokenizer))
    for name, documents in corpus.held_out.items():
        store(work.file(f"held-out-{name}.npz"), encode(documents, tokenizer))
        work.file(f"held-out-{name}.bytes").write_text(str(sum(len(d.encode()) for d in documents)))
    work.file("natural.txt").write_text("\0".join(natural), encoding="utf-8")
    work.file("prepared").write_text("all sources are encoded\n")


def vocabulary_sample(texts: dict[str, list[str]]) -> Iterator[str]:
    """Yield at most 3 million characters of each source, so that books do not rule the vocabulary."""
    for documents in texts.values():
        left = 3_000_000
        for document in documents:
            if left <= 0:
                break
            yield document[:left]
            left -= len(document)


def encode(documents: list[str], tokenizer: Tokenizer) -> list[list[int]]:
    """Return ids of each document, opened by the end-of-text token."""
    return [[bpe.END_OF_TEXT, *encoded.ids] for encoded in tokenizer.encode_batch(documents, add_special_tokens=False)]


def make_answers(plan: Plan, work: Work) -> None:
    """Write the conversations of the second stage; always anew, since they change more than the corpus."""
    rng = random.Random(plan.seed + 1)
    tokenizer = bpe.load(work.file("tokenizer.json"))
    natural = work.file("natural.txt").read_text(encoding="utf-8").split("\0")
    natural = [story for story in natural if story]
    for name, n in (
        ("answers", plan.tuning.n_conversations),
        ("held-out-answers", max(2, plan.tuning.n_conversations // 50)),
    ):
        pairs = [bpe.encode_conversation(conversation(rng, natural), tokenizer) for _ in range(n)]
        store(work.file(f"{name}.npz"), [ids for ids, _ in pairs])
        np.save(
            work.file(f"{name}.npy"),
            np.array([bit for _, learned in pairs for bit in learned], dtype=np.bool_),
        )


def new_model(plan: Plan, n_layers: int) -> Llama:
    """Return an untrained model; the seed fixes its weights."""
    torch.manual_seed(plan.seed)
    model = Llama(replace(plan.shape, n_layers=n_layers))
    model.to(device())
    return model


def load_model(plan: Plan, path: Path, n_layers: int = 0) -> Llama:
    """Read a model's weights; 0 layers = as many as after the last sitting."""
    model = new_model(plan, n_layers or plan.sittings[-1].n_layers)
    model.load_state_dict(load_file(path))
    return model


def save_model(model: Llama, path: Path) -> None:
    """Write a model's weights."""
    save_file({name: weight.detach().cpu().contiguous() for name, weight in model.state_dict().items()}, path)


def pretrain(plan: Plan, work: Work) -> Iterator[Report]:
    """Train the base model, sitting by sitting, and report each step."""
    shelves = {name: open_shelf(work.file(f"{name}.npz")) for name in plan.sources}
    before: Path | None = None
    for number, sitting in enumerate(plan.sittings, 1):
        after = work.file(f"sitting-{number}.safetensors")
        if not after.exists():
            model = new_model(plan, sitting.n_layers)
            if before:
                model = load_model(plan, before, plan.sittings[number - 2].n_layers).deepened(sitting.n_layers)
            yield from sit(plan, number, shelves, model.to(device()), work.file(f"sitting-{number}.pt"))
            save_model(averaged(plan, work, number, model), after)
        before = after


def averaged(plan: Plan, work: Work, number: int, model: Llama) -> Llama:
    """Return what a sitting leaves: its own weights, or a mean with those of the sittings before.

    What was read too often is known by heart in the late weights and not in the early ones; their mean keeps what all
    have learnt, and is better on new text than any (arXiv 2109.01903, 2203.05482).
    """
    sitting = plan.sittings[number - 1]
    if not sitting.average:
        return model
    before = [
        load_model(plan, work.file(f"sitting-{n}.safetensors"), plan.sittings[n - 1].n_layers) for n in range(1, number)
    ]
    return mean_of([*(earlier.deepened(sitting.n_layers) for earlier in before), model], sitting.average)


def sit(plan: Plan, number: int, shelves: dict[str, Shelf], model: Llama, checkpoint: Path) -> Iterator[Report]:
    """Train through one sitting and report each step."""
    sitting = plan.sittings[number - 1]
    stage = Stage(
        f"sitting {number}",
        sitting.n_steps,
        sitting.n_warmup_steps,
        sitting.n_decay_steps,
        sitting.matrix_rate,
        sitting.vector_rate,
        plan.pretraining.weight_decay,
        plan.n_workers,
        60 * plan.checkpoint_minutes,
    )

    def batch(step: int) -> tuple[np.ndarray, np.ndarray]:
        rows = draw_rows(shelves, sitting, plan.pretraining, plan.seed + number - 1, step)
        return rows[:, :-1], rows[:, 1:]

    yield from run(model, stage, batch, checkpoint)


def pretrained(plan: Plan, work: Work) -> Llama:
    """Return the model as the last sitting left it."""
    return load_model(plan, work.file(f"sitting-{len(plan.sittings)}.safetensors"))


def tune(plan: Plan, work: Work) -> Iterator[Report]:
    """Train on conversations, from the base model, and report each step.

    Norms and embedding stay, so that an adapter can hold all of the change. Only the rows of the chat tokens learn,
    which base has never read; base gets them too.
    """
    make_answers(plan, work)
    checkpoint = work.file("tune.pt")
    if not checkpoint.exists():  # what came of an earlier tuning is void
        for name in ("comparisons.npz", "prefer.pt"):
            work.file(name).unlink(missing_ok=True)
    stage = Stage(
        "tune",
        plan.tuning.n_steps,
        plan.tuning.n_warmup_steps,
        plan.tuning.n_steps - plan.tuning.n_warmup_steps,
        0.0,
        plan.tuning.rate,
        0.0,
        plan.n_workers,
        60 * plan.checkpoint_minutes,
        rows=bpe.CHAT_ROWS,
    )
    answers = Answers(open_shelf(work.file("answers.npz")), np.load(work.file("answers.npy")))

    def batch(step: int) -> tuple[np.ndarray, np.ndarray]:
        return draw_answers(answers, plan.tuning.tokens_per_step, plan.shape.n_context, plan.seed, step)

    model, base = pretrained(plan, work), pretrained(plan, work)
    for name, weight in model.named_parameters():
        weight.requires_grad_("norm" not in name)
    yield from run(model, stage, batch, checkpoint)
    save_model(model, work.file("tuned.safetensors"))
    rows = slice(*bpe.CHAT_ROWS)
    with torch.no_grad():
        base.token_embd.weight[rows] = model.token_embd.weight[rows]
    save_model(base, work.file("base.safetensors"))


def prefer(plan: Plan, work: Work) -> Iterator[Report]:
    """Train the aligned model, as a low-rank change of base, to prefer better answers, and report each step."""
    base, tuned = (load_model(plan, work.file(f"{name}.safetensors")) for name in ("base", "tuned"))
    model = adapted(base, tuned, plan.preference.rank)
    if plan.preference.n_steps:
        kept = work.file("comparisons.npz")
        if not kept.exists():
            yield from gather(plan, tuned, bpe.load(work.file("tokenizer.json")), kept)
        yield from run(
            model,
            preference_stage(plan),
            preference_batches(plan, kept),
            work.file("prefer.pt"),
            loss_of(plan.preference),
        )
    save_model(model, work.file("adapted.safetensors"))
    save_model(merged(model), work.file("aligned.safetensors"))


def preference_stage(plan: Plan) -> Stage:
    """Return the third stage."""
    return Stage(
        "prefer",
        plan.preference.n_steps,
        plan.preference.n_warmup_steps,
        plan.preference.n_steps - plan.preference.n_warmup_steps,
        0.0,
        plan.preference.rate,
        0.0,
        plan.n_workers,
        60 * plan.checkpoint_minutes,
        "loss",
    )


def preference_batches(plan: Plan, kept: Path) -> Batch:
    """Return what draws the comparisons of a step: of like length, each once before any comes again."""
    encoded, before = load_comparisons(kept)
    n_each = plan.preference.pairs_per_step

    def batch(step: int) -> tuple[np.ndarray, ...]:
        n_groups = -(-len(encoded) // n_each)
        groups = list(by_length(encoded, n_each, plan.seed + step // n_groups))
        chosen = groups[step % n_groups]
        return (*rows_of([encoded[n] for n in chosen]), before[chosen])

    return batch


def load_adapted(plan: Plan, work: Work) -> Llama:
    """Read the aligned model with its low-rank parts apart."""
    base = load_model(plan, work.file("base.safetensors"))
    model = adapted(base, base, plan.preference.rank)
    model.load_state_dict(load_file(work.file("adapted.safetensors")))
    return model


def losses(plan: Plan, work: Work, model: Llama) -> dict[str, Loss]:
    """Measure a model on held-out novels, tales and TinyStories."""
    found: dict[str, Loss] = {}
    for path in sorted(work.folder.glob("held-out-*.bytes")):
        shelf = open_shelf(path.with_suffix(".npz"))
        nats = held_out_nats(model, long_rows(shelf, plan.pretraining.row_length))
        bits_per_byte = nats * shelf.n_tokens / int(path.read_text()) / np.log(2)
        found[path.stem.removeprefix("held-out-")] = Loss(
            round(nats, 4), round(float(bits_per_byte), 4), shelf.n_tokens
        )
    return found


def answer_loss(plan: Plan, work: Work, model: Llama) -> Loss:
    """Measure a model on the answers of held-out conversations."""
    answers = Answers(open_shelf(work.file("held-out-answers.npz")), np.load(work.file("held-out-answers.npy")))
    tokenizer = bpe.load(work.file("tokenizer.json"))
    ends = np.append(answers.shelf.starts[1:], answers.shelf.n_tokens)
    nats, n_tokens, n_bytes = 0.0, 0, 0
    for start, end in zip(answers.shelf.starts, ends, strict=True):
        ids = answers.shelf.ids[start:end].astype(np.int64)[: plan.shape.n_context + 1]
        learned = answers.learned[start:end][: len(ids)]
        targets = np.where(learned[1:], ids[1:], -1)
        with torch.no_grad():
            nats += float(
                model.loss(
                    torch.from_numpy(ids[None, :-1]).to(device()),
                    torch.from_numpy(targets[None]).to(device()),
                )
            )
        n_tokens += int(learned[1:].sum())
        n_bytes += len(tokenizer.decode(ids[learned].tolist()).encode())
    return Loss(round(nats / n_tokens, 4), round(float(nats / np.log(2)) / n_bytes, 4), n_tokens)


def n_tokens_seen(path: Path) -> int:
    """Return how many tokens a stage has read."""
    return int(torch.load(path, map_location="cpu", weights_only=True)["n_tokens"])


def publish(plan: Plan, work: Work, out: Path) -> None:
    """Write base, aligned and the adapter as GGUF, and what is known about them into the card."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = bpe.load(work.file("tokenizer.json"))
    models = {name: load_model(plan, work.file(f"{name}.safetensors")) for name in ROLES}
    for name, role in ROLES.items():
        export(models[name], tokenizer, role, out / f"{name}.gguf")
    export_adapter(load_adapted(plan, work), out / "aligned-lora.gguf")
    losses_of: dict[str, Any] = {
        name: {text: asdict(loss) for text, loss in losses(plan, work, models[name]).items()} for name in ROLES
    }
    for name in ROLES:
        losses_of[name]["answers"] = asdict(answer_loss(plan, work, models[name]))
    data = [
        {"name": name, **about, "n_tokens": open_shelf(work.file(f"{name}.npz")).n_tokens}
        for name, about in DATA.items()
    ]
    update_card(
        out / "card.json",
        {
            "name": "tales",
            "description": "Two tiny story-tellers: a lively base model and its neat, aligned descendant.",
            "notice": "A demonstration pair: little stories only, all made up. "
            "Larger pairs: baco chat -B BASE.gguf -A ALIGNED.gguf",
            "files": {name: f"{name}.gguf" for name in ROLES} | {"aligned_lora": "aligned-lora.gguf"},
            "licence": "Apache-2.0",
            "n_vocab": plan.shape.n_vocab,
            "n_parameters": models["base"].n_parameters,
            "n_context": plan.shape.n_context,
            "shape": asdict(models["base"].shape),
            "data": data,
            "n_tokens_seen": {
                "base": sum(n_tokens_seen(path) for path in work.folder.glob("sitting-*.pt")),
                "tuning": n_tokens_seen(work.file("tune.pt")),
                "preference": n_tokens_seen(work.file("prefer.pt")) if plan.preference.n_steps else 0,
            },
            "losses": losses_of,
            "trained": dt.date.today().isoformat(),
            "sampling": {"temperature": 0.8, "min_p": 0.05},
        },
    )
