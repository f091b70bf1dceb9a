"""What a compiled step moves is the least and reasons, and what XLA cannot count is said."""

import json

import jax
import pytest

import optc
from optc.api.compiled import ANSWERS, ASKED, NoStepError, _doubts
from optc.api.excess import excess
from optc.api.hlo import Array, parse
from optc.compiler.budget.least import GRADIENT, WEIGHTS

SOURCE = """
@rt.per_tensor
def update(mu, g, w):
    # 3 | precondition momentum(0.9)
    mu = 0.9 * mu + g
    # 4 | tune step lr
    return mu, 0.1 * mu


def step(w, slots, t, h, oracles):
    # 5 | observe norm(g) as grad_norm
    grad_norm = rt.norm(g)
"""

MODULE = """HloModule jit_step, is_scheduled=true

FileNames
1 "/somewhere/kernels.py"
2 "<optc own 0123>"

FunctionNames
1 "run"
2 "update"

FileLocations
1 {file_name_id=1 function_name_id=1 line=50 end_line=50 column=1 end_column=2}
2 {file_name_id=2 function_name_id=2 line=5 end_line=5 column=1 end_column=2}
3 {file_name_id=2 function_name_id=2 line=12 end_line=12 column=1 end_column=2}

StackFrames
1 {file_location_id=1 parent_frame_id=1}
2 {file_location_id=2 parent_frame_id=2}
3 {file_location_id=3 parent_frame_id=1}

%squared (p: f32[100]) -> f32[100] {
  %p = f32[100]{0} parameter(0)
  ROOT %multiply = f32[100]{0} multiply(%p, %p), metadata={op_name="a(b)" stack_frame_id=3}
}

%moved (p.1: f32[100], q: f32[100]) -> f32[100] {
  %p.1 = f32[100]{0} parameter(0)
  %q = f32[100]{0} parameter(1)
  ROOT %add = f32[100]{0} add(%p.1, %q)
}

%together (p.2: f32[100], q.2: f32[100]) -> f32[100] {
  %p.2 = f32[100]{0} parameter(0)
  %q.2 = f32[100]{0} parameter(1)
  ROOT %inner = f32[100]{0} fusion(%p.2, %q.2), kind=kLoop, calls=%moved
}

ENTRY %main (w: f32[100], mu: f32[100], g: f32[100], lr: f32[]) -> (f32[100], f32[100], f32[]) {
  %w = f32[100]{0} parameter(0), metadata={op_name="params[\\'w\\']"}
  %mu = f32[100]{0} parameter(1)
  %g = f32[100]{0:T(8)} parameter(2)
  %lr = f32[] parameter(3)
  %zero = f32[] constant(0)
  %kept = f32[100]{0} fusion(%g), kind=kLoop, calls=%squared, metadata={stack_frame_id=3}
  %norm = f32[] reduce(%kept, %zero), dimensions={0}, to_apply=%moved, metadata={stack_frame_id=3}
  %old = f32[100]{0} copy(%mu)
  %next = f32[100]{0} call(%old, %g), to_apply=%together, metadata={stack_frame_id=2}
  %largest = f32[2]{0} fusion(%g, %lr), kind=kLoop, calls=%moved, metadata={stack_frame_id=3}
  %bits = f32[100]{0} bitcast(%next)
  %after = f32[100]{0} fusion(%w, %bits, %lr, /*index=3*/%norm), kind=kLoop, calls=%moved
  ROOT %tuple = (f32[100]{0}, f32[100]{0}, f32[]) tuple(%after, %next, %norm)
}
"""


def test_each_byte_beyond_the_least_has_a_reason_and_a_line():
    found = excess(parse(MODULE), [WEIGHTS, "mu", GRADIENT, ""], [WEIGHTS, "mu", ""], SOURCE, 4000)
    observe = "5 | observe norm(g) as grad_norm"
    assert {(x.why, x.of, x.lines): x.bytes for x in found} == {
        ("kept", (GRADIENT,), (observe,)): 1200,  # g is read, its square written and read
        ("kernels", ("mu",), ()): 400,
        ("copy", ("mu",), ()): 800,
        ("reduction", (GRADIENT,), (observe,)): 400,
        ("scalars", (), ()): 4 + 2 * 4 + 2 * 4 + 2 * 4,
        ("other", (), ()): 4000 - 2000 - 2800 - 28,
    }


