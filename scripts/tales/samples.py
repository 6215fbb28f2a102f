"""Write figures and unpicked answers into the model card, between its marks.

Knows Markdown and the figures' names; computes nothing.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from baco_local import Pair
from tales.measure import ROUTER, Figures

__all__ = ["answered", "data_table", "figures_table", "fill_in", "samples_text"]

ASKED = (
    "Tell me a story about a hedgehog.",
    "Write a short story about a lighthouse.",
    "A sad story about an otter",
    "Tell me a story about an umbrella and a penguin.",
    'Write a story that begins with "It had rained for nine days".',
    "Tell me a story about a lost sailor.",
    "Can you tell me a story about a snow globe?",
    "What is the capital of Italy?",
    "A funny story about a hot air balloon, please.",
    "Hello!",
)
SAMPLED = (0.0, 3.0, 5.0, 8.0)
N_SAMPLED = 350
Told: TypeAlias = list[tuple[str, dict[float, str]]]


def answered(pair: Pair, sampling: dict[str, float]) -> Told:
    """Return each request with one answer at each dial; the seed is the number of the request, from 1."""
    return [
        (
            request,
            {
                d: pair.generate(
                    request,
                    seed=seed,
                    router=ROUTER,
                    diversity=d,
                    max_tokens=N_SAMPLED,
                    **sampling,  # type: ignore[arg-type]
                )[0].text
                for d in SAMPLED
            },
        )
        for seed, request in enumerate(ASKED, 1)
    ]


def samples_text(told: Told) -> str:
    """Write the answers as a nested list."""
    lines: list[str] = []
    for seed, (request, answers) in enumerate(told, 1):
        lines.append(f"{seed}. *{request}*")
        for d, text in answers.items():
            joined = " ".join(text.split()) or "(nothing)"
            lines += textwrap.wrap(
                f"* d = {d:g}: {joined}",
                120,
                initial_indent="   ",
                subsequent_indent="     ",
                break_long_words=False,
                break_on_hyphens=False,
            )
    return "\n".join(lines)


def percent(value: float) -> str:
    """Write a share."""
    return f"{100 * value:.1f} %"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def figures_table(measured: Figures) -> str:
    """Write all figures as tables, each under a line that says what it shows."""
    m, parts = measured, []
    if "bits_per_byte" in m:
        of = m["bits_per_byte"]
        kinds = list(of["base"])
        rows = [[name, *(f"{values[kind]:.3f}" for kind in kinds)] for name, values in of.items()]
        parts.append("Bits per byte on held-out texts:\n\n" + table(["", *kinds], rows))
    stories = m["stories"]
    rows = [
        ["names the topic", percent(stories["aligned_mentions_topic"]), percent(stories["base_mentions_topic"])],
        ["ends by itself within 350 tokens", percent(stories["aligned_ends"]), ""],
        ["loops (eight words three times)", percent(stories["aligned_loops"]), ""],
        ["sentences that pass the check", percent(stories["aligned_well_formed"]), ""],
        ["tokens of an answer, mean", f"{stories['aligned_tokens']:.0f}", f"{stories['base_tokens']:.0f}"],
    ]
    title = f"Stories about {stories['n_topics']} held-out topics, at temperature 0.7 without truncation:"
    parts.append(f"{title}\n\n" + table(["", "aligned", "base"], rows))
    both = m["agreement"]
    parts.append(
        f"On these answers of aligned, base has the same first choice at {percent(both['top1_agreement'])} of the\n"
        f"positions, and KL(aligned || base) is {both['kl_aligned_base_nats']:.2f} nats. Base with the adapter differs "
        f"from aligned by\nKL {m['adapter']['kl_aligned_adapter_nats']:.4f} nats; the two files together are "
        f"{m['adapter']['adapter_pair_size']:.2f} times as large as one model."
    )
    for name, title in (("whole", "whole answers"), ("cut_alike", "answers cut to comparable lengths")):
        of = m["collapse"][name]
        rows = [
            [
                kind.replace("_", " "),
                f"{of['aligned'][kind]:.3f}",
                f"{of['base'][kind]:.3f}",
                f"{of['ratio'][kind]:.2f}",
            ]
            for kind in of["base"]
        ]
        title = (
            f"Variety over {m['collapse']['n_prompts']} prompts x {m['collapse']['n_samples']} samples, "
            f"at the card's settings, {title}:"
        )
        parts.append(f"{title}\n\n" + table(["", "aligned", "base", "ratio"], rows))
    turned = m["dial"]
    rows = [
        [
            f"{row['d']:g}",
            percent(row["base_share"]),
            f"{row['distinct_2']:.3f}",
            f"{row['distinct_2_whole']:.3f}",
            f"{row['vendi']:.2f}",
            percent(row["mentions_topic"]),
            percent(row["ends"]),
            f"{row['tokens']:.0f}",
        ]
        for row in turned["rows"]
    ]
    head = ["d", "written by base", "distinct-2", "of whole answers", "Vendi", "names the topic", "ends", "tokens"]
    title = (
        f"The dial, {turned['router']}, {turned['n_prompts']} prompts x {turned['n_samples']} samples; distinct-2 and "
        "Vendi of answers cut to\ncomparable lengths:"
    )
    parts.append(f"{title}\n\n" + table(head, rows))
    orders = ", ".join(f"{kind.replace('_', ' ')} {value:+.2f}" for kind, value in turned["spearman"].items())
    parts.append(f"Spearman's correlation with d (without 5): {orders}.")
    return "\n\n".join(parts)


def data_table(card: Figures) -> str:
    """Write what the models have read, and how much of it."""
    seen = {name: f"{n / 1e6:.1f} million" for name, n in card["n_tokens_seen"].items()}
    rows = [[each["what"], each["licence"], f"{each['n_tokens'] / 1e6:.2f} M"] for each in card["data"]]
    return (
        f"Base has read {seen['base']} tokens (some texts several times), aligned {seen['tuning']} more in\n"
        f"conversations and {seen['preference']} in comparisons of answers.\n\n"
        + table(["text", "licence", "tokens"], rows)
    )


def fill_in(card: Path, name: str, text: str) -> None:
    """Replace what stands between the marks ``<!-- NAME -->`` and ``<!-- /NAME -->`` of a Markdown file."""
    before = card.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(before):
        raise ValueError(f"{card} has no marks for {name}: write <!-- {name} --> and <!-- /{name} --> where it belongs")
    after = pattern.sub(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", before)
    card.write_text(after, encoding="utf-8")
