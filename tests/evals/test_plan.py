from __future__ import annotations

from pathlib import Path

import pytest

from baco_local.errors import UsageError
from baco_local.evals.methods import FAMILIES, METHODS, chosen
from baco_local.evals.plan import Wanted, planned, read_wanted
from baco_local.routing.blends import BLENDS
from baco_local.routing.dial import ROUTERS
from baco_local.settings import Settings


def test_every_router_and_mix_is_a_method() -> None:
    """A study can compare whatever the program can do, each at nine points."""
    assert {name.lower() for name in (*ROUTERS, *BLENDS)} <= METHODS.keys()
    assert {len(method.points) for method in METHODS.values()} == {9}
    assert {method.family for method in METHODS.values()} == FAMILIES.keys()


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.idea is None])
def test_the_knobs_of_a_method_are_settings(name: str) -> None:
    """Every point of every method is a set of settings that the program takes."""
    for point in METHODS[name].points:
        assert Settings().turn(METHODS[name].at(point if METHODS[name].matched is None else 0.5))


def test_no_router_takes_the_points_of_a_model_alone() -> None:
    """Between the ends of the dial lie all points of what two models write."""
    two = [method for method in METHODS.values() if method.turned == "diversity"]
    assert all(0 < point < 10 for method in two for point in method.points)


def test_fewer_points_keep_both_ends() -> None:
    """Thinned to three, nine points become the first, the middle and the last."""
    assert METHODS["p-punc"].thinned(3).points == (1, 5, 9)
    assert METHODS["p-punc"].thinned(9) == METHODS["p-punc"]
    with pytest.raises(UsageError, match="1 to 9"):
        METHODS["p-punc"].thinned(10)


def test_groups_name_several() -> None:
    """Groups and names may be mixed, and the order is that of the list."""
    assert next(method.name for method in chosen(["ideas", "P-PUNC "])) == "p-punc"
    assert {method.name for method in chosen(["all"])} == METHODS.keys()
    with pytest.raises(UsageError, match="did you mean 'p-punc'"):
        chosen(["p-punk"])
    with pytest.raises(UsageError, match="'p-punc' is missing"):
        chosen(["rand"])


def test_a_sweep_file_and_options(tmp_path: Path, prompts: Path) -> None:
    """Options go before the file, and what neither says has a default; paths in the file are relative to it."""
    file = tmp_path / "sweep.toml"
    file.write_text('prompts = "prompts.jsonl"\nmethods = "p,h"\npoints = 3\n[settings]\nmin_p = 0.05\n')
    plan = planned(Wanted(methods=("p",), samples=4).over(read_wanted(file)))
    assert [question.id for question in plan.questions] == ["fox", "sea"]
    assert [method.name for method in plan.methods] == ["p"]
    assert (plan.n_points, plan.n_samples, plan.n_answers) == (3, 4, 24)
    assert plan.settings.aligned.min_p == 0.05
    assert plan.settings.aligned.temperature == 1
    assert prompts.parent == tmp_path


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("prompts = 3", "prompts = 3"),
        ('promts = "a"', "did you mean 'prompts'"),
        ("[settings", "not TOML"),
        ('prompts = "prompts.jsonl"\nsamples = 1', "at least two answers"),
        ('prompts = "prompts.jsonl"\n[settings]\nrouter = "P"', "methods turn"),
        ('prompts = "prompts.jsonl"\n[settings]\nmin_q = 1', "did you mean 'min_p'"),
        ('prompts = "none.jsonl"', "cannot be read"),
        ("points = 2", "needs prompts"),
    ],
)
def test_what_cannot_be_planned_is_named(tmp_path: Path, prompts: Path, text: str, error: str) -> None:
    """A sweep file that cannot be carried out is refused before a model is loaded."""
    assert prompts.exists()
    file = tmp_path / "sweep.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=error):
        planned(read_wanted(file))


def test_paraphrases_are_needed_or_left_out(tmp_path: Path) -> None:
    """All methods means all that the prompts allow; a method that is named wants its paraphrases."""
    file = tmp_path / "plain.txt"
    file.write_text("a fox\n")
    assert "paraphrase" not in {method.name for method in planned(Wanted(prompts=file)).methods}
    with pytest.raises(UsageError, match="no paraphrases"):
        planned(Wanted(prompts=file, methods=("paraphrase",)))


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ('{"prompt": "a", "paraphrases": "b"}', "paraphrases is 'b'"),
        ('{"prompt": "a", "constraints": {"word": 3}}', "no constraint 'word'"),
        ('{"prompt": "a", "constraints": [1]}', "give an object"),
        (
            '{"custom_id": "a", "body": {"messages": [{"role": "user", "content": "a"}], "temperature": 1.5}}',
            "asked alike",
        ),
    ],
)
def test_odd_prompts_are_refused(tmp_path: Path, line: str, error: str) -> None:
    """What a prompt file says beside the prompts is checked with its line."""
    file = tmp_path / "prompts.jsonl"
    file.write_text(line + "\n")
    with pytest.raises(UsageError, match=error):
        planned(Wanted(prompts=file))


def test_the_control_is_matched_on_other_prompts(tmp_path: Path) -> None:
    """A prompt of the study is never among those that a control is matched on."""
    other = tmp_path / "other.txt"
    other.write_text("a fox\na bird\n")
    asked = tmp_path / "asked.txt"
    asked.write_text("a fox\n")
    assert planned(Wanted(prompts=asked, held_out=other)).held_out == ("a bird",)
