from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baco_local.evals.questions import Question
from baco_local.evals.ways import (
    Draft,
    Way,
    Wish,
    in_context,
    paraphrased,
    plainly,
    string_seed,
    unusual,
    verbalized,
    wording,
)
from baco_local.text.chat import Message
from baco_local.types import Role

FOX = Question(id="fox", messages=(Message("user", "a fox"),), paraphrases=("the fox", "one fox", "fox!"))


def draft(text: str) -> Draft:
    """Return a draft that both models wrote in turns of three characters."""
    parts = [text[i : i + 3] for i in range(0, len(text), 3)]
    return Draft(voices=tuple((Role.BASE if i % 2 else Role.ALIGNED, part) for i, part in enumerate(parts)))


def answered(
    way: Way, n: int, say: Callable[[Wish], str], fits: Callable[[tuple[Message, ...]], bool] = lambda _messages: True
) -> tuple[tuple[Draft, ...], list[tuple[Wish, ...]]]:
    """Return the answers that a way ends with, and what it wished for in each round."""
    asking = way(FOX, n, fits)
    rounds = [next(asking)]
    while True:
        try:
            rounds.append(asking.send(tuple(draft(say(wish)) for wish in rounds[-1])))
        except StopIteration as end:
            return end.value, rounds


def last(wish: Wish) -> str:
    """Return what was asked last."""
    return wish.messages[-1].content


@pytest.mark.parametrize("way", [plainly, unusual, paraphrased, in_context, verbalized, string_seed])
@pytest.mark.parametrize("n", [2, 5, 7])
def test_every_way_ends_with_as_many_answers_as_wanted(way: Way, n: int) -> None:
    """However a way asks, it ends with n answers, and no two of its wishes have the same seed and words."""
    answers, rounds = answered(way, n, lambda _wish: "Answer: yes <answer>no</answer>")
    assert len(answers) == n
    wishes = [wish for one in rounds for wish in one]
    assert len({(wish.messages, wish.sample) for wish in wishes}) == len(wishes)


def test_the_same_is_asked_n_times_at_once() -> None:
    """Most methods ask one round of the same question."""
    answers, rounds = answered(plainly, 3, lambda wish: f"{last(wish)} {wish.sample}")
    assert [one.text for one in answers] == ["a fox 0", "a fox 1", "a fox 2"]
    assert len(rounds) == 1


def test_unusual_answers_are_asked_for_by_a_system_text() -> None:
    """The question stays as it is, and the system text stands before it."""
    _, ((wish, *_),) = answered(unusual, 2, lambda _wish: "")
    assert wish.messages == (Message("system", wording()["unusual"]["system"]), *FOX.messages)


def test_paraphrases_take_turns() -> None:
    """Each answer is asked for in other words, and they begin anew when there are no more."""
    answers, _ = answered(paraphrased, 4, last)
    assert [one.text for one in answers] == ["the fox", "one fox", "fox!", "the fox"]


def test_a_conversation_holds_all_answers_before() -> None:
    """In context, each round shows the answers so far and asks for one unlike them; an empty one is not shown."""
    texts = iter(["one", "", "three"])
    answers, rounds = answered(in_context, 3, lambda _wish: next(texts))
    assert [one.text for one in answers] == ["one", "", "three"]
    again = wording()["in_context"]["again"]
    contents = [[message.content for message in wish.messages] for (wish,) in rounds]
    assert contents == [["a fox"], ["a fox", "one", again], ["a fox", "one", again]]


def test_a_conversation_forgets_what_does_not_fit() -> None:
    """Where the context is too short, the oldest answers are left out and the question stays."""
    _, rounds = answered(in_context, 4, lambda wish: f"text {wish.sample}", lambda messages: len(messages) <= 5)
    told = [[m.content for m in wish.messages if m.role == "assistant"] for (wish,) in rounds]
    assert told == [[], ["text 0"], ["text 0", "text 1"], ["text 1", "text 2"]]
    assert all(wish.messages[0].content == "a fox" for (wish,) in rounds)


def test_five_answers_come_out_of_one_draft() -> None:
    """Tagged answers are read whatever their attributes; an open tag ends at the next, and what is missing is empty."""
    text = 'Sure! <answer p="0.1"> one </answer><ANSWER>two<answer p=.2>three</answer>'
    answers, rounds = answered(verbalized, 7, lambda _wish: text)
    assert [one.text for one in answers] == ["one", "two", "three", "", "", "one", "two"]
    assert [one.finish for one in answers[2:5]] == ["end", "unreadable", "unreadable"]
    assert [len(one) for one in rounds] == [2]
    assert all(wish.stretch > 5 for wish in rounds[0])


def test_only_what_follows_the_seed_counts() -> None:
    """The random string is cut off, and a draft without an answer is an empty answer."""
    texts = iter(["Random: x7f\nAnswer:\n A fox.", "Random: nothing else"])
    answers, _ = answered(string_seed, 2, lambda _wish: next(texts))
    assert [one.text for one in answers] == ["A fox.", ""]


@given(st.text("ab \n", max_size=30), st.integers(0, 30), st.integers(0, 30))
def test_a_part_keeps_its_voices(text: str, start: int, end: int) -> None:
    """A stretch of a draft is the same stretch of its text without white space around it, each sign by who wrote it."""
    whole = draft(text)
    part = whole.part(start, end)
    assert part.text == text[start:end].strip()
    by_place = [role for role, voice in whole.voices for _ in voice]
    first = start + len(text[start:end]) - len(text[start:end].lstrip())
    assert [role for role, voice in part.voices for _ in voice] == by_place[first : first + len(part.text)]
