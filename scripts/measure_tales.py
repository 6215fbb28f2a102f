"""Measure the bundled pair from its files, and write its figures into its card: parse arguments, call, print.

    python scripts/measure_tales.py [--corpus DIR] [--starter DIR]

Needs no torch. Without the corpus, losses are not measured; without the starter pair, they stand alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from tales.card import read_card, update_card
from tales.config import HERE
from tales.corpus import read_corpus
from tales.measure import (
    Figures,
    adapter_figures,
    agreement,
    bits_per_byte,
    collapse,
    dial,
    open_pair,
    requests,
    story_telling,
    tell,
)
from tales.samples import answered, data_table, figures_table, fill_in, samples_text

ROOT = HERE.parent.parent
PLAIN = {"temperature": 0.7, "min_p": 0.0}


def measured_losses(folder: Path, corpus: Path | None, starter: Path | None) -> Figures:
    """Return bits per byte of base, and of the starter pair's base beside it; nothing without the corpus."""
    if corpus is None:
        return {}
    held_out = read_corpus(corpus).held_out
    found = {"base": bits_per_byte(folder / "base.gguf", held_out)}
    if starter is not None:
        found["starter base"] = bits_per_byte(starter / "base.gguf", held_out)
    return {"bits_per_byte": found}


def main() -> None:
    """Measure everything, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", type=Path, default=ROOT / "models" / "tales", help="folder of the GGUF files")
    parser.add_argument("--corpus", type=Path, help="folder with the corpus archives, for losses")
    parser.add_argument("--starter", type=Path, help="folder of another pair, whose losses are told beside")
    parser.add_argument("--topics", type=int, default=100, help="how many held-out topics to ask about")
    parser.add_argument("--prompts", type=int, default=40, help="how many prompts to measure variety on")
    parser.add_argument("--samples", type=int, default=10, help="how many answers to each of them")
    asked = parser.parse_args()
    console = Console(stderr=True, width=140)
    measured: Figures = {}
    recommended = read_card(asked.pair / "card.json")["sampling"]
    with console.status("losses") as status, open_pair(asked.pair) as pair:

        def told(text: str) -> None:
            status.update(text)
            if not console.is_terminal:
                console.print(text)

        told("losses")
        measured |= measured_losses(asked.pair, asked.corpus, asked.starter)
        told("stories")
        topics = requests(asked.topics)
        aligned = [each[0] for each in tell(pair, topics, 1, 0.0, PLAIN)]
        base = [each[0] for each in tell(pair, topics, 1, 10.0, PLAIN)]
        measured["stories"] = story_telling(topics, aligned, base)
        told("agreement")
        measured["agreement"] = agreement(asked.pair, pair, topics, aligned)
        measured["adapter"] = adapter_figures(asked.pair, pair, topics[:30], aligned[:30])
        told("variety")
        prompts = requests(asked.prompts)
        neat, lively = (tell(pair, prompts, asked.samples, d, recommended) for d in (0.0, 10.0))
        measured["collapse"] = collapse(neat, lively, asked.pair)
        measured["dial"] = dial(pair, prompts, asked.samples, recommended, asked.pair, told)
        told("samples")
        samples = answered(pair, recommended)
    update_card(asked.pair / "card.json", {"measured": measured})
    card = read_card(asked.pair / "card.json")
    readme = asked.pair / "README.md"
    if readme.exists():
        fill_in(readme, "figures", figures_table(measured))
        fill_in(readme, "samples", samples_text(samples))
        fill_in(readme, "data", data_table(card))
    Console().print_json(data=measured)


if __name__ == "__main__":
    main()
