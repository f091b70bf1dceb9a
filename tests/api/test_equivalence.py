import pytest

import optc
from optc.api.twins import TwinError
from optc.compiler.meaning.report import data, text

LENT = """
extern precondition lent(b1 = 0.9 in [0, 1), b2 = 0.999 in [0, 1), eps = 1e-8 in [0, inf)) =
  optax.scale_by_adam(b1, b2, eps)

optimizer borrowed(rate = 1e-3 in [0, inf)) {
  precondition lent(0.9)
  tune step    rate
}
"""


def test_a_transformation_that_a_spec_names_is_followed(tmp_path):
    path = tmp_path / "borrowed.opt"
    path.write_text(LENT)
    assert optc.equiv(path, "adam", steps=2, maps=False).same


def test_what_optax_works_out_in_float32_is_said():
    """Optax takes the root of the step count in float32, and so the weight of each gradient."""
    found = optc.equiv("madgrad", "optax:contrib.madgrad(lr)", steps=4, maps=False)
    assert found.same is False
    assert "what one value in float32 would do" in text(found)


def test_what_everyone_asks_first():
    """Optax's default for the decay is a hundredth of torch's and ours."""
    found = optc.equiv("adamw", "optax:adamw(1e-3)", steps=4)
    assert found.same is False
    assert [(x.name, x.a, x.b) for x in found.differences] == [("decay", 0.01, 0.0001)]
    shown = text(found).splitlines()
    assert shown[1:3] == [
        "  `decay` is 0.01 in adamw and 0.0001 in optax:adamw(1e-3); "
        "at equal values they are one map",
        "  optax:adamw(1e-3) is adamw("
        "lr = 0.001, b1 = 0.9, b2 = 0.999, eps = 1e-08, decay = 0.0001), on tapes",
    ]
    assert found.blame is None
    assert not found.notes
    assert data(found)["values"] == [{"name": "decay", "a": 0.01, "b": 0.0001}]
    (claim,) = data(found)["maps"]
    assert (claim["name"], claim["of"], claim["claimed"]) == ("optax:adamw(1e-3)", "adamw", True)


def test_two_expressions_of_one_optimizer_differ_in_a_value():
    found = optc.equiv("optax:sgd(0.1, 0.9)", "optax:sgd(0.1, 0.8)", steps=4)
    assert [(x.name, x.a, x.b) for x in found.differences] == [("momentum", 0.9, 0.8)]
    assert [each.of for each in found.maps] == ["momentum", "momentum"]


def test_the_spec_that_an_expression_is_takes_its_place_in_maps():
    found = optc.equiv("sgd", "optax:sgd(0.1, 0.9)", steps=4)
    claimed, searched = text(found).splitlines()[1], text(found).splitlines()[-1]
    assert claimed == "  optax:sgd(0.1, 0.9) is momentum(lr = 0.1, momentum = 0.9), on tapes"
    assert searched == "  sgd is momentum(lr = lr, momentum = 0), by normal form"
    assert "float32" not in text(found)


def test_values_that_the_spec_would_refuse_are_not_claimed():
    found = optc.equiv("adam", "optax:adam(1e-3, b1=1.5)", steps=4, maps=False)
    assert found.same is False
    assert found.maps == ()
    assert found.notes == ("adam is taken at lr = 0.001, b1 = 0.9, b2 = 0.999, eps = 1e-08",)


def test_a_state_that_is_narrow_is_noted(tmp_path):
    path = tmp_path / "narrow.opt"
    path.write_text(
        "optimizer narrow(lr = 1e-3 in [0, inf)) { precondition adam_bf16() tune step lr }"
    )
    found = optc.equiv(path, "adam", steps=4, maps=False)
    assert any("in bfloat16, which is left out of account" in note for note in found.notes)


@pytest.mark.parametrize(
    ("arguments", "more", "error", "words"),
    [
        (("nosuch", "adam"), {}, FileNotFoundError, "neither a file"),
        (("adam", "sgd"), {"steps": 1}, ValueError, "`steps` is 2 at least"),
        (("adam", "optax:nope(1)"), {}, TwinError, "no transformation"),
        (
            ("adam", "optax:adam(1)"),
            {"set_b": {"lr": 1.0}},
            ValueError,
            "no hyperparameters to set",
        ),
        (("adam", "sgd"), {"set_a": {"nope": 1.0}}, optc.SpecError, "no hyperparameter `nope`"),
    ],
)
def test_wrong_calls_say_what_is_wrong(arguments, more, error, words):
    with pytest.raises(error, match=words):
        optc.equiv(*arguments, **more)
