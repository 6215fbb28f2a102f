"""``baco measure``: tables, JSON and CSV of anyone's answers."""

from __future__ import annotations

import csv
import io
import json
import re

import numpy as np
import pytest

from tiny_bert import write_tiny_bert

STORY = "the fox ran over the hill and met a cat who sang of the sea all day long until the moon came up"


@pytest.fixture
def answers(tmp_path):
    """Return a function that writes a file of answers and returns its path."""

    def write(name, *texts_of):
        path = tmp_path / name
        rows = ({"prompt": f"Tell me a story about a fox ({n}).", "outputs": texts} for n, texts in enumerate(texts_of))
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        return str(path)

    return write


@pytest.fixture
def same(answers):
    """Return a file in which every answer to a prompt is the same."""
    return answers("same.jsonl", *([f"{STORY}."] * 3 for _ in range(5)))


@pytest.fixture
def varied(answers):
    """Return a file with varied answers to the same prompts."""
    return answers("varied.jsonl", *([f"{n} {k} {STORY[9 * k :]}." for k in range(3)] for n in range(5)))


def test_tables_of_one_file(invoke, varied):
    """Three tables come to stdout, what must be known to read them to stderr."""
    done = invoke("measure", varied)
    assert done.exit_code == 0, done.stderr
    for words in ("cut to comparable lengths", "answers as they are", "Quality", "1 - self-BLEU", "95 % interval"):
        assert words in done.stdout
    assert "5 prompts, 15 answers" in done.stderr
    assert "resamples" in done.stderr


def test_tables_fit_a_terminal(invoke, same, varied):
    """Two files side by side take no more than 80 columns."""
    lines = invoke("measure", same, varied).stdout.splitlines()
    assert any("B - A" in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_the_cut_of_a_test_can_be_chosen(invoke, varied):
    """A cut that was given takes the place of the test's own, and the reader is told."""
    found = [json.loads(invoke("measure", varied, "--json", *more).stdout) for more in ((), ("--same-cut", "0.999"))]
    assert "above 0.999" in found[1]["helpers"]["Same answer"]
    first, second = (
        next(each["files"][0]["mean"] for each in one["findings"] if each["metric"] == "distinct_k") for one in found
    )
    assert second > first


def test_json(invoke, same, varied):
    """JSON says what each number means, how sure it is, and every value behind it."""
    done = invoke("measure", same, varied, "--json", "--bootstrap", "200")
    found = json.loads(done.stdout)
    assert [(file["n_prompts"], file["n_answers"]) for file in found["files"]] == [(5, 15), (5, 15)]
    (bleu,) = [each for each in found["findings"] if (each["metric"], each["view"]) == ("self_bleu_diversity", "raw")]
    assert bleu["definition"].startswith("1 - mean BLEU")
    assert bleu["files"][0]["mean"] == pytest.approx(0, abs=1e-6)
    assert bleu["difference"]["change"]["low"] > 0
    assert [len(values) for values in bleu["values"]] == [5, 5]


def test_csv(invoke, same, varied, tmp_path):
    """CSV has one line per metric, view and file; -o keeps a copy."""
    done = invoke("measure", same, varied, "--csv", "-o", str(tmp_path / "found.csv"))
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert (tmp_path / "found.csv").read_text("utf-8") == done.stdout
    bleu = [row for row in rows if (row["metric"], row["view"]) == ("self_bleu_diversity", "raw")]
    assert [row["file"] for row in bleu] == [same, varied]
    assert (bleu[0]["difference"], bleu[0]["p"]) == ("", "")
    assert float(bleu[1]["difference"]) > 0


def test_definitions_on_request(invoke, varied):
    """-v adds what every number means and where it is from."""
    assert "arXiv 1802.01886" not in invoke("measure", varied).stderr
    assert "arXiv 1802.01886" in invoke("measure", varied, "-v").stderr


def test_single_answers_are_compared_across_prompts(invoke, answers):
    """A file with one answer per prompt is dealt into sets, and the reader is told."""
    single = answers("single.jsonl", *([f"{n} {STORY}"] for n in range(20)))
    done = invoke("measure", single, "--json")
    assert "one answer" in done.stderr
    assert json.loads(done.stdout)["across"] == 10
    found = json.loads(invoke("measure", single, "--json", "--across", "4").stdout)
    assert found["sets"] == [f"set {n}" for n in range(1, 6)]


def test_piped_answers(invoke):
    """A dash reads what is piped in."""
    rows = "".join(json.dumps({"text": f"{n} {STORY}", "finish": "end"}) + "\n" for n in range(3))
    assert json.loads(invoke("measure", "-", "--json", stdin=rows).stdout)["files"][0]["n_answers"] == 3


def test_prompts_of_another_file(invoke, tmp_path):
    """Where answers name their prompts by id, --prompts says what was asked, and constraints are read from that."""
    body = {"choices": [{"message": {"content": "A cat slept."}, "finish_reason": "stop"}] * 2}
    out, asked = tmp_path / "out.jsonl", tmp_path / "in.jsonl"
    out.write_text(json.dumps({"custom_id": "a", "response": {"status_code": 200, "body": body}}), "utf-8")
    asked.write_text(json.dumps({"id": "a", "prompt": "Tell me a story about a fox."}), "utf-8")
    for options, share in (((), 1.0), (("--prompts", str(asked)), 0.75)):
        found = json.loads(invoke("measure", str(out), "--json", *options).stdout)
        (met,) = [each for each in found["findings"] if each["metric"] == "constraints"]
        assert met["files"][0]["mean"] == share


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--json", "--csv"), "leave one out"),
        (("--across", "9"), "there are 5 prompts"),
        (("--prompts", "nowhere.jsonl"), "cannot be read"),
    ],
)
def test_wrong_calls(invoke, varied, options, part):
    """A call that cannot be understood ends with 2 and says why."""
    done = invoke("measure", varied, *options)
    assert done.exit_code == 2
    assert part in done.stderr


