"""From the grammar's reductions to syntax nodes.

Lark calls one method of `Builder` for each reduction, with the parts of the rule: tokens, nodes
that were built before, and None for an optional part that is absent. All tokens are kept, so a
node's span runs from its first part to its last.
"""

# ruff: noqa: D102 (each method of Builder is described by the grammar's rule of its name)

from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, cast

from lark import Token, Transformer

from . import syntax as s
from .diagnostic import Diagnostics, Label, declare, did_you_mean
from .literals import doc_text, number_value, string_value
from .source import Source, Span

Parts = list[Any]
"""The parts of one reduction. The grammar fixes what stands where; no type checker can see it."""

UNKNOWN_EDITION = declare(
    "unknown-edition",
    "an edition of the language that does not exist",
    """
    `edition N` says which edition of the language a file is written in, so that a later edition
    can change a meaning without changing old files. There is one edition so far.

    Wrong: `edition 2`.

    Right: `edition 1`, or no edition at all.
    """,
)

UNKNOWN_KIND = declare(
    "unknown-kind",
    "a kind of stage that does not exist",
    """
    A rule is of a kind, which says what it sees and what it returns, and each line of an
    optimizer begins with the kind of its stage: `perturb`, `clip`, `precondition`, `decay`,
    `tune`, `constrain`, `average`, `accumulate` or `guard`.

    Wrong: `normalise global_norm(1.0)`.

    Right: `clip global_norm(1.0)`.
    """,
)

TWO_DOCSTRINGS = declare(
    "two-docstrings",
    "an item with one docstring before it and another inside",
    '''
    The docstring of an item stands before it or opens its body. An item that has both leaves
    open which of them the reference should show.

    Wrong:

        """Bound the norm."""
        rule clip bound() { """Scale the gradient down.""" return g }

    Right:

        rule clip bound() { """Bound the norm: scale the gradient down.""" return g }
    ''',
)


RESERVED_WORD = declare(
    "reserved-word",
    "a name that is a word of every expression",
    """
    `and`, `or`, `not`, `is`, `matches`, `true` and `false` are read as operators and values
    wherever an expression may stand, so nothing else can have one of these names. All other words
    of the language are free as names.

    Wrong: `is = norm(g)`.

    Right: `size = norm(g)`.
    """,
)

_RESERVED = {"and", "or", "not", "is", "matches", "true", "false"}

_STAGE_WORDS = ("where", "observe", "request", "assert", "lifting", "group")
"""What may stand where a stage begins, or where the one before it goes on."""


@dataclass(frozen=True, slots=True)
class Site:
    """What is being parsed: the piece of `source` that begins at offset `base`."""

    source: Source
    base: int
    report: Diagnostics


# The tables of the grammar hold one builder for the life of the process, while the text that it
# builds from changes with every parse, and between threads.
SITE: ContextVar[Site] = ContextVar("SITE")


