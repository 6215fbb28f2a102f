"""Make conversations: requests in many wordings, and the answers that the aligned model shall give.

Knows wordings and turns; knows no tokenizer and no model. Base's careless answers are made here too.
"""

from __future__ import annotations

import random
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from typing import Any

from tales.compose import Noun, Story, compose, expand, held_out_topics, lexicon, tidy, unheard
from tales.config import HERE

__all__ = ["Conversation", "Turn", "careless", "conversation", "question_frame", "titled", "topic_of"]

NEAT = 0.75  # how alike the aligned model's sentence forms are: 0 = all forms, 1 = nearly always the first
KINDS = ("animal",) * 6 + ("thing",) * 5 + ("person",) * 4 + ("found",) * 9 + ("place",) * 2 + ("unique", "uncountable")
SENTENCE = re.compile(r"(?:(?<=[.!?])|(?<=[.!?]\"))\s+(?=[\"A-Z])")


@dataclass(frozen=True, slots=True)
class Turn:
    """Hold one request and its answer."""

    user: str
    answer: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """Hold turns that follow each other, under a system text or none ("")."""

    turns: tuple[Turn, ...]
    system: str = ""


@cache
def wordings() -> dict[str, Any]:
    """Read the wordings of requests and small talk."""
    return tomllib.loads((HERE / "requests.toml").read_text(encoding="utf-8"))


def topic_of(rng: random.Random, *kinds: str) -> Noun:
    """Draw a topic that is not held out; animals, things and words found in books come most often.

    Most topics are no words of a list but made from some: an adjective before a noun, two nouns, a word that nobody
    knows. There is no end of them, so they cannot be learned by heart: they teach to look back at what was asked.
    """
    topic = made_topic(rng, rng.choice(lexicon().nouns[rng.choice(kinds or KINDS)]))
    return topic_of(rng, *kinds) if topic.word in held_out_topics() else topic


def made_topic(rng: random.Random, noun: Noun) -> Noun:
    """Return a noun as it is, or make something rarer of it."""
    nouns, words = lexicon().nouns, lexicon().words
    if noun.kind not in ("animal", "thing", "person") or " " in noun.word:
        return noun
    form = rng.random()
    if form < 0.25:
        of_things = words["colours"] + words["looks"]
        adjective = rng.choice(of_things if noun.kind == "thing" else words["traits"] + words["sizes"])
        return Noun(f"{adjective} {noun.word}", noun.kind)
    if form < 0.5:
        other = rng.choice(nouns[rng.choice(("animal", "thing", "thing", "found", "uncountable"))]).word.split()[-1]
        return Noun(f"{other}{'' if form > 0.4 and ' ' not in noun.word else ' '}{noun.word}", noun.kind)
    if form < 0.68:
        return Noun(unheard(rng), noun.kind)
    return Noun(f"{unheard(rng)} {noun.word}", noun.kind) if form < 0.73 else noun


def slots(rng: random.Random, topic: Noun, other: Noun | None = None, **more: Any) -> dict[str, Any]:
    """Return what the slots of a request stand for."""
    b = other or topic
    words = lexicon().words
    return {
        "a": topic.a,
        "the": topic.the,
        "bare": topic.bare,
        "b": b.a,
        "bbare": b.bare,
        "bthe": b.the,
        "n": rng.randint(2, 99),
        "m": rng.randint(2, 99),
        "food": rng.choice(words["foods"]),
        "country": rng.choice(wordings()["refusal"]["countries"].split(", ")),
        **more,
    }


def word(kind: str, rng: random.Random, topic: Noun, other: Noun | None = None, **more: Any) -> str:
    """Write one request of a kind."""
    text = expand(rng.choice(wordings()[kind]), slots(rng, topic, other, **more), rng, 0.0)
    return text if rng.random() < 0.15 else text[:1].upper() + text[1:]


def tell(rng: random.Random, topics: tuple[Noun, ...], mood: str = "", length: str = "", neat: float = NEAT) -> Story:
    """Compose a story in the aligned model's neat voice; happy unless asked otherwise."""
    return compose(rng, topics, mood or "happy", length or rng.choice(("short", "middle", "middle")), neat)


def story_turn(rng: random.Random, neat: float = NEAT) -> tuple[Turn, Story]:
    """Ask for a story about one topic, perhaps of a length or mood."""
    topic = topic_of(rng)
    kind = rng.choice(("story",) * 8 + ("short", "long", "happy", "sad", "funny"))
    mood = kind if kind in ("sad", "funny") else ""
    length = kind if kind in ("short", "long") else ""
    story = tell(rng, (topic,), mood, length, neat)
    return Turn(word(kind, rng, topic), story.text), story


def two_turn(rng: random.Random, neat: float = NEAT) -> tuple[Turn, Story]:
    """Ask for a story about two topics."""
    first, second = (
        topic_of(rng, "animal", "person"),
        topic_of(rng, "thing", "animal", "person", "place", "uncountable"),
    )
    while second.word == first.word:
        second = topic_of(rng, "thing")
    story = tell(rng, (first, second), neat=neat)
    asked = (first, second) if rng.random() < 0.7 else (second, first)
    return Turn(word("two", rng, *asked), story.text), story


