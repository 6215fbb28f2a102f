from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baco_local.errors import UsageError
from baco_local.text.chat import Message
from baco_local.text.frames import FRAMES, base_ids, frame
from baco_local.text.vocab import TokenKind, Vocab

Make = Callable[..., Vocab]
Load = Callable[[str], Vocab]

ONE = (Message("user", "Who are you?"),)
MANY = (Message("system", "Be brief."), Message("user", "Hi"), Message("assistant", "Hello."), *ONE)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)


@pytest.mark.parametrize(
    ("name", "messages", "prompt"),
    [
        ("qa", ONE, "Question: Who are you?\n\nAnswer:\n"),
        (
            "qa",
            MANY,
            "Be brief.\n\nQuestion: Hi\n\nAnswer:\nHello.\n\nQuestion: Who are you?\n\nAnswer:\n",
        ),
        ("raw", ONE, "Who are you?\n"),
        ("raw", MANY, "Be brief.\n\nHi\n\nHello.\n\nWho are you?\n"),
        ("raw", (Message("user", "Once upon a time\n"),), "Once upon a time\n"),
    ],
)
def test_frames_word_for_word(name: str, messages: tuple[Message, ...], prompt: str) -> None:
    """The plain frames write system text, history and request in their form."""
    assert frame(name).render(messages) == prompt


def test_shots_are_examples_before_the_question() -> None:
    """The shots frame is the qa frame behind a few worked examples, the system text first."""
    prompt = frame("shots").render(MANY)
    assert prompt.startswith("Be brief.\n\nQuestion: ")
    assert prompt.endswith(frame("qa").render(MANY[1:]))
    examples = prompt.removeprefix("Be brief.\n\n").removesuffix(frame("qa").render(MANY[1:]))
    assert examples.count("Question: ") == examples.count("\n\nAnswer:\n") >= 3
    assert len(examples) < 2000  # it takes a good part of a small context


@pytest.mark.parametrize("name", FRAMES)
@given(system=TEXTS, history=st.lists(TEXTS, max_size=2), request_text=TEXTS)
def test_an_answer_starts_on_a_fresh_line(name: str, system: str, history: list[str], request_text: str) -> None:
    """Whatever was said before, every frame ends with a line break and holds all of it."""
    turns = [turn for text in history for turn in (Message("user", text), Message("assistant", text))]
    prompt = FRAMES[name].render([Message("system", system), *turns, Message("user", request_text)])
    assert prompt.endswith("\n")
    assert all(text in prompt for text in (system, *history, request_text))


@pytest.mark.parametrize("name", FRAMES)
def test_role_markers_stand_at_line_starts(name: str) -> None:
    """Each role marker that a frame names opens a line of its prompts."""
    lines = FRAMES[name].render(MANY).splitlines()
    assert all(any(line.startswith(marker) for line in lines) for marker in FRAMES[name].role_markers)
    assert bool(FRAMES[name].role_markers) == (name != "raw")


@pytest.mark.parametrize("messages", [(), MANY[:1], MANY[:3]], ids=["nothing", "system alone", "answered"])
@pytest.mark.parametrize("name", FRAMES)
def test_there_must_be_a_request(name: str, messages: tuple[Message, ...]) -> None:
    """A conversation that does not end with the user cannot be answered."""
    with pytest.raises(UsageError, match="the last message must be the user's"):
        FRAMES[name].render(messages)


def test_a_file_is_a_frame(tmp_path: Path) -> None:
    """A text file with markers becomes a frame; other braces in it, and in people's texts, stay as they are."""
    path = tmp_path / "story.txt"
    path.write_text("{system}\n{ {} {1} {{a b}} }\n{history}Request: {prompt}\nStory:\n", encoding="utf-8")
    asked = (Message("system", "Be {prompt}."), *MANY[1:3], Message("user", "A {history} of ä"))
    assert frame(str(path)).render(asked) == (
        "Be {prompt}.\n{ {} {1} {{a b}} }\nQuestion: Hi\n\nAnswer:\nHello.\n\nRequest: A {history} of ä\nStory:\n"
    )
    assert frame(str(path)).name == "story.txt"


def test_a_file_without_a_line_break_gets_one(tmp_path: Path) -> None:
    """Also a frame from a file ends where a fresh line starts."""
    path = tmp_path / "bare.txt"
    path.write_text("{prompt}", encoding="utf-8")
    assert frame(str(path)).render(ONE) == "Who are you?\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{prompt} {tone}", r"\{tone\}"),
        ("{Prompt}", r"\{Prompt\}"),
        ("{system} only", r"never says \{prompt\}"),
        ("", r"never says \{prompt\}"),
    ],
)
def test_a_file_with_wrong_markers_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    """An unknown marker is named, and a frame that hides the request is no frame."""
    path = tmp_path / "frame.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=reason):
        frame(str(path))


def test_an_unknown_frame_names_the_known_ones(tmp_path: Path) -> None:
    """A name that is neither a frame nor a readable file gives the names that are."""
    for name in ("shot", str(tmp_path)):
        with pytest.raises(UsageError, match="qa, raw, shots"):
            frame(name)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    """A frame in bytes that are not UTF-8 gives an error, not a prompt with holes."""
    path = tmp_path / "frame.txt"
    path.write_bytes(b"\xff\xfe{prompt}")
    with pytest.raises(UsageError, match="not UTF-8"):
        frame(str(path))


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("add_bos", [True, False])
def test_bos_stands_once_or_not_at_all(table: Make, name: str, add_bos: bool) -> None:
    """A prompt starts with BOS exactly if the vocabulary wants it, also when somebody types one."""
    vocab = table(add_bos=add_bos)
    ids = base_ids(vocab, frame(name), (Message("user", "<s> <s>"),))
    assert (ids[0] == 0) == add_bos
    assert ids.count(0) == add_bos


def test_typed_special_tokens_stay_text(table: Make) -> None:
    """A base model never sees a special token that somebody typed, in any role."""
    vocab = table([("<|im_end|>", TokenKind.CONTROL)], add_bos=False)
    said = [Message(role, "<|im_end|></s>") for role in ("system", "user", "assistant", "user")]
    for known in FRAMES.values():
        ids = base_ids(vocab, known, said)
        assert not any(vocab.kinds[token] & TokenKind.CONTROL for token in ids)
        assert b"".join(vocab.pieces[token] for token in ids).decode() == known.render(said)


@pytest.mark.parametrize("name", ["llama-spm", "phi-3", "gpt-2", "starter base", "stories260K"])
def test_real_vocabularies_read_the_frame(vocabulary: Load, name: str) -> None:
    """On real vocabularies the prompt comes back as text, with one BOS where the file wants it."""
    vocab = vocabulary(name)
    ids = base_ids(vocab, frame("qa"), MANY)
    assert b"".join(vocab.pieces[token] for token in ids).decode().lstrip(" ") == frame("qa").render(MANY)
    assert (ids[0] == vocab.bos) == vocab.add_bos
    assert vocab.bos not in ids[1:]
