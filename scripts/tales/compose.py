"""Write simple stories from a grammar: a plot, a cast, and the topic threaded through cause and effect.

Knows words and sentence forms; knows no corpus, no tokenizer and no model. All chance comes from ``rng``.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from tales.config import HERE

__all__ = ["Lexicon", "Noun", "Story", "compose", "expand", "held_out_topics", "lexicon", "tidy", "unheard"]

CHOICE = re.compile(r"\[([^\[\]]*)\]")
PART = re.compile(r"<([a-z_]+)>")
SLOT = re.compile(r"\{([a-z0-9_. ]+)\}")
SENTENCE_START = re.compile(r"(^|[.!?]\s+\"?|\n\s*\"?)([a-z])")
PLACE = re.compile(r"^(in|by|on|under|behind|at) ")
SYLLABLES = re.findall("..", "babebibodadedidofifokakikolalelilolumamimomunaninopapepiporarirosasitatitoviwazo")
KINDS = (
    {"animals": "animal", "people": "person", "things": "thing"} | {"unique": "unique"} | {"uncountable": "uncountable"}
)
LISTS = ("foods", "colours", "looks", "sizes", "traits", "fears", "sounds")
FEMALE = ("queen", "princess", "mother", "girl", "woman", "aunt", "witch", "nun", "maid", "daughter")
MALE = ("king", "prince", "father", "boy", "man", "uncle", "wizard", "monk", "son")


@dataclass(frozen=True, slots=True)
class Noun:
    """Hold one thing that a story may be about."""

    word: str
    kind: str  # animal, person, thing, place, unique, uncountable

    @property
    def bare(self) -> str:
        """Return the word alone: fox, moon, forest."""
        return self.word

    @property
    def a(self) -> str:
        """Return the word as it is first named: a fox, the moon, honey."""
        if self.kind in ("unique", "place"):
            return self.the
        return self.word if self.kind == "uncountable" else with_article(self.word)

    @property
    def the(self) -> str:
        """Return the word as it is named again: the fox, the moon, honey."""
        return self.word if self.kind == "uncountable" or self.word.startswith("the ") else f"the {self.word}"


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Hold the word lists."""

    nouns: dict[str, tuple[Noun, ...]]
    words: dict[str, tuple[str, ...]]
    phrases: dict[str, str]  # place noun -> the phrase it came from, "forest" -> "in the forest"


@dataclass(frozen=True, slots=True)
class Story:
    """Hold a composed story and what it was made of."""

    text: str
    title: str
    hero: str
    topics: tuple[Noun, ...]


def with_article(word: str) -> str:
    """Put a or an before a word."""
    an = word[0] in "aeiou" and not word.startswith(("un", "use", "eu", "one"))
    return f"{'an' if an or word.startswith(('hour', 'honest')) else 'a'} {word}"


def listed(text: str) -> tuple[str, ...]:
    """Split a list at its commas."""
    return tuple(item.strip().replace("\n", " ") for item in text.split(",") if item.strip())


@cache
def held_out_topics() -> tuple[str, ...]:
    """Return the topics that no composed text and no request may hold."""
    split: dict[str, Any] = tomllib.loads((HERE / "split.toml").read_text(encoding="utf-8"))
    return tuple(listed(split["topics"]))


def found_nouns() -> list[str]:
    """Return the nouns that the corpus uses, common and rare."""
    lines = (HERE / "found_nouns.txt").read_text(encoding="utf-8").splitlines()
    return " ".join(line for line in lines if not line.startswith("#")).split()


@cache
def lexicon() -> Lexicon:
    """Read the word lists, without what is held out."""
    table: dict[str, str] = tomllib.loads((HERE / "lexicon.toml").read_text(encoding="utf-8"))
    out = set(held_out_topics())
    phrases = {PLACE.sub("", phrase).removeprefix("the "): phrase for phrase in listed(table["places"])}
    nouns = {
        kind: tuple(Noun(word, kind) for word in dict.fromkeys(listed(table[name])) if word not in out)
        for name, kind in KINDS.items()
    }
    nouns["place"] = tuple(Noun(word, "place") for word in phrases if word not in out)
    words = {
        name: tuple(table[name].split()) for name in ("girls", "boys", "pets", "onsets", "vowels", "codas", "endings")
    }
    words |= {name: listed(table[name]) for name in LISTS}
    nouns["found"] = tuple(Noun(word, "thing") for word in found_nouns() if word not in out)
    return Lexicon(nouns, words, phrases)