class Builder(Transformer[Token, s.Item]):
    """One method for each rule and alias of `opt.lark`, named like it."""

    # ---- items

    def edition(self, parts: Parts) -> s.Edition:
        token = parts[1]
        if token != "1":
            report = UNKNOWN_EDITION.at(
                _span(token, token),
                f"there is no edition {token} of the language",
                help="the only edition is 1",
            )
            SITE.get().report.add(report)
        return s.Edition(_span(parts[0], token), 1)

    def use(self, parts: Parts) -> s.Use:
        path = _string(parts[1])
        return s.Use(_span(parts[0], path), path)

    def rule(self, parts: Parts) -> s.RuleDecl:
        doc, _, kind, name, params, _, equals, (inside, body) = parts
        return s.RuleDecl(
            _around(parts[0], parts[1], body),
            _kind(kind),
            _name(name),
            params,
            equals,
            _one_doc(doc, inside),
            body,
        )

    def func(self, parts: Parts) -> s.FuncDecl:
        doc, word, name, params, (inside, body) = parts
        span = _around(doc, word, body)
        return s.FuncDecl(span, _name(name), params, _one_doc(doc, inside), body)

    def schedule(self, parts: Parts) -> s.ScheduleDecl:
        doc, word, name, params, _, equals, _, value = parts
        return s.ScheduleDecl(
            _around(doc, word, value), _name(name), params, equals, _one_doc(doc, None), value
        )

    def extern(self, parts: Parts) -> s.ExternDecl:
        doc, word, kind, name, params, _, target = parts
        span = _around(doc, word, target)
        return s.ExternDecl(span, _kind(kind), _name(name), params, _one_doc(doc, None), target)

    def optimizer(self, parts: Parts) -> s.OptimizerDecl:
        before, word, name, params, _, equals, _, inside, *body, brace = parts
        doc = _one_doc(before, _doc(inside, inside=True))
        span = _around(before, word, brace)
        return s.OptimizerDecl(span, _name(name), params, equals, doc, tuple(body))

    def variant(self, parts: Parts) -> s.VariantDecl:
        doc, word, name, _, base, _, params, _, inside, *edits, brace = parts
        return s.VariantDecl(
            _around(doc, word, brace),
            _name(name),
            _name(base),
            params or (),
            _one_doc(doc, _doc(inside, inside=True)),
            tuple(edits),
        )

    def params(self, parts: Parts) -> tuple[s.Param, ...]:
        return tuple(part for part in parts if isinstance(part, s.Param))

    def param(self, parts: Parts) -> s.Param:
        name, _, type_, _, default, range_ = parts
        last = next(part for part in (range_, default, type_, name) if part is not None)
        declared = None if type_ is None else _name(type_)
        return s.Param(_span(name, last), _name(name), declared, default, range_)

    def range(self, parts: Parts) -> s.Range:
        word, opening, low, _, high, closing = parts
        return s.Range(_span(word, closing), low, high, opening == "(", closing == ")")

    # ---- optimizers

    def stage(self, parts: Parts) -> s.Stage:
        kind, rule, _, where = parts
        return s.Stage(_span(kind, where or rule), _kind(kind, *_STAGE_WORDS), rule, where)

    def tune(self, parts: Parts) -> s.Stage:
        kind, _, rule, _, where = parts
        return s.Stage(_span(kind, where or rule), _name(kind), rule, where)

    def group(self, parts: Parts) -> s.Group:
        word, name, _, where, view, blocks, _, *stages, brace = parts
        return s.Group(_span(word, brace), _name(name), where, view, blocks, tuple(stages))

    def view(self, parts: Parts) -> s.View:
        word, pattern, _, sizes = parts
        given, last = sizes or ((), pattern)
        return s.View(_span(word, last), _string(pattern), given)

    def blocks(self, parts: Parts) -> s.Expr:
        return cast(s.Expr, parts[2])

    def sizes(self, parts: Parts) -> tuple[tuple[s.Argument, ...], Token]:
        return tuple(part for part in parts if isinstance(part, s.Argument)), parts[-1]

    def size(self, parts: Parts) -> s.Argument:
        name, _, value = parts
        return s.Argument(_span(name, value), _name(name), value)

    def observe(self, parts: Parts) -> s.Observe:
        word, value, _, name, _, every = parts
        return s.Observe(_span(word, every or name), str(word), value, _name(name), every)  # type: ignore[arg-type]

    def assert_(self, parts: Parts) -> s.Assert:
        return s.Assert(_span(parts[0], parts[1]), parts[1])

    def lifting(self, parts: Parts) -> s.Lifting:
        word, way = parts
        return s.Lifting(_span(word, way), _name(way))

    def drop(self, parts: Parts) -> s.Drop:
        return s.Drop(_span(parts[0], parts[1]), parts[1])

    def replace(self, parts: Parts) -> s.Replace:
        word, path, _, rule = parts
        return s.Replace(_span(word, rule), path, rule)

    def insert(self, parts: Parts) -> s.Insert:
        word, stage, position, path = parts
        return s.Insert(_span(word, path), stage, str(position), path)  # type: ignore[arg-type]

    # ---- statements

    def body(self, parts: Parts) -> tuple[s.Doc | None, s.Block]:
        opening, doc, *statements, closing = parts
        return _doc(doc, inside=True), s.Block(_span(opening, closing), tuple(statements))

    def block(self, parts: Parts) -> s.Block:
        return s.Block(_span(parts[0], parts[-1]), tuple(parts[1:-1]))

    def let(self, parts: Parts) -> s.Let:
        name, _, value = parts
        return s.Let(_span(name, value), _name(name), value)

    def update(self, parts: Parts) -> s.Update:
        name, _, value = parts
        return s.Update(_span(name, value), _name(name), value)

    def state(self, parts: Parts) -> s.State:
        word, name, _, dtype, stochastic, _, initial = parts
        stored = None if dtype is None else _name(dtype)
        return s.State(_span(word, initial), _name(name), stored, stochastic is not None, initial)

    def var(self, parts: Parts) -> s.Var:
        word, name, _, initial = parts
        return s.Var(_span(word, initial), _name(name), initial)

    def repeat(self, parts: Parts) -> s.Repeat:
        word, count, _, condition, body = parts
        return s.Repeat(_span(word, body), count, condition, body)

    def if_(self, parts: Parts) -> s.If:
        word, condition, then, otherwise = parts
        return s.If(_span(word, otherwise or then), condition, then, otherwise)

    def when(self, parts: Parts) -> s.When:
        word, condition, then, otherwise = parts
        return s.When(_span(word, otherwise or then), condition, then, otherwise)

    def otherwise(self, parts: Parts) -> s.Block:
        block = parts[1]
        return block if isinstance(block, s.Block) else s.Block(block.span, (block,))

    def every(self, parts: Parts) -> s.Every:
        word, period, staggered, body = parts
        return s.Every(_span(word, body), period, staggered is not None, body)

    def return_(self, parts: Parts) -> s.Return:
        return s.Return(_span(parts[0], parts[1]), parts[1])

    def evaluate(self, parts: Parts) -> s.Evaluate:
        return s.Evaluate(_span(parts[0], parts[1]), parts[1])

    def error(self, parts: Parts) -> s.Refuse:
        message = _string(parts[1])
        return s.Refuse(_span(parts[0], message), message)

    # ---- expressions

    def binary(self, parts: Parts) -> s.Binary:
        left, op, right = parts
        # A plain str: a Token would keep all of its positions alive.
        return s.Binary(_span(left, right), str(op), left, right)  # type: ignore[arg-type]

    def unary(self, parts: Parts) -> s.Unary:
        op, operand = parts
        return s.Unary(_span(op, operand), str(op), operand)  # type: ignore[arg-type]

    def is_shape(self, parts: Parts) -> s.IsShape:
        value, _, (dimensions, leading, last) = parts
        return s.IsShape(_span(value, last), value, dimensions, leading)

    def shape(self, parts: Parts) -> tuple[tuple[s.Name, ...], bool, Token]:
        names = (part for part in parts if part.type == "NAME")
        return tuple(map(_name, names)), False, parts[-1]

    def leading_shape(self, parts: Parts) -> tuple[tuple[s.Name, ...], bool, Token]:
        names, _, last = self.shape(parts)
        return names, True, last

    def name(self, parts: Parts) -> s.Name:
        return _name(parts[0])

    def attribute(self, parts: Parts) -> s.Attribute:
        value, _, name = parts
        return s.Attribute(_span(value, name), value, _name(name))

    def parenthesised(self, parts: Parts) -> s.Expr:
        opening, value, closing = parts
        # The brackets belong to the text of the value: `(a + b) * c` begins at its bracket.
        return cast(s.Expr, replace(value, span=_span(opening, closing)))

    def number(self, parts: Parts) -> s.Number:
        token = parts[0]
        span = _span(token, token)
        return s.Number(span, number_value(token, span, SITE.get().report), str(token))

    def string(self, parts: Parts) -> s.String:
        return _string(parts[0])

    def boolean(self, parts: Parts) -> s.Bool:
        return s.Bool(_span(parts[0], parts[0]), parts[0] == "true")

    def call(self, parts: Parts) -> s.Call:
        arguments = tuple(part for part in parts if isinstance(part, s.Argument))
        return s.Call(_span(parts[0], parts[-1]), parts[0], arguments)

    def argument(self, parts: Parts) -> s.Argument:
        name, _, value = parts
        if name is None:
            return s.Argument(value.span, None, value)
        return s.Argument(_span(name, value), _name(name), value)

    def lambda_(self, parts: Parts) -> s.Lambda:
        parameter, _, body = parts
        return s.Lambda(_span(parameter, body), _name(parameter), body)


