"""Learn a byte-level BPE whose first ids are the special tokens, and read it back.

Knows the `tokenizers` library; knows no model and no GGUF.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tales.requests import Conversation, Turn

__all__ = [
    "CHAT_ROWS",
    "END",
    "END_OF_TEXT",
    "SPECIAL",
    "encode_conversation",
    "encode_prompt",
    "learn",
    "load",
    "render",
]

SPECIAL = ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
END_OF_TEXT, SYSTEM, USER, ASSISTANT, END = range(len(SPECIAL))
CHAT_ROWS = (SYSTEM, END + 1)  # from and to which row of the embedding only chats are read


def learn(texts: Iterable[str], n_vocab: int) -> Tokenizer:
    """Learn a vocabulary of ``n_vocab`` entries."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # llama.cpp's "gpt-2" splits alike
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=n_vocab,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def load(path: Path) -> Tokenizer:
    """Read a learned vocabulary."""
    return Tokenizer.from_file(str(path))


def render(conversation: Conversation) -> str:
    """Write a conversation as the chat template does; the answers end their turns."""
    system = f"<|system|>\n{conversation.system}<|end|>\n" if conversation.system else ""
    return system + "".join(
        f"<|user|>\n{turn.user}<|end|>\n<|assistant|>\n{turn.answer}<|end|>\n" for turn in conversation.turns
    )


def encode_prompt(conversation: Conversation, tokenizer: Tokenizer) -> list[int]:
    """Return the ids of a conversation up to where the last answer begins; that answer does not matter."""
    *before, last = conversation.turns
    held = Conversation((*before, Turn(last.user, "")), conversation.system)
    ids, learned = encode_conversation(held, tokenizer)
    return ids[: len(ids) - 1 - learned[::-1].index(True)]


def encode_conversation(conversation: Conversation, tokenizer: Tokenizer) -> tuple[list[int], list[bool]]:
    """Return ids, and which of them the model has to learn: the answers with their ends.

    Every part is encoded by itself, as the tool does, so that an answer starts as a fresh line.
    """
    ids, learned = [END_OF_TEXT], [False]

    def add(part: list[int], learn_it: bool) -> None:
        ids.extend(part)
        learned.extend([learn_it] * len(part))

    def plain(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False).ids)

    if conversation.system:
        add([SYSTEM, *plain("\n" + conversation.system), END, *plain("\n")], False)
    for turn in conversation.turns:
        add([USER, *plain("\n" + turn.user), END, *plain("\n"), ASSISTANT, *plain("\n")], False)
        add([*plain(turn.answer), END], True)
        add(plain("\n"), False)
    return ids, learned
