"""``baco run`` with the bundled pair: what goes where, and that the same call writes the same text."""

from __future__ import annotations

import json
import re
import signal
import subprocess

import pytest

pytestmark = pytest.mark.model

CALL = ("run", "Tell me a story about a fox.", "-s", "7", "-n", "40")
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def unmarked(text):
    """Return text without the marks around base text."""
    return text.replace("⟦", "").replace("⟧", "")


def test_a_pipe_gets_the_text_alone(baco):
    """Stdout is plain text with a line break at its end; banner, figures and seed go to stderr."""
    done = baco(*CALL)
    assert done.returncode == 0
    assert done.stdout.endswith("\n")
    assert len(done.stdout.split()) > 5
    assert "\x1b" not in done.stdout + done.stderr
    assert re.search(r"base \d+ % · \d+ switch(es)? · [\d.]+ tok/s · d=5 · seed 7", done.stderr)
    assert "pair: tales" in done.stderr


def test_the_same_seed_writes_the_same_text(baco):
    """A bare prompt means ``run``, and what is printed can be had again with the seed that was said."""
    first = baco("Tell me a story about a fox.", "-n", "30")
    seed = re.search(r"seed (\d+)", first.stderr)[1]
    assert baco("run", "Tell me a story about a fox.", "-n", "30", "-s", seed).stdout == first.stdout


def test_samples_are_separate_and_numbered(invoke):
    """-N writes several texts with a line between; sample k alone begins as it does among others."""
    texts = invoke(*CALL, "-N", "3").stdout.removesuffix("\n").split("\n---\n")
    assert len(set(texts)) == 3
    alone = invoke(*CALL, "--first-sample", "2").stdout
    assert alone.split()[:3] == texts[2].split()[:3]  # batches of other shapes differ in the last bits


def test_json_prints_one_object_per_answer(invoke):
    """Each line of --json is an answer with its figures; the texts are the same as without it."""
    records = [json.loads(line) for line in invoke(*CALL, "-N", "2", "--json").stdout.splitlines()]
    texts = invoke(*CALL, "-N", "2").stdout.removesuffix("\n").split("\n---\n")
    assert [record["sample"] for record in records] == [0, 1]
    assert [record["text"].strip() for record in records] == [text.strip() for text in texts]
    record = records[0]
    assert (record["seed"], record["pair"], record["router"], record["diversity"]) == (7, "tales", "P-PUNC", 5.0)
    assert record["usage"]["completion_tokens"] <= 40
    assert 0 <= record["base_share"] <= 1
    assert "tokens" not in record


def test_a_trace_holds_every_token(invoke, tmp_path):
    """The first line of a trace has the settings and files, the others one token each, both models' views included."""
    path = tmp_path / "trace.jsonl"
    done = invoke(*CALL, "--trace", str(path), "--json")
    header, *tokens = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert header["messages"] == [{"role": "user", "content": "Tell me a story about a fox."}]
    assert re.fullmatch("[0-9a-f]{64}", header["files"]["base"]["sha256"])
    assert header["settings"]["decode"]["router"] == "P-PUNC"
    record = json.loads(done.stdout)
    assert "".join(token["text"] for token in tokens) == record["text"]
    assert record["tokens"] == [{name: value for name, value in token.items() if name != "sample"} for token in tokens]
    assert all(len(token[side]["rivals"]) == 5 for token in tokens for side in ("base", "aligned"))
    assert all(token["base"]["rivals"][0]["id"] == token["base"]["top"] for token in tokens)


def test_marks_stand_around_base_text(invoke):
    """--mark changes nothing but the marks; the ends of the dial have none, or all inside."""
    plain, marked = invoke(*CALL).stdout, invoke(*CALL, "--mark").stdout
    assert unmarked(marked) == plain
    assert "⟦" not in invoke(*CALL, "--mark", "-d", "0").stdout
    base = invoke(*CALL, "--mark", "-d", "10").stdout.strip()
    assert (base[0], base[-1], base.count("⟦")) == ("⟦", "⟧", 1)


def test_an_output_file_gets_what_stdout_would(invoke, tmp_path):
    """-o writes the text to a file and leaves stdout empty."""
    path = tmp_path / "out.txt"
    done = invoke(*CALL, "-N", "2", "-o", str(path))
    assert (done.exit_code, done.stdout) == (0, "")
    assert path.read_text(encoding="utf-8") == invoke(*CALL, "-N", "2").stdout