@cache
def grammar() -> tuple[dict[str, list[str]], list[dict[str, Any]]]:
    """Read the parts and the plots."""
    table = tomllib.loads((HERE / "grammar.toml").read_text(encoding="utf-8"))
    return table["parts"], table["plots"]


def pick(options: list[str], rng: random.Random, neat: float) -> str:
    """Choose one form: all alike at neat 0, the first forms nearly always at neat 1."""
    if rng.random() >= neat:
        return rng.choice(options)
    return options[min(int(rng.expovariate(1.6)), len(options) - 1)]


def favour(options: Sequence[str], rng: random.Random, neat: float) -> str:
    """Choose a word: all alike, but a very neat voice has favourites."""
    if rng.random() >= neat**8:
        return rng.choice(options)
    return options[min(int(rng.expovariate(2.0)), len(options) - 1)]


def expand(template: str, slots: dict[str, Any], rng: random.Random, neat: float) -> str:
    """Resolve parts, then choices from the inside out, then slots; a slot is a text or a way to make one."""
    parts = grammar()[0]
    while PART.search(template):
        template = PART.sub(lambda found: pick(parts[found[1]], rng, neat), template, count=1)
    while CHOICE.search(template):
        template = CHOICE.sub(lambda found: pick(found[1].split("|"), rng, neat), template)

    def fill(found: re.Match[str]) -> str:
        value = slots[found[1]]
        return str(value() if callable(value) else value)

    return SLOT.sub(fill, template)


def tidy(text: str) -> str:
    """Close gaps before commas and begin sentences with capitals."""
    text = re.sub(r" +", " ", text).replace(" ,", ",").replace(" .", ".")
    return SENTENCE_START.sub(lambda found: found[1] + found[2].upper(), text)


def unheard(rng: random.Random) -> str:
    """Make up a noun that sounds English; words that nobody knows teach the model to look back at them."""
    words = lexicon().words

    def syllable() -> str:
        coda = rng.choice(words["codas"]) if rng.random() < 0.6 else ""
        return rng.choice(words["onsets"]) + rng.choice(words["vowels"]) + coda

    ending = rng.choice(words["endings"]) if rng.random() < 0.8 else ""
    return "".join(syllable() for _ in range(rng.choice((1, 1, 2)))) + ending


def invented(rng: random.Random) -> str:
    """Make up a name that is easy to say."""
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.choice((2, 2, 3))))


class Figure:
    """Hold one person or animal of a story, and the ways to speak of it."""

    def __init__(self, noun: Noun, rng: random.Random, neat: float) -> None:
        words, self.rng, self.noun = lexicon().words, rng, noun
        she = any(mark in noun.word for mark in FEMALE)
        he = any(mark in noun.word for mark in MALE)
        female = she or (not he and rng.random() < 0.5)
        names = words["girls" if female else "boys"] if noun.kind == "person" else words["pets"]
        made_up = rng.random() < 0.25 * (1 - neat**8)
        self.name = invented(rng).capitalize() if made_up else favour(names, rng, neat)
        self.he, self.him, self.his = ("she", "her", "her") if female else ("he", "him", "his")
        look = favour(words["sizes"] + words["traits"], rng, neat)
        if look in noun.word or noun.word.startswith(("little", "old")):
            look = ""
        described = with_article(f"{look} {noun.word}".strip())
        self.intro = f"{described} named {self.name}" if rng.random() < 0.5 + neat else described
        self.named = "named" in self.intro

    def mention(self) -> str:
        """Name the figure once more."""
        return self.name if self.named and self.rng.random() < 0.6 else self.noun.the


def cast(topics: tuple[Noun, ...], rng: random.Random, neat: float) -> tuple[Figure, Figure, Noun, Noun]:
    """Give every topic a role, and fill the other roles by chance: hero, pal, thing, place."""
    nouns = lexicon().nouns

    def figure() -> Noun:
        if rng.random() < 0.4:
            return Noun(rng.choice(("little girl", "little boy", "girl", "boy")), "person")
        return rng.choice(nouns["animal"] if rng.random() < 0.6 else nouns["person"])

    figures = [noun for noun in topics if noun.kind in ("animal", "person")]
    things = [noun for noun in topics if noun.kind in ("thing", "unique", "uncountable")]
    places = [noun for noun in topics if noun.kind == "place"]
    while len(figures) < 2:
        other = figure()
        if all(other.word != noun.word for noun in figures):
            at_front = len(figures) == 1 and neat < 0.5 and rng.random() < 0.25
            figures.insert(0 if at_front else len(figures), other)
    hero, pal = Figure(figures[0], rng, neat), Figure(figures[1], rng, neat)
    while pal.name == hero.name:
        pal = Figure(figures[1], rng, neat)
    thing = things[0] if things else rng.choice(nouns["found" if rng.random() > 0.8 + neat else "thing"])
    return hero, pal, thing, places[0] if places else rng.choice(nouns["place"])