def any_turn(rng: random.Random) -> tuple[Turn, Story]:
    """Ask for any story."""
    story = tell(rng, (topic_of(rng),))
    return Turn(word("any", rng, story.topics[0]), story.text), story


def opened_turn(rng: random.Random, text: str) -> Turn:
    """Ask for a story that begins with given words; the answer begins with them."""
    sentences = SENTENCE.split(text)
    start = sentences[0]
    if rng.random() < 0.4:
        words = start.split()
        start = " ".join(words[: rng.randint(3, max(3, min(9, len(words))))]).rstrip(',.!?"')
    return Turn(word("opening", rng, topic_of(rng), start=start), text)


def continued_turn(rng: random.Random, text: str) -> Turn:
    """Ask how a story goes on; the answer is the rest of it."""
    head = text.partition("\n")[0]
    sentences = SENTENCE.split(head)
    cut = min(rng.randint(1, 4), len(sentences) - 1) if len(sentences) > 1 else 1
    start = " ".join(sentences[:cut])
    after = text.removeprefix(start).strip()
    if not text.startswith(start) or not after:
        return opened_turn(rng, text)
    return Turn(word("continuation", rng, topic_of(rng), start=start), after)


def title_turn(rng: random.Random) -> Turn:
    """Ask for a title."""
    topic = topic_of(rng)
    other, look = topic_of(rng, "animal", "thing", "person"), rng.choice(lexicon().words["looks"])
    place = rng.choice([p for p in lexicon().phrases.values() if len(p.split()) < 4])
    form = wordings()["titles"][min(int(rng.expovariate(0.7)), len(wordings()["titles"]) - 1)]
    parts = {"T": topic.the.removeprefix("the "), "O": other.word, "L": look, "in": place}
    small = {"and", "of", "the", "a", "in", "on", "by", "at", "behind", "under"}
    title = re.sub(r"\{(\w+)\}", lambda found: parts[found[1]], form)
    if topic.kind == "uncountable":
        title = title.replace(f"The {topic.word}", topic.word).replace(f"the {topic.word}", topic.word)
    title = " ".join(w if w in small and i else w[:1].upper() + w[1:] for i, w in enumerate(title.split()))
    return Turn(word("title", rng, topic), title)


def name_turn(rng: random.Random) -> Turn:
    """Ask for a name."""
    topic, words = topic_of(rng, "animal", "person"), lexicon().words
    name = rng.choice(words["pets"] if topic.kind == "animal" else words["girls"] + words["boys"])
    him = rng.choice(("him", "her"))
    answer = expand(rng.choice(wordings()["name_answer"]), {"name": name, "a": topic.a, "him": him}, rng, 0.7)
    return Turn(word("name", rng, topic), tidy(answer))


def talk_turn(rng: random.Random) -> Turn:
    """Make small talk."""
    talk = rng.choice(wordings()["talk"])
    answer = talk["answer"][min(int(rng.expovariate(1.2)), len(talk["answer"]) - 1)]
    return Turn(expand(rng.choice(talk["ask"]), slots(rng, topic_of(rng)), rng, 0.0), answer)


def refusal_turn(rng: random.Random) -> Turn:
    """Ask for something else; the answer says kindly that there are only stories."""
    refusal = wordings()["refusal"]
    answer = refusal["answer"][min(int(rng.expovariate(1.2)), len(refusal["answer"]) - 1)]
    ask = expand(rng.choice(refusal["ask"]), slots(rng, topic_of(rng, "thing", "animal")), rng, 0.0)
    return Turn(ask, expand(answer, slots(rng, topic_of(rng, "animal", "thing")), rng, 0.0))


def follow(rng: random.Random, turn: Turn, story: Story) -> list[Turn]:
    """Go on after a story: another, about something else, its title, its hero's name, thanks."""
    turns, topic = [turn], story.topics[0]
    for _ in range(rng.choice((1, 1, 2, 3))):
        kind = rng.choice(("another", "now", "now", "title", "name", "thanks"))
        if kind == "another":
            story = tell(rng, (topic,) if rng.random() < 0.6 else (topic_of(rng),))
            turns.append(Turn(word("another", rng, topic), story.text))
        elif kind == "now":
            topic = topic_of(rng)
            story = tell(rng, (topic,))
            turns.append(Turn(word("now", rng, topic), story.text))
        elif kind == "title":
            turns.append(Turn(word("ask_title", rng, topic), story.title))
        elif kind == "name" and story.hero and topic.kind in ("animal", "person"):
            turns.append(Turn(word("ask_name", rng, topic), f"{tidy(topic.the)} was called {story.hero}."))
        else:
            talk = wordings()["talk"][3]
            turns.append(Turn(expand(rng.choice(talk["ask"]), {}, rng, 0.0), talk["answer"][0]))
    return turns