def test_input_is_never_written_over(invoke, tmp_path):
    """-o and --trace refuse the file that -f reads, and each other."""
    path = tmp_path / "draft.txt"
    path.write_text("Once upon a time")
    for option in ("-o", "--trace"):
        done = invoke("run", "-f", str(path), option, str(path))
        assert done.exit_code == 2
        assert "is also read" in done.stderr
    assert path.read_text() == "Once upon a time"
    assert invoke(*CALL, "-o", str(tmp_path / "x"), "--trace", str(tmp_path / "x")).exit_code == 2


def test_quiet_says_nothing(invoke):
    """-q leaves stderr empty."""
    assert invoke(*CALL, "-q").stderr == ""


def test_verbose_names_files_and_sampling(invoke):
    """-v says where the models lie and how tokens are drawn."""
    said = invoke(*CALL, "-v").stderr
    assert "base.gguf" in said
    assert "aligned sampling:" in said


def test_piped_text_goes_before_the_argument(invoke, tmp_path):
    """Both parts reach the models, the piped one first."""
    path = tmp_path / "trace.jsonl"
    invoke("run", "Go on.", "-n", "1", "--trace", str(path), stdin="Once upon a time\n")
    header = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
    assert header["messages"] == [{"role": "user", "content": "Once upon a time\n\nGo on."}]


def test_the_end_of_an_answer_is_explained(invoke):
    """What did not end by itself says why."""
    assert "cut at 5 tokens" in invoke("run", "Tell me a story.", "-n", "5", "--ignore-eos").stderr
    done = invoke("run", "Tell me a story.", "-s", "7", "--stop", "e")
    assert "stopped at 'e'" in done.stderr
    assert "e" not in done.stdout


def test_a_reader_who_leaves_is_no_error(clean_env, start):
    """When the reader of a pipe closes it, the program ends quietly with 0."""
    call = [*start, *CALL[:2], "-N", "20", "-n", "300", "--ignore-eos", "-q"]
    with subprocess.Popen(
        call, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_env
    ) as process:
        process.stdout.read(10)
        process.stdout.close()
        said = process.stderr.read()
        assert (process.wait(timeout=60), said) == (0, b"")


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_ctrl_c_keeps_the_text(clean_env, start, form):
    """The text so far stays, whole, and the exit code is 130."""
    call = [*start, *CALL[:2], "-N", "12", "-n", "400", "--ignore-eos", "--trace", "/dev/stderr", "-q", *form]
    with subprocess.Popen(
        call, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_env
    ) as process:
        for _ in range(8):  # the header and some tokens
            process.stderr.readline()
        process.send_signal(signal.SIGINT)
        text, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in said
    assert text.endswith(b"\n")
    if form:
        records = [json.loads(line) for line in text.splitlines()]
        assert len(records) == 12
        assert all(record["finish"] == "cancelled" for record in records)
        assert records[0]["text"]
    else:
        assert text.strip()


@pytest.mark.parametrize("columns", [40, 80])
def test_a_terminal_shows_who_spoke_and_wraps_at_words(on_terminal, invoke, columns):
    """Base words are coloured and underlined, lines end before the margin, and the text is that of the pipe."""
    shown = on_terminal(*CALL, "-q", columns=columns)
    assert "\x1b[4;35m" in shown
    plain = CODES.sub("", shown)
    assert max(map(len, plain.splitlines())) < columns
    assert plain.split() == invoke(*CALL).stdout.split()


def test_wishes_about_colour_are_obeyed(on_terminal, invoke):
    """NO_COLOR leaves the underline, TERM=dumb nothing, and FORCE_COLOR paints a pipe."""
    assert set(CODES.findall(on_terminal(*CALL, "-q", NO_COLOR="1"))) == {"\x1b[4m", "\x1b[0m"}
    assert "\x1b" not in on_terminal(*CALL, TERM="dumb")
    assert "\x1b[4;35m" in invoke(*CALL, FORCE_COLOR="1").stdout


def test_files_by_path_are_the_same_pair(invoke, tales):
    """-B and -A take paths, or the name of a known pair."""
    call = (*CALL, "-d", "10", "--temp", "0.8", "--min-p", "0", "--json")
    by_path = invoke(*call, "-B", str(tales / "base.gguf"), "-A", str(tales / "aligned.gguf")).stdout
    by_name = invoke(*call, "-B", "tales", "-A", "tales").stdout
    assert json.loads(by_path)["text"] == json.loads(by_name)["text"]


def test_models_that_cannot_be_paired(invoke, shared_data):
    """Two vocabularies leave with 3, and the command that shows their differences is named."""
    models = shared_data / "models"
    done = invoke("run", "hi", "-B", str(models / "stories260K.gguf"), "-A", str(models / "aidreams260K.gguf"))
    assert done.exit_code == 3
    assert "baco pairs check" in done.stderr
    assert done.stdout == ""
