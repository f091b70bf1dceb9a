"""How often a step asks, at most: against counts of the interpreter where they are reached."""

import pytest
from agreement import graph_of, interpret

from optc.compiler.graphs import optimised
from optc.compiler.questions import questions


def asked(body, parameters=""):
    text = f"""
    rule precondition own({parameters}) {{ var x = g  {body}  return x }}
    optimizer one({parameters}) {{
      precondition own({"n" if parameters else ""})
      tune step 0.1
    }}
    """
    return optimised(graph_of(text))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", {}),
        ("repeat 3 { x <- hvp(x) }", {"hvp": "3"}),
        ("repeat 3 { repeat 2 { x <- hvp(x) }  x <- x + ggn(x) }", {"hvp": "6", "ggn": "3"}),
        ("repeat 0 { x <- hvp(x) }", {}),
        ("x <- hvp(x)  if norm(x) > 1 { x <- hvp(hvp(x)) }", {"hvp": "up to 3"}),
        ("if norm(x) > 1 { x <- hvp(x) } else { x <- hvp(w) }", {"hvp": "1"}),
        ("every 10 { x <- hvp(x) }", {"hvp": "up to 1"}),
        ("repeat 4 while loss(w + x) > 1 { x <- hvp(x) }", {"loss": "up to 6", "hvp": "up to 4"}),
        ("x <- cg(d => ggn(d) + 0.1 * d, g, 5)", {"ggn": "up to 5"}),
        ("x <- x * per_example_mean(e => norm(e))", {"per_example_grad": "1"}),
        ("x <- x * hutchinson(d => ggn(hvp(d)), 5)", {"hvp": "5", "ggn": "5"}),
        ("x <- x * xtrace(hvp, 4)", {"hvp": "8"}),
    ],
)
def test_a_step_asks(body, said):
    found = {name: str(times) for name, times in questions(asked(body)).items()}
    assert found == {"loss": "1", "grad": "1"} | said


def test_rounds_of_a_parameter_are_those_of_its_default():
    body = "repeat n { x <- hvp(x) }"
    assert str(questions(asked(body, "n: int = 7"))["hvp"]) == "7"
    assert str(questions(asked(body, "n: int"))["hvp"]) == "as often as a parameter says"


def test_a_step_that_asks_as_often_as_it_can_asks_so_often():
    graph = asked("repeat 3 { x <- hvp(x) }  if t > 0 { x <- ggn(ggn(x)) }")
    (moment,) = interpret(graph, steps=1).counts
    assert {"hvp": moment["hvp"], "ggn": moment["ggn"]} == {"hvp": 3, "ggn": 2}
    assert {name: times.most for name, times in questions(graph).items()} == moment
