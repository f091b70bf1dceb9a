"""Values as formulas, in the letters of papers and in the brackets that they need."""

import pytest
from boxes import graph_from, graph_of

from optc.compiler.notation.formula import formula
from optc.compiler.notation.mathml import MathmlWriter
from optc.compiler.notation.plain import TextWriter
from optc.compiler.notation.symbols import LETTERS, RELATIONS, SIGNS, Names, symbol
from optc.compiler.notation.tex import LatexWriter
from optc.compiler.notation.tree import Fraction, Infix, Number, Power, Prefix, Root, Symbol
from optc.compiler.notation.writer import decimal
from optc.compiler.ops import OPS

A, B, C, T = (Symbol(letter) for letter in "abct")


@pytest.mark.parametrize(
    ("tree", "plain", "tex"),
    [
        (Infix("-", A, Infix("-", B, C)), "a − (b − c)", "a - (b - c)"),
        (Infix("-", Infix("-", A, B), C), "a − b − c", "a - b - c"),
        (Infix("+", A, Infix("+", B, C)), "a + b + c", "a + b + c"),
        (Infix("-", A, Fraction(B, C)), "a − b / c", r"a - \frac{b}{c}"),
        (Infix("·", Fraction(A, B), C), "(a / b) c", r"\frac{a}{b} \thinspace c"),
        (Fraction(A, Infix("·", B, C)), "a / (b c)", r"\frac{a}{b \thinspace c}"),
        (Fraction(Fraction(A, B), C), "(a / b) / c", r"\frac{\frac{a}{b}}{c}"),
        (Infix("·", Infix("+", A, B), C), "(a + b) c", r"(a + b) \thinspace c"),
        (Infix("·", A, Number(2)), "a · 2", r"a \cdot 2"),
        (Infix("·", A, Number(-2)), "a (−2)", r"a \thinspace (-2)"),
        (Infix("+", A, Number(-2)), "a + (−2)", "a + (-2)"),
        (Infix("+", Prefix("-", A), B), "−a + b", "-a + b"),
        (Infix("·", Number(3e-4), A), "3×10⁻⁴ a", r"3 \times 10^{-4} \thinspace a"),
        (Power(Number(3e-4), Number(2)), "(3×10⁻⁴)²", r"(3 \times 10^{-4})^{2}"),
        (Power(Number(1e-8), Number(2)), "(10⁻⁸)²", "(10^{-8})^{2}"),
        (Prefix("-", Infix("·", A, B)), "−a b", r"-a \thinspace b"),
        (Infix("·", A, Prefix("-", B)), "a (−b)", r"a \thinspace (-b)"),
        (Power(Prefix("-", A), Number(2)), "(−a)²", "(-a)^{2}"),
        (Prefix("-", Power(A, Number(2))), "−a²", "-a^{2}"),
        (Power(A, T), "aᵗ", "a^{t}"),
        (Power(A, Infix("-", T, Number(1))), "a^(t − 1)", "a^{t - 1}"),
        (Power(Power(A, B), C), "(a^b)^c", "(a^{b})^{c}"),
        (Root(Infix("+", A, B)), "√(a + b)", r"\sqrt{a + b}"),
        (Infix("<", Infix("<", A, B), C), "(a < b) < c", "(a < b) < c"),
        (Prefix("¬", Infix("<", A, B)), "¬(a < b)", r"\neg (a < b)"),
        (Number(3e-4), "3×10⁻⁴", r"3 \times 10^{-4}"),
        (Symbol("beta", below=("1",)), "β₁", r"\beta_{1}"),
        (Symbol("m", "hat", time="t"), "m̂ₜ", r"\hat{m}_{t}"),
        (Symbol("v", below=("row",), time="t-1"), "v_rowₜ₋₁", r"v_{\text{row}, t-1}"),
        (Symbol("max_dist"), "max_dist", r"\text{max-dist}"),
    ],
)
def test_brackets_are_where_they_are_needed(tree, plain, tex):
    assert TextWriter().write(tree) == plain
    assert LatexWriter().write(tree) == tex
    assert MathmlWriter().write(tree).startswith("<m")


@pytest.mark.parametrize(
    "value", [0.0, 1.0, -2.5, 1e-8, 3.16e-3, 2.0**-52, 1e300, -1e-300, 12345678]
)
def test_the_digits_of_a_number_are_exact(value):
    digits, power = decimal(value)
    assert float(f"{digits}e{power or 0}") == value


@pytest.mark.parametrize(
    ("name", "role", "expected"),
    [
        ("lr", "hyperparameter", Symbol("eta")),
        ("b1", "hyperparameter", Symbol("beta", below=("1",))),
        ("eps_root", "hyperparameter", Symbol("epsilon", below=("root",))),
        ("decay_rate", "hyperparameter", Symbol("decay_rate")),
        ("mu", "state", Symbol("m")),
        ("nu_max", "state", Symbol("v", below=("max",))),
        ("adalayer_rows_nu", "state", Symbol("v", below=("adalayer_rows",))),
        ("coin_bet_s_2", "state", Symbol("coin_bet_s", below=("2",))),
        ("w_next", "value", Symbol("theta", "tilde")),
        ("nu_hat", "value", Symbol("v", "hat")),
    ],
)
def test_names_have_the_letters_of_papers(name, role, expected):
    assert symbol(name, role) == expected


def test_no_symbol_is_given_twice():
    names = Names()
    asked = [symbol(n) for n in ("u", "u", "u_2", "mu", "m", "nu_2", "nu", "v", "u")]
    given = [names.take(each) for each in asked] + [names.spare() for _ in range(60)]
    assert len(set(given)) == len(given)
    assert len({TextWriter().write(each) for each in given}) == len(given)


def test_every_sign_of_the_op_table_is_known():
    signs = {op.notation for op in OPS.values()}
    assert {sign for layout, sign in signs if layout == "infix"} <= set(RELATIONS)
    assert {s for layout, s in signs if layout in ("product", "quadratic", "sample")} <= set(SIGNS)
    assert all(tex.isascii() for _, tex in (*LETTERS.values(), *SIGNS.values()))


def formulas(graph):
    return {n.name: formula(graph, n.id) for n in graph.step.nodes if n.name and n.inputs}


def test_a_value_is_written_out_down_to_what_has_a_name():
    assert formulas(graph_of("adamw")) == {
        "loss": "L(θ)",
        "g": "∇L(θ)",
        "mu": "β₁ m + (1 − β₁) g",
        "nu": "β₂ v + (1 − β₂) g²",
        "u": "u + λ θ",
        "step": "η u",
        "grad_norm": "‖g‖",
    }


def test_what_is_too_deep_is_an_ellipsis():
    graph = graph_from(
        "optimizer deep(a = 1.0) { tune step a * (1 + a * (1 + a * (1 + a * (1 + a * t)))) }"
    )
    (eta,) = (n for n in graph.step.nodes if n.name == "eta")
    assert formula(graph, eta.id) == "a (1 + a (1 + a (1 + a (1 + …))))"
    assert formula(graph, eta.id, depth=2) == "a (1 + …)"


def test_a_power_that_is_a_quotient_of_numbers_stands_on_one_line():
    raised = Power(Symbol("A"), Fraction(Number(-1), Number(4)))
    assert LatexWriter().write(raised) == "A^{-1/4}"
    assert "<mn>−1</mn><mo>/</mo><mn>4</mn>" in MathmlWriter().write(raised)
