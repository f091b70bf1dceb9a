import pytest

import optc
from optc.api.twins import TwinError
from optc.compiler.meaning.report import text

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