def test_files_are_checked(invoke, varied, tmp_path):
    """No file, a file of something else and an output over its input are refused by name."""
    assert "nowhere.jsonl" in invoke("measure", "nowhere.jsonl").stderr
    story = tmp_path / "story.txt"
    story.write_text("Once upon a time\n", "utf-8")
    assert "line 1 is not JSON" in invoke("measure", str(story)).stderr
    assert "overwrite" in invoke("measure", varied, "--json", "-o", varied).stderr


def test_real_base_and_aligned_answers(invoke, shared_data):
    """A real base model's answers loop and do less of what was asked than its aligned descendant's."""
    files = [str(shared_data / "outputs" / f"{name}_predictions.jsonl") for name in ("davinci", "text-davinci-003")]
    found = json.loads(invoke("measure", *files, "--json", "--bootstrap", "200").stdout)
    change = {each["metric"]: each["difference"]["change"] for each in found["findings"] if each["view"] == "raw"}
    assert change["constraints"]["low"] > 0.3
    assert change["loops"]["high"] < -0.8


# --- with models --------------------------------------------------------------------------------------------------


def means(done):
    """Return metric -> mean of the first file, in the uncut view."""
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    return {each["metric"]: each["files"][0]["mean"] for each in found["findings"] if each["view"] == "raw"}, found


@pytest.fixture
def few(answers):
    """Return a small file of answers that a tiny vocabulary can read."""
    return answers(
        "few.jsonl", ["the fox ran home.", "the old sea.", "the fox ran home."], ["a cat.", "a fox.", "the sea."]
    )


def test_meaning_is_not_measured_without_a_model(invoke, few):
    """Classes of answers need no model, vectors do."""
    numbers, found = means(invoke("measure", few, "--json"))
    assert numbers["distinct_k"] == pytest.approx((2 + 2) / 2)
    assert numbers.keys() & {"vendi", "cosine_distance", "decan", "judge_bits", "reward"} == set()
    assert "unigram F1" in found["helpers"]["Same answer"]


@pytest.mark.model
def test_vectors_of_an_embedding_model(invoke, few, tmp_path):
    """--embed gives the vectors, which also tell answers apart if wanted; the model is named."""
    write_tiny_bert(tmp_path / "tiny.gguf")
    numbers, found = means(invoke("measure", few, "--embed", str(tmp_path / "tiny.gguf"), "--same", "cosine", "--json"))
    assert 1 < numbers["vendi"] < 3
    assert 0 < numbers["cosine_distance"] < 1
    assert "tiny.gguf (bert" in found["helpers"]["Meaning"]
    assert found["helpers"]["Same answer"] == "cosine above 0.8"
    assert "decan" not in numbers


