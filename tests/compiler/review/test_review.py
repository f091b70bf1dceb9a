"""`NAME.before.opt` and `NAME.after.opt` in `cases` show a change, `NAME.txt` what is said of it.

`pytest --update-goldens` writes the texts, which are then reviewed as a diff.
"""

import re
from pathlib import Path

import pytest

from optc.compiler import library
from optc.compiler.budget.models import model
from optc.compiler.graphs import lowered_graph
from optc.compiler.locate import Located, find
from optc.compiler.review.between import reviews
from optc.compiler.review.records import Change
from optc.compiler.review.text import joined, markdown, text
from optc.grammar import syntax
from optc.grammar.diagnostic import Diagnostics, SpecError
from optc.grammar.parse import parse
from optc.grammar.source import Source

CASES = Path(__file__).parent / "cases"
NAMES = sorted(path.name.removesuffix(".before.opt") for path in CASES.glob("*.before.opt"))
OF_THE_LIBRARY = [
    ("rmsprop_centered", "sgd_torch"),  # states that are one, at other places
    ("adamw", "adam_coupled"),  # decoupled and coupled decay
    ("adamw", "adamw_paper"),  # where the schedule acts
    ("nadam", "nadam_torch"),  # one name, two kinds of mathematics
    ("adamw", "mup_adamw"),  # a pipeline that is divided into groups
    ("sam", "fsam"),  # other oracles
    ("signum", "lion"),
]


def located(text, name="mine.opt", optimizer=None):
    return Located(Source(name, text), optimizer)


def case(name):
    sides = (CASES / f"{name}.{side}.opt" for side in ("before", "after"))
    before, after = (located(path.read_text(encoding="utf-8"), path.name) for path in sides)
    return reviews(before, after)


def is_told(path, found, update_goldens):
    if update_goldens:
        path.write_text(f"{found}\n" if found else "", encoding="utf-8")
    return (f"{found}\n" if found else "") == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_a_change_gets_its_text(name, update_goldens):
    assert is_told(CASES / f"{name}.txt", joined(map(text, case(name))), update_goldens)


@pytest.mark.parametrize(("before", "after"), OF_THE_LIBRARY, ids="-".join)
def test_two_optimizers_of_the_library_get_their_text(before, after, update_goldens):
    found = joined(map(text, reviews(find(before), find(after))))
    assert is_told(CASES / f"{before}-{after}.txt", found, update_goldens)


@pytest.mark.parametrize("name", ["groups", "states"])
def test_real_weights_show_what_moved(name, update_goldens):
    sides = [CASES / f"{name}.{side}.opt" for side in ("before", "after")]
    before, after = (located(path.read_text(encoding="utf-8"), path.name) for path in sides)
    found = joined(map(text, reviews(before, after, model("gpt2-124m"))))
    assert is_told(CASES / f"{name}-gpt2.txt", found, update_goldens)


def test_a_review_says_that_a_rewritten_rule_means_the_same():
    (found,) = case("rewritten")
    assert found
    assert found.same


def test_a_function_that_is_handed_on_is_part_of_what_changed():
    before = """
    func half(x) { return x / 2 }
    func third(x) { return x / 3 }
    func apply(op, x) { return op(x) }
    rule precondition own(op: func = half) { return apply(op, g) + apply(third, g) }
    optimizer a(lr = 0.1) { precondition own()  tune step lr }
    """
    after = before.replace("x / 2", "x / 4").replace("x / 3", "x / 5")
    (found,) = reviews(located(before, optimizer="a"), located(after, optimizer="a"))
    said = text(found)
    assert all(f"func {name}" in said for name in ("half", "third"))
    assert "func apply" not in said
    named = before.replace("own()", "own(op = half)")
    assert not any(reviews(located(before, optimizer="a"), located(named, optimizer="a")))


def test_layout_comments_and_spelling_are_no_change():
    assert not any(case("layout"))
    assert joined(map(text, case("layout"))) == ""


