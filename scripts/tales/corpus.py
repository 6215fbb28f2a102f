"""Read the archives of the corpus and clean them: no hard line ends, headers, captions and dropped words.

Knows the archives' layouts and the split; knows no tokenizer and no model.
"""

from __future__ import annotations

import csv
import io
import re
import tarfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tales.compose import held_out_topics
from tales.config import HERE
from tales.requests import question_frame

__all__ = ["Corpus", "clean_book", "holds_dropped_word", "read_corpus"]

HEADING = re.compile(
    r"^(chapter|book|part|canto|story|act|scene|volume|preface|introduction|contents|illustrations|dedication"
    r"|the end)\b.{0,60}$|^[ivxlc]+\.?$",
    re.IGNORECASE,
)
CAPTION = re.compile(r"\[[^\]]{0,400}\]")
NOISE = re.compile(
    r"gutenberg|produced by|transcrib|proofread|e-?text|copyright|isbn|http|www\.|illustrated by|\.\.\.\.\.",
    re.IGNORECASE,
)
DOUBLE, SINGLE = "\u201c\u201d\u201e", "\u2018\u2019"
QUOTES = str.maketrans(dict.fromkeys(DOUBLE, '"') | dict.fromkeys(SINGLE, "'") | dict.fromkeys("_*\ufeff\r", ""))
N_TELLING = 70  # characters; a sentence that long stands in two texts only if one copies the other
N_NOVEL_BYTES = 60_000  # of each novel; novels are few and early


@dataclass(frozen=True, slots=True)
class Corpus:
    """Hold cleaned documents by source, for training and held out."""

    train: dict[str, list[str]]
    held_out: dict[str, list[str]]


@cache
def dropped_words() -> re.Pattern[str]:
    """Return a pattern that finds the listed words."""
    lines = (HERE / "dropped_words.txt").read_text(encoding="utf-8").splitlines()
    listed = [re.escape(line.strip()) for line in lines if line.strip() and not line.startswith("#")]
    return re.compile(rf"\b({'|'.join(listed)})\b", re.IGNORECASE)


def holds_dropped_word(text: str) -> bool:
    """Tell whether a passage has to go."""
    return dropped_words().search(text) is not None


def plain(text: str) -> str:
    """Use straight quotes and one kind of dash, and drop marks of emphasis."""
    text = re.sub(r" ?-{2,} ?| ?— ?", "—", text.translate(QUOTES))
    return re.sub(r"[ \t\u00a0]+", " ", re.sub(r"''|``", '"', text))


def paragraphs(text: str) -> Iterator[str]:
    """Yield paragraphs with their lines joined; short indented lines are verse and stay."""
    for block in re.split(r"\n\s*\n", CAPTION.sub("", text.replace("\r", ""))):
        lines = [line for line in block.split("\n") if line.strip()]
        if not lines:
            continue
        verse = (
            len(lines) > 1
            and max(map(len, lines)) < 60
            and sum(line.startswith("  ") for line in lines) * 2 > len(lines)
        )
        yield plain(
            "\n".join(line.strip() for line in lines) if verse else " ".join(line.strip() for line in lines)
        ).strip()


def is_heading(paragraph: str) -> bool:
    """Tell a heading from a sentence."""
    letters = [c for c in paragraph if c.isalpha()]
    shouted = len(paragraph) < 90 and sum(c.isupper() for c in letters) > 0.8 * len(letters)
    return not letters or shouted or HEADING.match(paragraph) is not None


def clean_book(text: str) -> list[str]:
    """Split a book in documents at headings and at dropped passages; what does not look like prose goes."""
    documents: list[list[str]] = [[]]
    for paragraph in paragraphs(text):
        if is_heading(paragraph) or holds_dropped_word(paragraph):
            documents.append([])
        elif NOISE.search(paragraph) or (len(paragraph) < 60 and paragraph[-1] not in ".!?\"'—:,;"):
            continue
        else:
            documents[-1].append(paragraph)
    joined = ("\n\n".join(document) for document in documents)
    return [document for document in joined if len(document) >= 400]


