"""Slash commands on a scripted pair."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from baco_cli.chat.commands import ALIASES, COMMANDS, Draft, Leave, Next, Write, find, run
from baco_cli.chat.talk import Heard, Talk, Wish
from baco_local.errors import UsageError
from baco_local.types import FinishReason, Role
from chat_samples import Notes, chat_talk, fox_chat


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Talk]:
    """Return a chat of one turn, written by a scripted pair."""
    with chat_talk(folder=tmp_path / "chats") as talk:
        write(talk, talk.wish("hello"))
        yield talk


def write(talk: Talk, wish: Wish) -> None:
    """Let the pair fulfil a wish."""
    stream = talk.start(wish)
    tokens = list(stream)
    assert talk.keep(wish, Heard(tokens=tokens, answer=stream.answer)) is not None


def obey(talk: Talk, line: str) -> tuple[Notes, Next]:
    """Run a command, and what it wants written."""
    notes = Notes()
    after = run(line, talk, notes)
    if isinstance(after, Write):
        for _ in range(after.times):
            write(talk, after.wish if after.times == 1 else Wish(chat=talk.chat))
    return notes, after


def test_help_names_every_command(talk: Talk) -> None:
    """Every command stands in the list with its arguments and what it does, within 80 columns."""
    told = obey(talk, "/help")[0]
    for name, command in COMMANDS.items():
        assert f"/{name} {command.usage}" in told.all
        assert command.help in told.all
    assert max(map(len, told.lines)) < 80


def test_nothing_frightening_is_said(talk: Talk) -> None:
    """The word that frightens people is never printed."""
    for line in ("/help", "/who", "/show", "/d", "/why 1"):
        assert "unaligned" not in obey(talk, line)[0].all


@pytest.mark.parametrize("line", ["/exit", "/bye", "/quit", "/q"])
def test_there_are_several_ways_out(talk: Talk, line: str) -> None:
    """The usual words all leave."""
    assert obey(talk, line)[1] == Leave()


def test_a_beginning_is_enough_where_it_fits_one_command() -> None:
    """A unique beginning names its command, a shared one does not, and a typo gets a hint."""
    assert find("und") is COMMANDS["undo"]
    assert all(find(alias) is COMMANDS[name] for alias, name in ALIASES.items())
    with pytest.raises(UsageError, match="/regen"):
        find("re")
    with pytest.raises(UsageError, match="/undo"):
        find("udno")


def test_regen_adds_versions(talk: Talk) -> None:
    """Every new reply to the same message is another version."""
    obey(talk, "/regen 3")
    assert [len(turn.replies) for turn in talk.chat.turns] == [4]


def test_regen_under_a_fixed_seed_still_says_something_else(talk: Talk) -> None:
    """With a seed of one's own, every version is another sample of it; the same number gives the same text."""
    obey(talk, "/set seed 5")
    obey(talk, "/regen 2")
    first, second = talk.chat.turns[0].replies[1:]
    assert (first.seed, second.seed) == (5, 5)
    assert first.text != second.text
    obey(talk, "/undo")
    obey(talk, "/regen")
    assert talk.reply is not None
    assert talk.reply.text == second.text


def test_undo_and_redo_are_saved(talk: Talk) -> None:
    """What undo takes away is away from the file, and redo brings it back."""
    assert talk.store is not None
    text = talk.reply and talk.reply.text
    obey(talk, "/undo")
    assert talk.store.load("fox")[1].turns == ()
    notes, _ = obey(talk, "/redo")
    assert [reply.text for reply in notes.replies] == [text]
    assert talk.store.load("fox")[1] == talk.chat
    with pytest.raises(UsageError, match="nothing to bring back"):
        obey(talk, "/redo")


def test_edit_offers_the_last_message(talk: Talk) -> None:
    """Without a text the message comes back into the line; with one it is asked at once."""
    assert obey(talk, "/edit")[1] == Draft("hello", edits=True)
    obey(talk, "/edit good evening")
    assert [turn.user for turn in talk.chat.turns] == ["good evening"]
    obey(talk, "/undo")
    assert [turn.user for turn in talk.chat.turns] == ["hello"]


def test_the_system_text_can_be_set_and_cleared(talk: Talk) -> None:
    """A system text goes before the conversation from the next reply on."""
    obey(talk, "/system Be brief.")
    assert talk.chat.messages()[0].content == "Be brief."
    obey(talk, "/system -")
    assert talk.chat.messages()[0].role == "user"


def test_a_wrong_setting_changes_nothing(talk: Talk) -> None:
    """A value that cannot be used is refused, and the settings stay as they were."""
    before = talk.settings()
    for line in ("/set temperature hot", "/set diversity 11", "/set nonsense 1", "/set pace", "/d eleven", "/d 11"):
        with pytest.raises(UsageError):
            obey(talk, line)
    assert talk.settings() == before


def test_the_dial_and_solo(talk: Talk) -> None:
    """The dial is set by its number; solo goes to its ends and back to where it stood."""
    obey(talk, "/d 7.5")
    assert talk.diversity == 7.5
    assert "voice A alone" in obey(talk, "/solo base")[0].all
    assert talk.diversity == 10
    obey(talk, "/solo aligned")
    assert talk.diversity == 0
    obey(talk, "/solo both")
    assert talk.diversity == 7.5


def test_the_dial_takes_a_raw_threshold_away(talk: Talk) -> None:
    """Turning the dial has an effect, even where a threshold was given before."""
    obey(talk, "/set threshold 0.4")
    obey(talk, "/d 3")
    assert (talk.settings().decode.threshold, talk.diversity) == (None, 3)