def slots_of(hero: Figure, pal: Figure, thing: Noun, place: Noun, rng: random.Random) -> dict[str, Any]:
    """Return what the slots of a plot stand for."""
    words = lexicon().words
    trait, trait2 = rng.sample(words["traits"], 2)
    described = thing.kind == "thing" and rng.random() < 0.5
    adjective = rng.choice(words["colours"] + words["looks"]) if described else ""
    if adjective in thing.word:
        adjective = ""
    return {
        "hero": hero.mention,
        "hero.intro": hero.intro,
        "hero.name": hero.name if hero.named else hero.noun.the,
        "he": hero.he,
        "him": hero.him,
        "his": hero.his,
        "himself": "herself" if hero.he == "she" else "himself",
        "pal": pal.mention,
        "pal.intro": pal.intro,
        "pal.name": pal.name if pal.named else pal.noun.the,
        "phe": pal.he,
        "phim": pal.him,
        "phis": pal.his,
        "thing.a": with_article(f"{adjective} {thing.word}") if adjective else thing.a,
        "thing.the": thing.the,
        "thing.bare": thing.bare,
        "place": lexicon().phrases.get(place.word, f"near the {place.word}"),
        "place.to": f"to the {place.word}",
        "trait": trait,
        "trait2": trait2,
        "food": rng.choice(words["foods"]),
        "fear": rng.choice(words["fears"]),
        "sound": rng.choice(words["sounds"]),
    }


def title_of(hero: Figure, pal: Figure, thing: Noun, topics: tuple[Noun, ...]) -> str:
    """Name a story after its topics, or after its hero and thing."""
    first = topics[0] if topics else hero.noun
    other = thing if thing is not first and thing.kind == "thing" else pal.noun
    second = topics[1] if len(topics) > 1 else other
    lower = f"{first.the} and {second.the}"
    small = {"and", "of", "the", "a"}
    return " ".join(w if w in small and i else w[:1].upper() + w[1:] for i, w in enumerate(lower.split()))


def compose(
    rng: random.Random,
    topics: tuple[Noun, ...] = (),
    mood: str = "",
    length: str = "",
    neat: float = 0.0,
    drift: float = 0.0,
) -> Story:
    """Write one story.

    Mood is happy, sad or funny, length is short, middle or long, and "" = any. Neat 0 = all sentence forms
    alike, 1 = nearly always the first ones. Drift is the chance that the story loses its thread, 0 = never.
    """
    length = length or rng.choice(("short", "middle", "middle", "long"))
    hero, pal, thing, place = cast(topics, rng, neat)
    plots = [plot for plot in grammar()[1] if not mood or plot["mood"] == mood]
    if thing.kind != "thing":
        loose = [plot for plot in grammar()[1] if plot["things"] == "any"]
        plots = [plot for plot in loose if plot in plots] or loose
    plot = plots[int(len(plots) * rng.random() ** (1 + neat))]  # the neat voice has favourite plots
    slots = slots_of(hero, pal, thing, place, rng)
    keep = {"short": 0.0, "middle": 0.5, "long": 1.0}[length]
    paragraphs: list[str] = []
    lost_at = rng.choice((1, 2)) if rng.random() < drift else len(plot["paragraphs"])
    for number, beats in enumerate(plot["paragraphs"]):
        if number == lost_at:
            other_hero, other_pal, other_thing, other_place = cast((), rng, neat)
            slots = slots_of(rng.choice((hero, other_hero)), other_pal, other_thing, other_place, rng)
            plot = rng.choice(plots)
        if number >= lost_at:
            beats = plot["paragraphs"][min(number, len(plot["paragraphs"]) - 1)]
        kept = [beat.lstrip("?") for beat in beats if not beat.startswith("?") or rng.random() < keep]
        paragraphs.append(" ".join(tidy(expand(beat, slots, rng, neat)) for beat in kept))
    if length == "short":
        paragraphs = [" ".join(paragraphs[:2]), " ".join(paragraphs[2:])]
    paragraphs = [paragraph.strip() for paragraph in paragraphs if paragraph.strip()]
    text = tidy("\n\n".join(paragraphs))
    return Story(text, title_of(hero, pal, thing, topics), hero.name if hero.named else "", topics)