def test_the_text_of_a_module_is_read():
    module = parse(MODULE)
    by_name = {one.name: one for one in module.entry.instructions}
    assert by_name["tuple"].arrays == (Array(4, 100), Array(4, 100), Array(4, 1))
    assert by_name["after"].operands == ("w", "bits", "lr", "norm")
    assert by_name["g"].number == 2
    assert module.frames[2] == (("<optc own 0123>", 5), ("/somewhere/kernels.py", 50))
    assert module.entry.root == "tuple"


LOOSE = """HloModule loose

%body (p: s32[]) -> s32[] {
  %p = s32[] parameter(0)
  ROOT %qr = s32[] custom-call(%p), custom_call_target="lapack_sgeqrf_ffi", operand_layout={}
}

%side (q: s32[]) -> s32[] {
  ROOT %q = s32[] parameter(0)
}

ENTRY %main (a: s32[]) -> s32[] {
  %a = s32[] parameter(0)
  %loop = s32[] while(%a), condition=%side, body=%body
  ROOT %chosen = s32[] conditional(%a, %loop, %loop), branch_computations={%body, %side}
}
"""


def test_what_xla_does_not_count_as_it_happens_is_said():
    assert list(_doubts(parse(LOOSE))) == [
        "1 loop: one round of each is counted, and not how many there are",
        "1 choice: the dearest side of each is counted",
        "2 calls of lapack_sgeqrf_ffi: nothing of it is counted",
    ]


SPEC = """
optimizer own(lr = 0.1, b = 0.9) {
  clip         global_norm(1.0)
  precondition adam()
  decay        weights(0.1) where ndim >= 2
  tune step    lr
  observe      norm(u) as size
}
"""
PARAMS = {
    "kernel": jax.ShapeDtypeStruct((64, 32), "float32"),
    "bias": jax.ShapeDtypeStruct((96,), "float32"),
}


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    path = tmp_path_factory.mktemp("specs") / "own.opt"
    path.write_text(SPEC, encoding="utf-8")
    return optc.plan(path, PARAMS, compiled=True)


def test_a_compiled_step_moves_the_least_and_what_its_reasons_say(planned):
    step, size = planned.compiled, 4 * (64 * 32 + 96)
    assert {x.name: (x.read, x.written) for x in step.least} == {
        WEIGHTS: (size, size),
        GRADIENT: (size, 0),
        "precondition.mu": (size, size),
        "precondition.nu": (size, size),
    }
    least = sum(x.bytes for x in step.least)
    assert step.accessed == least + sum(x.bytes for x in step.excess)
    # All but pointers and parts of sums is followed through the program.
    other = sum(x.bytes for x in step.excess if x.why in ("other", "scalars"))
    assert abs(other) < 0.05 * least
    assert step.aliased == step.donated == 3 * size + 4 * 3
    assert not step.doubts


def test_reasons_name_lines_of_the_spec(planned):
    named = {line for x in planned.compiled.excess for line in x.lines}
    assert "3 | clip global_norm(1.0)" in named
    assert all(" | " in line for line in named)
    text = str(planned)
    assert "the least possible" in text
    assert json.loads(json.dumps(planned.to_dict()))["compiled"]["accessed"]


def test_what_a_step_asks_about_and_the_answers_are_a_part_of_the_least():
    step, size = optc.plan("sam", PARAMS, compiled=True).compiled, 4 * (64 * 32 + 96)
    found = {x.name: (x.read, x.written) for x in step.least}
    assert found[ASKED] == (0, size)
    assert found[ANSWERS] == (size, 0)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("sso", "sso.* asks for `outputs`, which only a model"),
        ("lbfgs", "lbfgs.* asks for `grad` in a loop or a choice"),
    ],
)
def test_a_step_whose_questions_only_a_model_answers_is_refused(name, why):
    with pytest.raises(NoStepError, match=why):
        optc.plan(name, PARAMS, compiled=True)
