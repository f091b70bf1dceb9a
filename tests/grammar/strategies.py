"""Random syntax trees: every file that can be said, with spans that point nowhere."""

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from optc.grammar import syntax as s
from optc.grammar.literals import doc_text
from optc.grammar.source import Source, Span

# The phase left out explains failures, for which it traces every line of every example.
law = settings(
    max_examples=60,
    deadline=None,
    phases=[phase for phase in Phase if phase is not Phase.explain],
    suppress_health_check=list(HealthCheck),
)

NOWHERE = Span(Source("<made>", ""), 0, 0)

RESERVED = {"and", "or", "not", "is", "matches", "true", "false"}
# These begin a statement, so they are no names of values, but may be names of anything else.
STATEMENT_WORDS = {
    "state", "var", "repeat", "if", "every", "when", "return", "evaluate", "error", "else",
}  # fmt: skip
# Words of the language that are free as names.
FREE_WORDS = (
    "where", "clip", "decay", "step", "rest", "total", "min", "trace", "view", "as", "in", "with",
    "group", "observe", "request", "assert", "before", "after", "while", "rule", "use", "T",
    "lifting", "lambda", "class", "blocks", "of", "staggered",
    "tune", "accumulate", "drop", "insert", "replace", "from", "equals", "stochastic", "edition",
)  # fmt: skip

identifiers = st.one_of(
    st.sampled_from(("x", "g", "w", "mu", "b1", "_", *FREE_WORDS, *sorted(STATEMENT_WORDS))),
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True),
).filter(lambda name: name not in RESERVED)
names = st.builds(s.Name, st.just(NOWHERE), identifiers)
value_names = names.filter(lambda name: name.id not in STATEMENT_WORDS)
kinds = st.builds(s.Name, st.just(NOWHERE), st.sampled_from(s.KINDS))

printable = st.characters(exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp"))


def node(kind, *parts):
    """A strategy for nodes of a kind, from strategies for its fields after the span."""
    return st.builds(kind, st.just(NOWHERE), *parts)


def many(strategy, least=0, most=3):
    return st.lists(strategy, min_size=least, max_size=most).map(tuple)


def maybe(strategy):
    return st.none() | strategy


# ---- expressions


def _number(text):
    value = int(text.replace("_", "")) if text.replace("_", "").isdigit() else float(text)
    return s.Number(NOWHERE, value, text)


numbers = st.one_of(
    st.integers(0, 10**18 - 1).map(str),
    st.floats(0, allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(("10_000", "1e-3", "0.50", "1E+5", "007")),
).map(_number)
strings = node(s.String, st.text(st.one_of(printable, st.sampled_from('"\\\n\t#{')), max_size=12))
literals = st.one_of(numbers, strings, node(s.Bool, st.booleans()))


@st.composite
def paths(draw):
    path = draw(names)
    for name in draw(many(names, most=2)):
        path = s.Attribute(NOWHERE, path, name)
    return path


@st.composite
def calls(draw, values):
    argument = st.one_of(values, node(s.Lambda, names, values))
    arguments = many(node(s.Argument, maybe(names), argument))
    return s.Call(NOWHERE, draw(paths()), draw(arguments))


@st.composite
def shapes(draw, values):
    leading = draw(st.booleans())
    return s.IsShape(NOWHERE, draw(values), draw(many(names, least=int(leading))), leading)


OPERATORS = (
    *("+", "-", "*", "/", "%", "@", "^"),
    *("<", "<=", ">", ">=", "==", "!=", "and", "or", "matches"),
)


def _larger(values):
    return st.one_of(
        calls(values),
        shapes(values),
        node(s.Attribute, values, names),
        node(s.Unary, st.sampled_from(("-", "not")), values),
        node(s.Binary, st.sampled_from(OPERATORS), values, values),
    )


expressions = st.recursive(st.one_of(literals, paths()), _larger, max_leaves=12)
some_calls = calls(expressions)


# ---- statements


def _blocks(statements):
    return node(s.Block, many(statements))


simple_statements = st.one_of(
    node(s.Let, value_names, expressions),
    node(s.State, names, st.none(), st.just(False), expressions),
    node(s.State, names, names, st.booleans(), expressions),
    node(s.Var, names, expressions),
    node(s.Update, value_names, expressions),
    node(s.Return, expressions),
    node(s.Evaluate, expressions),
    node(s.Refuse, strings),
)


def _compound(statements):
    blocks = _blocks(statements)
    return st.one_of(
        node(s.Repeat, expressions, maybe(expressions), blocks),
        node(s.If, expressions, blocks, maybe(blocks)),
        node(s.When, expressions, blocks, maybe(blocks)),
        node(s.Every, expressions, st.booleans(), blocks),
    )


statements = st.recursive(simple_statements, _compound, max_leaves=8)
blocks = _blocks(statements)


# ---- items

doc_texts = (
    st.text(st.one_of(printable, st.sampled_from('\n\n  "')), max_size=30)
    .filter(lambda text: '"""' not in text)
    .map(lambda text: doc_text(f'"""{text}"""'))
)
docs = maybe(node(s.Doc, doc_texts, st.booleans()))
docs_before = maybe(node(s.Doc, doc_texts, st.just(False)))
ranges = node(s.Range, expressions, expressions, st.booleans(), st.booleans())
defaults = st.one_of(expressions, node(s.Lambda, names, expressions))
params = many(node(s.Param, names, maybe(names), maybe(defaults), maybe(ranges)))

stages = st.one_of(
    node(
        s.Stage,
        kinds.filter(lambda kind: kind.id not in ("tune", "accumulate")),
        st.one_of(names, some_calls),
        maybe(expressions),
    ),
    node(
        s.Stage,
        kinds.filter(lambda kind: kind.id in ("tune", "accumulate")),
        expressions,
        maybe(expressions),
    ),
)
observes = node(
    s.Observe, st.sampled_from(("observe", "request")), expressions, names, maybe(expressions)
)
asserts = node(s.Assert, expressions) | node(s.Lifting, names)
sizes = node(s.Argument, names, expressions)
views = node(s.View, strings, many(sizes))
inside = many(stages | observes)
groups = node(s.Group, names, maybe(expressions), maybe(views), maybe(expressions), inside)
edits = st.one_of(
    node(s.Drop, paths()),
    node(s.Replace, paths(), expressions),
    node(s.Insert, stages, st.sampled_from(("before", "after")), paths()),
    asserts,
)

items = st.one_of(
    node(s.Use, strings),
    node(s.RuleDecl, kinds, names, params, maybe(some_calls), docs, blocks),
    node(s.ScheduleDecl, names, params, maybe(some_calls), docs_before, expressions),
    node(s.FuncDecl, names, params, docs, blocks),
    node(s.ExternDecl, kinds, names, params, docs_before, some_calls),
    node(
        s.OptimizerDecl,
        names,
        params,
        maybe(some_calls),
        docs,
        many(stages | observes | groups | asserts, most=5),
    ),
    node(s.VariantDecl, names, names, params, docs, many(edits)),
)


@st.composite
def files(draw):
    edition = draw(st.sampled_from(((), (s.Edition(NOWHERE, 1),))))
    return s.File(NOWHERE, (*edition, *draw(many(items))))