@pytest.mark.model
def test_meaning_by_the_pair(invoke, few):
    """--semantic alone reads the answers with the pair's base model, and says that this is coarse."""
    numbers, found = means(invoke("measure", few, "--semantic", "--json"))
    assert 1 < numbers["vendi"] < 3
    assert numbers["decan"] > 0
    assert "base model" in found["helpers"]["Meaning"]
    assert "coarse" in found["helpers"]["Meaning"]


@pytest.mark.model
def test_a_judge(invoke, answers, tales):
    """A judge of stories has fewer bits for a story than for noise, is named, and can say what is the same."""
    judge = str(tales / "base.gguf")
    story = answers("story.jsonl", ["Once upon a time there was a little fox who lived in a wood.", ""])
    noise = answers("noise.jsonl", ["qx zzv wwq kjh 7 %% pqr vbn xcz lkj hgf dsa poi", ""])
    options = ("--judge", judge, "--same", "judge", "--json")
    (good, found), (bad, _) = (means(invoke("measure", file, *options)) for file in (story, noise))
    assert good["judge_bits"] > bad["judge_bits"]
    assert "base.gguf" in found["helpers"]["Quality"]
    assert "the judge says yes" in found["helpers"]["Same answer"]


@pytest.mark.model
def test_an_alarm(invoke, answers):
    """--drift finds noise odd beside the stories of the first file, by the pair's aligned model."""
    stories = answers(
        "stories.jsonl", *(["Once upon a time there was a little fox.", "The fox ran home."] for _ in "abc")
    )
    noise = answers("noise.jsonl", *(["qx zzv wwq kjh", "7 %% pqr"] for _ in "abc"))
    found = json.loads(invoke("measure", stories, noise, "--drift", "--json").stdout)
    (odd,) = [each["files"] for each in found["findings"] if each["metric"] == "odd"]
    assert odd[0]["mean"] < 0.5
    assert odd[1]["mean"] == 1.0
    assert "aligned.gguf" in found["helpers"]["Drift"]


@pytest.mark.model
def test_a_reward_model(invoke, few, tales, tmp_path):
    """A row of weights beside any model gives rewards, and these give utility."""
    head = tmp_path / "head.npy"
    np.save(head, np.ones(3, np.float32))
    refused = invoke("measure", few, "--reward", str(tales / "aligned.gguf"), "--reward-head", str(head))
    assert refused.exit_code == 2
    width = int(re.search(r"have (\d+)", refused.stderr)[1])
    np.save(head, np.random.default_rng(0).normal(size=width).astype(np.float32))
    numbers, found = means(
        invoke("measure", few, "--reward", str(tales / "aligned.gguf"), "--reward-head", str(head), "--json")
    )
    (rewards,) = [each["values"][0] for each in found["findings"] if each["metric"] == "reward"]
    assert rewards[0] != rewards[1]
    assert 0 < numbers["utility"] <= 10


@pytest.mark.model
def test_a_reward_model_without_a_head_is_refused(invoke, few, tales):
    """llama.cpp would hand out a number that is no reward: say so, and what to give."""
    done = invoke("measure", few, "--reward", str(tales / "aligned.gguf"))
    assert done.exit_code == 1
    assert "--reward-head" in done.stderr


def test_a_test_of_ones_own(invoke, few):
    """MODULE:FUNCTION is asked with two texts."""
    numbers, found = means(invoke("measure", few, "--same", "operator:eq", "--json"))
    assert numbers["distinct_k"] == pytest.approx((2 + 3) / 2)
    assert "operator:eq" in found["helpers"]["Same answer"]


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--same", "cosine"), "--embed"),
        (("--same", "judge"), "--judge"),
        (("--same", "nothing"), "'nothing'"),
        (("--same", "operator:nothing"), "nothing"),
        (("--same", "operator:eq", "--same-cut", "0.5"), "decides itself"),
        (("--reward-head", "x.npy"), "--reward"),
        (("--embed", "nowhere.gguf"), "does not exist"),
    ],
)
def test_wrong_helpers(invoke, few, options, part):
    """What helps nothing or does not exist is refused by name."""
    done = invoke("measure", few, *options)
    assert done.exit_code in {2, 5}
    assert part in done.stderr