@pytest.mark.parametrize("name", library.names("optimizer")[::6])
def test_an_optimizer_is_as_it_was(name):
    (found,) = reviews(find(name), find(name))
    assert not found
    assert found.same


@pytest.mark.parametrize("name", NAMES)
def test_the_way_back_shows_as_many_things(name):
    sides = [located((CASES / f"{name}.{s}.opt").read_text()) for s in ("before", "after")]
    there, back = reviews(*sides), reviews(*reversed(sides))
    assert sorted(map(counts, there)) == sorted(map(counts, back))


def counts(review):
    """How many of each kind of change; what was added is removed on the way back."""
    swapped = {"added": "come or gone", "removed": "come or gone"}
    names = [
        f"{section.title} {swapped.get(change.how, change.how)}"
        for section in review.sections
        if section.title != "rules"  # shown by lines, of which there may be more on one side
        for top in section.changes
        for change in parts(top)
        if change.how != "kept"
    ]
    return sorted(names)


def parts(change: Change):
    yield change
    for inner in change.inside:
        yield from parts(inner)


def numbers(text):
    """The places of the numbers of an optimizer's stages and of its rules' bodies."""
    file = parse(Source("x.opt", text), Diagnostics())
    inside = [item.span for item in file.items if not isinstance(item, syntax.Edition | syntax.Use)]
    found = []
    for match in re.finditer(r"(?<![\w.])\d+(\.\d+)?(e-?\d+)?(?![\w.])", text):
        if any(span.start <= match.start() < span.end for span in inside):
            found.append(match.span())
    return found


@pytest.mark.parametrize(
    "name",
    [
        # `groups` and `states` have the same kinds of numbers; this one lints each.
        pytest.param(n, marks=pytest.mark.rest if n == "warnings" else ())
        for n in NAMES
        if n not in ("layout", "files")
    ],
)
def test_no_number_changes_unseen(name):
    """Where nothing is shown, the graph is the same: each number of a spec is changed in turn."""
    spec = (CASES / f"{name}.after.opt").read_text()
    spec = re.sub(r'"""(?s:.)*?"""|#.*', lambda m: re.sub(r"\d", "n", m[0]), spec)
    seen, before = 0, bare(lowered_graph(located(spec))[0])
    for start, end in numbers(spec):
        changed = f"{spec[:start]}{spec[start:end].rstrip('0') or '1'}3{spec[end:]}"
        try:
            after = bare(lowered_graph(located(changed))[0])
            (found,) = reviews(located(spec), located(changed))
        except SpecError:
            continue
        seen += 1
        assert found or before == after, changed
    assert seen


def bare(graph):
    """A graph without the text that it was made from."""
    text = graph.model_dump(exclude={"doc", "file", "stages"})
    for each in (*text["hyperparameters"], *text["groups"]):
        each["place"] = ""
    return text


def test_no_docstring_ends_a_block_of_markdown():
    spec = 'optimizer a() { """One. Two ````. Three."""\n tune step {} }'
    (found,) = reviews(
        located(spec.replace("{} }", "1 }")), located("optimizer a() { tune step 1 }")
    )
    assert markdown(found).count("\n`````") == 2


def test_mistakes_of_both_are_reported():
    with pytest.raises(SpecError) as caught:
        reviews(located("optimizer a() { tune step x }", "a.opt"), located("rule clip", "b.opt"))
    assert {d.span.source.name for d in caught.value.diagnostics} == {"a.opt", "b.opt"}


def test_what_a_comment_allows_is_no_warning():
    before = (CASES / "warnings.before.opt").read_text(encoding="utf-8")
    after = (CASES / "warnings.after.opt").read_text(encoding="utf-8")
    allowed = after.replace("weights(decay)", "weights(decay)  # allow: coupled-decay")
    assert allowed != after
    (review,) = reviews(located(before), located(allowed))
    assert [section.title for section in review.sections] == ["stages"]
