"""Variants: each is the optimizer that a person would have written out by hand."""

from dataclasses import replace
from pathlib import Path

import pytest
from agreement import graph_of, located, mistakes

from optc.compiler.check import check
from optc.compiler.driver import compile_spec, optax_chain
from optc.compiler.locate import find

EXAMPLES = Path(__file__).parents[1] / "examples"

BASE = """
optimizer base(lr = 0.1 in [0, inf), d = 0.01 in [0, 1), k = lr / 10) {
  clip value(k)
  clip global_norm(1.0)
  group hidden where ndim >= 2 {
    precondition adam()
    decay        weights(d)
    tune step    lr
  }
  group rest {
    precondition momentum(0.9)
    tune step    lr
  }
  observe clip_2.scale as scale
  observe norm(g) as grad_norm
}
"""


def same(text, base=BASE, name="v"):
    """That the last optimizer of `text` is `name` of `base` with these edits."""

    def meaning(graph):
        parameters = [replace(h, place="") for h in graph.hyperparameters]
        return graph.step, graph.start, graph.slots, graph.domains, graph.outputs, parameters

    edits, _, by_hand = text.partition("====")
    assert meaning(graph_of(f"{base}\n{edits}")) == meaning(graph_of(by_hand))


def test_edits_speak_of_the_base_as_it_stands():
    same(
        """optimizer v from base {
          drop clip
          drop hidden.decay
          replace hidden.precondition with adam(b1 = 0.8)
          insert clip value(2.0) after clip_2
          insert precondition sign() before rest.tune
          replace grad_norm with norm(u)
        } ====
        optimizer v(lr = 0.1 in [0, inf)) {
          clip global_norm(1.0)
          clip value(2.0)
          group hidden where ndim >= 2 { precondition adam(b1 = 0.8)  tune step lr }
          group rest { precondition momentum(0.9) precondition sign() tune step lr }
          observe clip.scale as scale
          observe norm(u) as grad_norm
        }"""
    )


def test_a_group_and_an_observation_are_dropped_by_their_names():
    same(
        """optimizer v from base { drop hidden drop scale drop clip_2 } ====
        optimizer v(lr = 0.1 in [0, inf), k = lr / 10) {
          clip value(k)
          group rest { precondition momentum(0.9) tune step lr }
          observe norm(g) as grad_norm
        }"""
    )


def test_a_stage_gives_its_place_to_one_of_another_kind():
    same(
        """optimizer v from base {
          drop clip
          insert clip global_norm(9.0) before clip
          insert clip global_norm(8.0) before clip
        } ====
        optimizer v(lr = 0.1 in [0, inf), d = 0.01 in [0, 1)) {
          clip global_norm(9.0)
          clip global_norm(8.0)
          clip global_norm(1.0)
          group hidden where ndim >= 2 { precondition adam() decay weights(d) tune step lr }
          group rest { precondition momentum(0.9) tune step lr }
          observe clip_3.scale as scale
          observe norm(g) as grad_norm
        }"""
    )


def test_parameters_are_added_and_changed_where_the_variant_says_so():
    same(
        """optimizer v from base with (lr = 0.2, limit = 3.0, d in [0, 0.5]) {
          replace clip with value(limit)
        } ====
        optimizer v(lr = 0.2 in [0, inf), d = 0.01 in [0, 0.5], limit = 3.0) {
          clip value(limit)
          clip global_norm(1.0)
          group hidden where ndim >= 2 { precondition adam() decay weights(d) tune step lr }
          group rest { precondition momentum(0.9) tune step lr }
          observe clip_2.scale as scale
          observe norm(g) as grad_norm
        }"""
    )


def test_where_stays_when_a_rule_is_replaced():
    same(
        """optimizer base2(lr = 0.1) { decay weights(0.1) where ndim >= 2  tune step lr }
        optimizer v from base2 { replace decay with weights(0.2) } ====
        optimizer v(lr = 0.1) { decay weights(0.2) where ndim >= 2  tune step lr }""",
        base="",
    )


def test_a_variant_of_a_variant_and_of_the_library():
    same(
        """optimizer lean from momentum with (lr = 0.5) { replace precondition with sign() }
        optimizer v from lean { drop grad_norm } ====
        optimizer v(lr = 0.5 in [0, inf)) { precondition sign()  tune step lr }""",
        base="",
    )


def test_no_edit_is_the_base_under_another_name():
    own, other = compile_spec(find("adamw")), compile_spec(located("optimizer v from adamw {}"))
    assert own.graph.step == other.graph.step


RULES = "rule clip mine() {{ return {} * g }}\n"


def test_inherited_stages_find_their_rules_in_the_file_of_the_base(tmp_path):
    (tmp_path / "base.opt").write_text(
        RULES.format(2) + "optimizer base() { clip mine()  tune step 0.1 }"
    )
    (tmp_path / "own.opt").write_text(
        'use "base.opt"\n'
        + RULES.format(3)
        + "optimizer v from base { insert clip mine() after clip }"
    )
    (tmp_path / "hand.opt").write_text(
        RULES.format(2)
        + RULES.format(3).replace("mine", "yours")
        + "optimizer v() { clip mine()  clip yours()  tune step 0.1 }"
    )
    variant, by_hand = (graph_of(find(str(tmp_path / f"{n}.opt"))) for n in ("own", "hand"))
    assert variant.step == by_hand.step


def test_messages_about_an_inherited_stage_show_the_line_of_the_base(tmp_path):
    (tmp_path / "base.opt").write_text("optimizer base() { clip nowhere()  tune step 0.1 }")
    (tmp_path / "own.opt").write_text('use "base.opt"\noptimizer v from base {}')
    (found,) = check(find(str(tmp_path / "own.opt"))).sorted()
    assert found.code == "unknown-rule"
    assert found.span.source.name.endswith("base.opt")


def test_one_mistake_of_a_base_is_reported_once():
    text = "optimizer b() { clip nowhere()  tune step 0.1 }\noptimizer v from b {}"
    assert mistakes(text) == ["unknown-rule: no clip rule is named `nowhere`"]


def test_printed_lines_name_the_file_of_an_inherited_stage():
    source = compile_spec(located("optimizer v from sgd with (lr = 1.0) {}")).source
    assert "# optimizer/sgd.opt:" in source


def test_a_variant_prints_a_chain_of_optax():
    text = "optimizer v from adamw { replace precondition with adam(b1 = 0.5)  drop decay }"
    chain = optax_chain(located(text))
    assert "optax.scale_by_adam(0.5," in chain
    assert "add_decayed_weights" not in chain


def test_a_variant_is_chosen_by_its_name(tmp_path):
    path = tmp_path / "two.opt"
    path.write_text(f"{BASE}\noptimizer v from base {{ drop clip }}\noptimizer w from v {{}}")
    assert compile_spec(find(f"{path}:v")).name == "v"


@pytest.mark.parametrize("length", [20, 21])
def test_chains_of_variants_are_bounded(length):
    text = "optimizer v0() { tune step 0.1 }\n" + "\n".join(
        f"optimizer v{n} from v{n - 1} {{}}" for n in range(1, length + 1)
    )
    codes = {m.partition(":")[0] for m in mistakes(text)}
    assert codes == (set() if length == 20 else {"circular-variant"})


def test_the_example_of_matrices_is_written_out():
    assert not check(find(f"{EXAMPLES}/rules_matrix.opt:muon_nodecay")).sorted()