def test_why_lists_places_and_explains_one(talk: Talk) -> None:
    """Without a number the places where the voices parted are listed; their numbers can be asked for."""
    listed = obey(talk, "/why")[0].lines
    assert "/alt N" in listed[-1]
    number = listed[0].split()[0]
    told = obey(talk, f"/why {number}")[0].all
    assert "voice A (wild)" in told
    assert "voice B (polished)" in told
    assert "%" in told


def test_why_refuses_what_is_no_place(talk: Talk) -> None:
    """A number beyond the reply, or no number, is said in words."""
    for line, told in (("/why 999", "words"), ("/why x", "no number"), ("/why 0", "no number"), ("/alt", "/why")):
        with pytest.raises(UsageError, match=told):
            obey(talk, line)


def test_alt_takes_the_road_not_taken(talk: Talk) -> None:
    """The new version begins like the old one, takes the other voice's word, and goes on from there."""
    old = talk.reply
    assert old is not None
    place = next(place for place in talk.places() if place.start > 2 and place.side(place.first.speaker.other))
    obey(talk, f"/alt {place.number}")
    new = talk.reply
    assert new is not None
    assert len(talk.chat.turns[0].replies) == 2
    assert [token.id for token in new.tokens[: place.start]] == [token.id for token in old.tokens[: place.start]]
    chosen = new.tokens[place.start]
    assert (chosen.speaker, chosen.reason) == (place.first.speaker.other, "chosen")
    assert chosen.id != place.first.id
    assert new.seed == old.seed


def test_a_reply_of_another_pair_cannot_be_explained(tmp_path: Path) -> None:
    """Numbers of another vocabulary mean nothing here, and are not made to."""
    with chat_talk(fox_chat(), tmp_path) as talk, pytest.raises(UsageError, match="written by the pair"):
        obey(talk, "/why")


def test_who_counts_all_tokens(talk: Talk) -> None:
    """Both shares together are everything."""
    line = next(line for line in obey(talk, "/who")[0].lines if "last reply" in line)
    shares = [int(part) for part in line.replace("%", "").split() if part.isdecimal()][:2]
    assert sum(shares) == 100


def test_stats_tell_what_a_reply_cost(talk: Talk) -> None:
    """Seed, speed of both voices, and how full the context is."""
    told = obey(talk, "/stats")[0].all
    assert "voice A" in told
    assert f"of {talk.pair.n_ctx} tokens" in told


def test_a_read_file_goes_before_the_next_message(talk: Talk, tmp_path: Path) -> None:
    """The text of a file opens the next message, once."""
    (tmp_path / "my notes.txt").write_text("Notes.\n")
    obey(talk, f"/read {tmp_path}/my notes.txt")
    write(talk, talk.wish("What do they say?"))
    assert talk.chat.turns[-1].user == "Notes.\n\nWhat do they say?"
    assert talk.wish("Again").chat.turns[-1].user == "Again"


def test_a_file_that_cannot_be_read_is_named(talk: Talk, tmp_path: Path) -> None:
    """Missing files, folders and bytes are refused in words."""
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name in ("missing", "bytes", ""):
        with pytest.raises(UsageError, match="cannot be read"):
            obey(talk, f"/read {tmp_path}/{name}")


def test_save_names_the_chat_and_load_goes_on_with_another(talk: Talk) -> None:
    """A chat that got a name is saved under it from then on; the old file stays."""
    assert talk.store is not None
    obey(talk, "/save hen")
    write(talk, talk.wish("more"))
    assert len(talk.store.load("hen")[1].turns) == 2
    assert len(talk.store.load("fox")[1].turns) == 1
    obey(talk, "/load fox")
    assert (talk.name, len(talk.chat.turns)) == ("fox", 1)
    with pytest.raises(UsageError, match="exists"):
        obey(talk, "/save hen")


def test_clear_begins_a_new_chat_and_keeps_the_old_file(talk: Talk) -> None:
    """After clear the next turn goes to another file."""
    assert talk.store is not None
    obey(talk, "/clear")
    write(talk, talk.wish("new"))
    assert talk.name != "fox"
    assert [turn.user for turn in talk.store.load("fox")[1].turns] == ["hello"]


def test_export_writes_a_file(talk: Talk, tmp_path: Path) -> None:
    """A chat can be written for others, in a form that is known."""
    obey(talk, f"/export html {tmp_path}/chat.html")
    assert "hello" in (tmp_path / "chat.html").read_text()
    with pytest.raises(UsageError, match="md, json, html"):
        obey(talk, "/export pdf")


def test_copy_hands_over_the_last_reply(talk: Talk) -> None:
    """The clipboard gets the text of the reply."""
    assert talk.reply is not None
    assert obey(talk, "/copy")[0].copied == [talk.reply.text]


def test_commands_that_need_a_reply_say_so(tmp_path: Path) -> None:
    """Before the first reply nothing pretends to have one."""
    with chat_talk(folder=tmp_path) as talk:
        for line in ("/regen", "/undo", "/redo", "/edit", "/why", "/why 1", "/alt 1", "/copy", "/stats", "/export md"):
            with pytest.raises(UsageError):
                obey(talk, line)


def test_a_chat_that_is_not_saved_says_so() -> None:
    """Without a store there is nothing to save to and nothing to load."""
    with chat_talk() as talk:
        for line in ("/save fox", "/load fox"):
            with pytest.raises(UsageError, match="--no-save"):
                obey(talk, line)


def test_the_first_token_of_solo_belongs_to_its_voice(talk: Talk) -> None:
    """At the ends of the dial one voice writes everything, and /why still tells its words."""
    obey(talk, "/solo base")
    obey(talk, "/regen")
    assert talk.reply is not None
    assert {token.speaker for token in talk.reply.tokens} == {Role.BASE}
    assert "voice A" in obey(talk, "/why 1")[0].all
    assert talk.reply.finish in FinishReason