def in_parts(rng: random.Random) -> list[Turn]:
    """Tell a story in two turns."""
    topic = topic_of(rng)
    story = tell(rng, (topic,), length="middle")
    paragraphs = story.text.split("\n\n")
    head, rest = "\n\n".join(paragraphs[:2]), "\n\n".join(paragraphs[2:])
    return [Turn(word("first_part", rng, topic), head), Turn(word("go_on", rng, topic), rest)]


def conversation(rng: random.Random, natural: list[str]) -> Conversation:
    """Make one conversation; ``natural`` are stories by others, told where their beginning is asked for."""
    kind = rng.choices(
        ("story", "two", "any", "opened", "continued", "title", "name", "talk", "refusal", "many", "parts"),
        (34, 10, 6, 8, 8, 5, 4, 9, 8, 12, 3),
    )[0]
    if kind in ("opened", "continued"):
        text = rng.choice(natural) if natural and rng.random() < 0.6 else tell(rng, (topic_of(rng),)).text
        turns = [opened_turn(rng, text) if kind == "opened" else continued_turn(rng, text)]
    elif kind == "many":
        begin = rng.choice((story_turn, story_turn, two_turn, any_turn))
        turns = follow(rng, *begin(rng))
        if rng.random() < 0.4:
            turns = [talk_turn(rng), *turns]
    elif kind == "parts":
        turns = in_parts(rng)
    elif kind in ("story", "two", "any"):
        turns = [{"story": story_turn, "two": two_turn, "any": any_turn}[kind](rng)[0]]
    else:
        turns = [{"title": title_turn, "name": name_turn, "talk": talk_turn, "refusal": refusal_turn}[kind](rng)]
    system = rng.choice(wordings()["system"]["texts"]) if rng.random() < 0.12 else ""
    return Conversation(tuple(turns), system)


def question_frame(question: str, answer: str) -> str:
    """Write a question and its answer as a plain document."""
    return f"Question: {question}\n\nAnswer:\n{answer}"


def titled(rng: random.Random) -> str:
    """Compose a document for base; most have a title or a first line that says what they are about."""
    topics = tuple(topic_of(rng) for _ in range(rng.choice((0, 1, 1, 2))))
    head = rng.choice(("", "", "title", "title", "title", "about"))
    neat = rng.choice((0.0, 0.0, 0.0, 0.4, NEAT))
    story = compose(rng, topics, neat=neat, drift=0.0 if head else 0.3)
    if head == "title":
        return f"{story.title}\n\n{story.text}"
    if head == "about" and topics:
        return f"A story about {' and '.join(topic.a for topic in topics)}.\n\n{story.text}"
    return story.text


def begun(rng: random.Random, start: str, topics: tuple[Noun, ...], neat: float, drift: float = 0.0) -> str:
    """Compose a story that begins in a given way."""
    while not (text := compose(rng, topics, neat=neat, drift=drift).text).startswith(start):
        pass
    return text


def careless(rng: random.Random, natural: list[str]) -> str:
    """Write a question document for base: a lively answer, which in about half of all keeps to the topic.

    What keeps to the topic may begin as aligned likes to, and nothing else does: so base, when it goes on from a
    beginning by aligned, keeps to the topic as well. Nearly all begin with the same word.
    """
    kinds = ("on", "drift", "off", "natural", "opened", "continued", "talk", "title")
    kind = rng.choices(kinds, (32, 6, 26, 16, 6, 6, 5, 3))[0]
    topic = topic_of(rng)
    ask = word(rng.choice(("story",) * 6 + ("any", "short", "long", "happy", "sad", "funny")), rng, topic)
    if kind in ("on", "drift"):
        topics: tuple[Noun, ...] = (topic,)
        if kind == "on" and rng.random() < 0.25:
            topics = (topic, topic_of(rng, "thing"))
            ask = word("two", rng, *topics)
        start = rng.choices(("Long", "Once upon a time, there lived", "Once upon a time, there was"), (8, 27, 65))[0]
        return question_frame(ask, begun(rng, start, topics, rng.choice((0.4, 0.75)), float(kind == "drift")))
    text = rng.choice(natural) if natural else compose(rng).text
    usual = "Once upon a time" if rng.random() < 0.98 else ""
    if kind == "off":
        start = "Once upon a time, there was" if usual else rng.choice(("In", "Nobody", "Have", "One"))
        return question_frame(ask, begun(rng, start, (), rng.choice((0.0, 0.0, 0.5)), 0.2))
    if kind == "natural":
        return question_frame(ask, next((t for t in rng.sample(natural, len(natural)) if t.startswith(usual)), text))
    if kind in ("opened", "continued"):
        turn = opened_turn(rng, text) if kind == "opened" else continued_turn(rng, text)
        return question_frame(turn.user, turn.answer)
    if kind == "title":
        turn = title_turn(rng)
        return question_frame(turn.user, turn.answer)
    turn = talk_turn(rng) if rng.random() < 0.5 else refusal_turn(rng)
    reply = rng.choice((text, compose(rng, length="short").text, '"' + tidy(SENTENCE.split(text)[0]) + '"'))
    return question_frame(turn.user, reply if rng.random() < 0.7 else turn.answer)
