"""Keep token ids on disk, and draw the rows of a step from them by an address: (seed, step).

Knows ids and shares; knows no text and no model. A step always draws the same rows, so resuming is exact.

Letters: N tokens of a source, S documents of a source, B rows, T positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tales.config import Pretraining, Sitting, Source

__all__ = ["Answers", "Shelf", "draw_answers", "draw_rows", "long_rows", "open_shelf", "store"]

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Shelf:
    """Hold the documents of one source, one after another, each opened by the end-of-text token."""

    ids: NDArray[np.uint16]  # [N]
    starts: NDArray[np.int64]  # [S]

    @property
    def n_tokens(self) -> int:
        """Return the number of tokens."""
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Answers:
    """Hold conversations: ids, which of them are learned, and where each conversation starts."""

    shelf: Shelf
    learned: NDArray[np.bool_]  # [N]


def store(path: Path, documents: Sequence[Sequence[int]]) -> None:
    """Write encoded documents as one array and their starts."""
    lengths = np.array([len(document) for document in documents], dtype=np.int64)
    starts = np.cumsum(lengths) - lengths
    ids = np.fromiter((token for document in documents for token in document), np.uint16, int(lengths.sum()))
    np.savez(path, ids=ids, starts=starts)


def open_shelf(path: Path) -> Shelf:
    """Read what ``store`` wrote."""
    with np.load(path) as arrays:
        return Shelf(arrays["ids"], arrays["starts"])


def shares(sources: dict[str, Source], progress: float) -> NDArray[np.float64]:
    """Return the share of each source at a progress from 0 to 1."""
    share = np.array([source.early + (source.late - source.early) * progress for source in sources.values()])
    return np.asarray(share / share.sum())


def draw_rows(
    shelves: dict[str, Shelf], sitting: Sitting, plan: Pretraining, seed: int, step: int
) -> Ids:  # -> [B, T + 1]
    """Draw the rows of a step; rows of short documents begin with a document, rows of books anywhere."""
    long = sitting.n_steps - step <= sitting.n_long_steps
    length = plan.row_length * (2 if long else 1)
    n_rows = plan.rows_per_step // (2 if long else 1)
    rng = np.random.default_rng((seed, step))
    names = list(sitting.sources)
    chosen = rng.choice(len(names), size=n_rows, p=shares(sitting.sources, step / sitting.n_steps))
    rows = np.empty((n_rows, length + 1), dtype=np.int64)
    for row, which in enumerate(chosen):
        shelf = shelves[names[which]]
        n_places = max(1, shelf.n_tokens - length)
        short = shelf.n_tokens / len(shelf.starts) < length
        start = int(rng.choice(shelf.starts)) if short else int(rng.integers(n_places))
        rows[row] = np.resize(shelf.ids[start : start + length + 1], length + 1)
    return rows


def long_rows(shelf: Shelf, length: int) -> Ids:  # -> [B, T + 1]
    """Cut a shelf in rows that overlap by one token, to measure the loss of all its tokens."""
    n_rows = max(1, (shelf.n_tokens - 1) // length)
    cuts = [shelf.ids[row * length : (row + 1) * length + 1] for row in range(n_rows)]
    return np.stack([np.resize(cut, length + 1) for cut in cuts]).astype(np.int64)


def draw_answers(answers: Answers, n_tokens: int, n_context: int, seed: int, step: int) -> tuple[Ids, Ids]:
    """Draw conversations of like length, one a row, and targets, both [B, T]; -1 where nothing is learned."""
    rng = np.random.default_rng((seed, 1_000_000 + step))
    shelf = answers.shelf
    ends = np.append(shelf.starts[1:], shelf.n_tokens)
    lengths = np.minimum(ends - shelf.starts, n_context + 1)
    order = np.argsort(lengths, kind="stable")
    middle = int(rng.integers(len(order)))
    width = int(lengths[order[middle]])
    n_rows = max(8, n_tokens // width // 8 * 8)
    near = order[max(0, middle - 4 * n_rows) : middle + 4 * n_rows + 1]
    chosen = rng.choice(near, size=n_rows, replace=len(near) < n_rows)
    width = -(-int(lengths[chosen].max() - 1) // 64) * 64 + 1  # few different shapes: kernels are made for each
    ids = np.zeros((len(chosen), width - 1), dtype=np.int64)
    targets = np.full((len(chosen), width - 1), -1, dtype=np.int64)
    for row, which in enumerate(chosen):
        span = slice(int(shelf.starts[which]), int(shelf.starts[which] + lengths[which]))
        tokens, learned = shelf.ids[span].astype(np.int64), answers.learned[span]
        ids[row, : len(tokens) - 1] = tokens[:-1]
        targets[row, : len(tokens) - 1] = np.where(learned[1:], tokens[1:], -1)
    return ids, targets