def members(archive: Path) -> Iterator[tuple[str, str]]:
    """Yield name and text of each file in an archive, in order of names."""
    with tarfile.open(archive, "r:xz") as tar:
        for member in sorted(tar.getmembers(), key=lambda m: m.name):
            file = tar.extractfile(member) if member.isfile() else None
            if file is not None:
                yield member.name, file.read().decode("utf-8", "replace")


def read_tales(archive: Path) -> tuple[list[str], list[str]]:
    """Return fairy tales as documents, and question documents about them."""
    tales, questions = [], []
    sections: dict[str, dict[str, str]] = {}
    tables = list(members(archive))
    for name, text in tables:
        if name.endswith("-story.csv"):
            rows = {row["section"]: plain(" ".join(row["text"].split())) for row in csv.DictReader(io.StringIO(text))}
            sections[Path(name).name.removesuffix("-story.csv")] = rows
            document: list[str] = []
            for section in [*rows.values(), ""]:
                if not section or holds_dropped_word(section):
                    if len("\n\n".join(document)) >= 300:
                        tales.append("\n\n".join(document))
                    document = []
                else:
                    document.append(section)
    for name, text in tables:
        if not name.endswith("-questions.csv"):
            continue
        rows = sections.get(Path(name).name.removesuffix("-questions.csv"), {})
        for number, row in enumerate(csv.DictReader(io.StringIO(text))):
            question, answer = plain(row["question"]).strip(), plain(row["answer1"] or "").strip()
            section = rows.get((row["cor_section"] or "").split(",")[0].strip(), "")
            if not question or not answer or holds_dropped_word(question + answer + section):
                continue
            framed = question_frame(question, answer[0].upper() + answer[1:] + ("" if answer[-1] in ".!?" else "."))
            if section and number % 3 == 0:  # some answers ramble on in the tale
                framed += " " + section
            questions.append(framed)
    return tales, questions


def unknown(documents: list[str], known: list[str]) -> list[str]:
    """Return the documents that share no long sentence with known ones; collections of tales overlap."""

    def sentences(text: str) -> set[str]:
        return {part for part in re.split(r"[.!?\"\n]+ ?", text) if len(part) >= N_TELLING}

    seen = {sentence for text in known for sentence in sentences(text)}
    return [text for text in documents if not sentences(text) & seen]


def mentions_held_out(text: str) -> bool:
    """Tell whether a short story is about a held-out topic, that is, names it twice."""
    lower = text.lower()
    return any(lower.count(topic) > 1 for topic in held_out_topics())


def read_corpus(folder: Path) -> Corpus:
    """Read and clean all archives; the split file says what is held out."""
    split: dict[str, Any] = tomllib.loads((HERE / "split.toml").read_text(encoding="utf-8"))
    train: dict[str, list[str]] = {"novels": [], "books": []}
    held_out: dict[str, list[str]] = {"novels": [], "tales": []}
    for name, text in members(folder / "litbank.tar.xz"):
        if name.endswith(".txt"):
            part = held_out if Path(name).stem in split["novels"] else train
            part["novels"] += clean_book(text[:N_NOVEL_BYTES])
    for name, text in members(folder / "childrens.tar.xz"):
        if Path(name).stem in split["books"]:
            held_out["tales"] += clean_book(text)
        elif name.endswith(".txt"):
            train["books"] += clean_book(text)
    train["tales"], train["answers"] = read_tales(folder / "fairytaleqa.tar.xz")
    ((_, sample),) = [pair for pair in members(folder / "tinystories.tar.xz") if pair[0].endswith(".txt")]
    stories = [plain(story).strip() for story in sample.split("<|endoftext|>")]
    every = split["tinystories_every"]
    held_out["tinystories"] = [story for story in stories[::every] if story]
    train["tinystories"] = [
        story
        for n, story in enumerate(stories)
        if n % every and len(story) > 100 and not mentions_held_out(story) and not holds_dropped_word(story)
    ]
    held_out["tales"] = unknown(held_out["tales"], train["tales"] + train["books"])
    return Corpus(train, held_out)
