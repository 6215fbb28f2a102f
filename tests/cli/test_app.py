"""The front door: commands, prompts, typos, exit codes, and how quickly help comes."""

from __future__ import annotations

import importlib
import re

import pytest

from baco_cli.app import COMMANDS


def test_help_names_every_command_and_loads_no_model_code(baco):
    """Help is printed without numpy, llama.cpp or the commands themselves."""
    done = baco("--help", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0
    assert all(f"│ {name} " in done.stdout for name in COMMANDS)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time")}
    assert not {"numpy", "llama_cpp", "prompt_toolkit", "baco_local.pair", "baco_cli.run"} & loaded


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in {"pairs", "doctor", "chat"}])
def test_every_command_says_the_same_as_the_list(name, invoke):
    """The first line of a command's help is the line that stands in the list of commands."""
    done = invoke(name, "--help")
    assert done.exit_code == 0
    assert COMMANDS[name].help in done.stdout


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in {"pairs", "doctor", "chat"}])
def test_every_option_is_explained_within_80_columns(name, invoke):
    """Each option has help, and no line is longer than a terminal of 80 columns."""
    done = invoke(name, "--help")
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "…" not in done.stdout
    assert not re.search(r"│ --[a-z-]+( +-\w+)?( +[A-Z.=]+)? +│", done.stdout)


def test_version(invoke):
    """The version goes to stdout."""
    done = invoke("--version")
    assert (done.exit_code, done.stdout.startswith("baco ")) == (0, True)


@pytest.mark.parametrize(
    ("word", "meant"), [("chta", "chat"), ("docter", "doctor"), ("compaer", "compare"), ("rum", "run")]
)
def test_a_misspelt_command_is_not_a_prompt(word, meant, invoke):
    """One word close to a command is refused with a hint."""
    done = invoke(word)
    assert done.exit_code == 2
    assert f"did you mean:  baco {meant}" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("args", [("Tell me a story.",), ("-d", "7", "hello"), ("--seed=1", "Hi there")])
def test_other_words_are_a_prompt(args, invoke):
    """Anything else is handed to ``run``: here it gets as far as looking for the pair."""
    done = invoke("-m", "nosuchpair", *args)
    assert done.exit_code == 5
    assert "no pair is called 'nosuchpair'" in done.stderr


@pytest.mark.parametrize(("typo", "hint"), [("-ngx", "-ngl"), ("-syx", "-sys"), ("-nlg", "-ngl"), ("-tbb", "-tb")])
def test_a_typo_in_a_long_name_with_one_dash(typo, hint, invoke):
    """What would be read as a number glued to -n, -s or -t is refused, and the near name is named."""
    done = invoke("run", typo, "3", "hi")
    assert done.exit_code == 2
    assert f"there is no option {typo}; did you mean {hint}" in done.stderr


@pytest.mark.parametrize("args", [("-n3",), ("-s-1",), ("-vv",), ("-ngl", "all"), ("-sys", "x"), ("--", "-ngx")])
def test_short_options_may_carry_their_value(args, invoke):
    """Nothing that is meant as it stands is taken for a typo."""
    done = invoke("run", "-m", "nosuchpair", "hi" if args[0] != "--" else "-q", *args)
    assert "there is no option" not in done.stderr
    assert done.exit_code == 5


@pytest.mark.parametrize(
    "place", [place for name, place in COMMANDS.items() if name not in {"pairs", "doctor", "chat"}]
)
def test_commands_lie_where_the_list_says(place):
    """Every module of the list has its app."""
    assert importlib.import_module(place.module).app is not None


def test_no_argument_shows_help(invoke):
    """A bare ``baco`` says what there is and does nothing."""
    assert "Usage: baco" in invoke().output


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("run",), "there is no prompt"),
        (("run", "a", "-p", "b"), "the prompt is given twice"),
        (("run", "-B", "x.gguf", "a"), "the aligned model is missing"),
        (("run", "-A", "x.gguf", "a"), "needs the base model"),
        (("run", "-m", "tales", "-B", "x", "-A", "y", "a"), "already names both models"),
        (("run", "-f", "nosuchfile", "a"), "cannot be read"),
        (("run", "-ngl", "some", "a"), "neither auto, all nor a number"),
        (("run", "-c", "-5", "a"), "must be at least 0"),
        (("run", "--base-opt", "colour=red", "a"), "is not NAME=VALUE with a known name"),
        (("run", "-s", "-2", "a"), "seed is -2"),
        (("run", "--top-p", "7", "a"), "top_p is 7.0"),
        (("run", "A", "story", "of", "rain"), 'put it in quotes: baco run "A story of rain"'),
        (("A", "story"), 'put it in quotes: baco run "A story"'),
        (("run", "-o", "no/such/file", "a"), "--output: 'no/such/file' cannot be written: No such file"),
        (("run", "--trace", ".", "a"), "--trace: '.' cannot be written: Is a directory"),
        (("run", "-d", "11", "a"), "the dial goes from 0"),
        (("run", "--router", "p-pun", "a"), "did you mean P-PUNC"),
        (("run", "--frame", "nosuch", "a"), "no frame is called 'nosuch'"),
        (("run", "--stop", "", "a"), "a stop string is empty"),
        (("compare", "--add", "cat@d5", "a"), "'cat' is neither base, aligned, baco nor a router"),
        (("compare", "--add", "base@d5", "a"), "base speaks alone"),
        (("compare", "--add", "baco@x", "a"), "'x' is neither a temperature"),
    ],
)
def test_wrong_usage_is_named_and_leaves_with_2(args, words, invoke):
    """Each wrong call names the option, the value and what to do, on stderr alone, before a model is loaded."""
    done = invoke(*args)
    assert words in " ".join(done.stderr.split())
    assert done.exit_code == 2
    assert done.stdout == ""


def test_a_hub_name_is_refused_with_its_option(invoke):
    """A model that lies elsewhere cannot be named yet, and the message says which option named it."""
    done = invoke("run", "-B", "user/repo:Q4_K_M", "-A", "user/other", "hi")
    assert done.exit_code == 2
    assert "--base 'user/repo:Q4_K_M': models cannot be downloaded by name yet" in done.stderr


def test_a_missing_file_names_the_one_that_is_there(invoke, tmp_path):
    """A path that does not exist leaves with 5 and suggests its neighbour."""
    (tmp_path / "small-base.gguf").write_bytes(b"")
    done = invoke("run", "-B", str(tmp_path / "smal-base.gguf"), "-A", "x.gguf", "hi")
    assert done.exit_code == 5
    assert "small-base.gguf" in done.stderr


def test_options_come_from_the_environment(invoke):
    """BACO_NAME sets an option, and LLAMA_ARG_NAME the shared ones; both are checked as the option is."""
    assert "no pair is called 'mine'" in invoke("run", "hi", BACO_MODEL="mine").stderr
    assert invoke("run", "hi", BACO_MODEL="mine", LLAMA_ARG_CTX_SIZE="many").exit_code == 2
    assert "must be at least 0" in invoke("run", "hi", LLAMA_ARG_CTX_SIZE="-1").stderr


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("baco co", ["compare"]),
        ("baco run --di", ["--diversity"]),
        ("baco run --router p-", ["p-punc", "p-fc"]),
        ("baco run -m t", ["tales"]),
    ],
)
def test_the_shell_completes_commands_options_and_names(line, offered, baco):
    """Completion knows the commands, their options, the routers and the pairs."""
    words = line.split()
    done = baco(_BACO_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1))
    assert sorted(done.stdout.split()) == sorted(offered)