def _span(first: Token | s.Node, last: Token | s.Node) -> Span:
    """From the start of one part to the end of another."""
    site = SITE.get()
    start = site.base + first.start_pos if isinstance(first, Token) else first.span.start  # type: ignore[operator]
    end = site.base + last.end_pos if isinstance(last, Token) else last.span.end  # type: ignore[operator]
    return Span(site.source, start, end)


def _around(doc: Token | None, word: Token, last: Token | s.Node) -> Span:
    """The span of an item, with the docstring that stands before it."""
    return _span(word if doc is None else doc, last)


def _name(token: Token) -> s.Name:
    name = s.Name(_span(token, token), str(token))
    if name.id in _RESERVED:
        SITE.get().report.add(
            RESERVED_WORD.at(name.span, f"`{name.id}` cannot be a name", help="choose another name")
        )
    return name


def _kind(token: Token, *others: str) -> s.Name:
    """The name of a kind of stage; `others` are words that may have been meant in its place."""
    kind = _name(token)
    if kind.id not in s.KINDS:
        known = "the kinds are " + ", ".join(f"`{name}`" for name in s.KINDS)
        if kind.id in others:  # where it may stand it was none
            known = f"`{kind.id}` stands outside of groups"
            others = ()
        SITE.get().report.add(
            UNKNOWN_KIND.at(
                kind.span,
                f"`{kind.id}` is not a kind of stage",
                label="not a kind",
                help=did_you_mean(kind.id, (*s.KINDS, *others)) or known,
            )
        )
    return kind


def _string(token: Token) -> s.String:
    span = _span(token, token)
    return s.String(span, string_value(token, span, SITE.get().report))


def _doc(token: Token | None, *, inside: bool) -> s.Doc | None:
    return None if token is None else s.Doc(_span(token, token), doc_text(token), inside)


def _one_doc(before: Token | None, inside: s.Doc | None) -> s.Doc | None:
    """The docstring of an item, which stands before it or opens its body, but not both."""
    outside = _doc(before, inside=False)
    if outside is not None and inside is not None:
        SITE.get().report.add(
            TWO_DOCSTRINGS.at(
                inside.span,
                "the item has two docstrings",
                label="the second",
                others=(Label(outside.span, "the first"),),
                help="keep one of them",
            )
        )
    return outside or inside
