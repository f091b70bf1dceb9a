"""A file as canonical text: `format` undoes `parse`.

For every file, `parse(format(file))` is an equal tree with the same comments, and formatting what
was formatted changes nothing. The layout: two spaces of indentation, one empty line between items,
at most one within them where the author had one, stages in two columns, the fewest brackets, and
lists broken one element a line where a line would be longer than 100 characters.
"""

from collections.abc import Sequence
from typing import assert_never

from . import syntax as s
from .layout import inline, inline_params
from .literals import doc_text, quote
from .page import Page, fits


def format(file: s.File) -> str:
    """The canonical text of a file.

    Comments and empty lines are found by the spans of the tree, in the text that it was parsed
    from; a tree that was made by hand has neither.

    >>> from .diagnostic import Diagnostics
    >>> from .parse import parse
    >>> from .source import Source
    >>> source = Source("<string>", "func f(x,y){ return (x*y)+1 } # done")
    >>> print(format(parse(source, Diagnostics())), end="")
    func f(x, y) {
      return x * y + 1
    }  # done
    """
    page = Page(file)
    before: s.Item | None = None
    for item in file.items:
        together = isinstance(item, s.Use) and isinstance(before, s.Use)
        page.reach(item.span.start, 0, apart=before is not None and not together)
        _item(page, item)
        page.passed(item.span.end)
        before = item
    page.comments(file.span.end, 0)
    return page.text()


# ---- items


def _item(page: Page, item: s.Item) -> None:
    match item:
        case s.Edition():
            page.write(f"edition {item.number}", 0)
        case s.Use():
            page.write(f"use {quote(item.path.value)}", 0)
        case s.RuleDecl():
            _doc_before(page, item.doc, item.kind)
            _head(page, f"rule {item.kind.id} {item.name.id}", item, "{")
            _body(page, item.doc, item.body, 0)
        case s.FuncDecl():
            _doc_before(page, item.doc, item.name)
            page.put_params(f"func {item.name.id}", item.params, " {")
            _body(page, item.doc, item.body, 0)
        case s.ScheduleDecl():
            _doc_before(page, item.doc, item.name)
            _definition(page, f"schedule {item.name.id}", item, item.value)
        case s.ExternDecl():
            _doc_before(page, item.doc, item.kind)
            _definition(page, f"extern {item.kind.id} {item.name.id}", item, item.target)
        case s.OptimizerDecl():
            _doc_before(page, item.doc, item.name)
            _head(page, f"optimizer {item.name.id}", item, "{")
            _pipeline(page, item.doc, item.body, item.span.end, 0)
        case s.VariantDecl():
            _doc_before(page, item.doc, item.name)
            _variant(page, item)
        case _:
            assert_never(item)


Claims = s.RuleDecl | s.ScheduleDecl | s.OptimizerDecl
"""The items that may say what they equal."""


def _head(page: Page, head: str, item: Claims, end: str) -> None:
    """An item up to `end`, its brace or `=`: on one line, or `equals` and `end` on their own."""
    if item.equals is None:
        page.put_params(head, item.params, f" {end}")
        return
    equals = f" equals {inline(item.equals)} {end}"
    short = f"{head}{inline_params(item.params)}"
    broken = page.in_params(item.params) or not fits(short, 0)
    if fits(f"){equals}" if broken else f"{short}{equals}", 0):
        page.put_params(head, item.params, equals)
    else:
        page.put_params(head, item.params, "")
        page.put("equals ", item.equals, "", 1)
        page.write(end, 0)


def _definition(page: Page, head: str, item: s.ScheduleDecl | s.ExternDecl, value: s.Expr) -> None:
    """An item that is `head(params) = value`: on one line, or with the value on its own."""
    claim = item.equals if isinstance(item, s.ScheduleDecl) else None
    flat = f"{head}{inline_params(item.params)} = "
    alone = page.between(item.name.span.end, value.span.start)
    if claim is None and fits(flat + inline(value), 0) and not alone:
        page.put(flat, value, "", 0)
        return
    if isinstance(item, s.ScheduleDecl):
        _head(page, head, item, "=")
    else:
        page.put_params(head, item.params, " =")
    page.opened()
    page.reach(value.span.start, 1)
    page.put("", value, "", 1)


def _variant(page: Page, variant: s.VariantDecl) -> None:
    head = f"optimizer {variant.name.id} from {variant.base.id}"
    if variant.params:
        page.put_params(f"{head} with ", variant.params, " {")
    else:
        page.write(f"{head} {{", 0)
    page.opened()
    _doc_inside(page, variant.doc, 1)
    for edit in variant.edits:
        page.reach(edit.span.start, 1)
        _edit(page, edit)
        page.passed(edit.span.end)
    page.close(variant.span.end - 1, 0, "}")


def _edit(page: Page, edit: s.Drop | s.Replace | s.Insert | s.Assert | s.Lifting) -> None:
    match edit:
        case s.Assert():
            page.put("assert ", edit.condition, "", 1)
        case s.Lifting():
            page.write(f"lifting {edit.way.id}", 1)
        case s.Drop():
            page.write(f"drop {inline(edit.path)}", 1)
        case s.Replace():
            page.put(f"replace {inline(edit.path)} with ", edit.rule, "", 1)
        case s.Insert():
            place = f" {edit.position} {inline(edit.path)}"
            stage = edit.stage
            page.put(f"insert {_kind(stage)} ", stage.rule, f"{_where(stage.where)}{place}", 1)
        case _:
            assert_never(edit)


# ---- optimizers


def _pipeline(
    page: Page,
    doc: s.Doc | None,
    body: Sequence[s.Element],
    end: int,
    depth: int,
) -> None:
    """What stands between the braces of an optimizer or group; its stages in two columns."""
    page.opened()
    _doc_inside(page, doc, depth + 1)
    width = max((len(_kind(part)) for part in body if isinstance(part, s.Stage)), default=0)
    for part in body:
        page.reach(part.span.start, depth + 1)
        match part:
            case s.Stage():
                page.put(f"{_kind(part):{width}} ", part.rule, _where(part.where), depth + 1)
            case s.Observe():
                every = "" if part.every is None else f" every {inline(part.every)}"
                page.put(f"{part.word} ", part.value, f" as {part.name.id}{every}", depth + 1)
            case s.Assert():
                page.put("assert ", part.condition, "", depth + 1)
            case s.Lifting():
                page.write(f"lifting {part.way.id}", depth + 1)
            case s.Group():
                _group(page, part, depth + 1)
            case _:
                assert_never(part)
        page.passed(part.span.end)
    page.close(end - 1, depth, "}")


def _group(page: Page, group: s.Group, depth: int) -> None:
    view = "" if group.view is None else _view(group.view)
    view += "" if group.blocks is None else f" blocks of {inline(group.blocks)}"
    head = f"group {group.name.id}"
    if group.where is None:
        page.write(f"{head}{view} {{", depth)
    else:
        page.put(f"{head} where ", group.where, f"{view} {{", depth)
    _pipeline(page, None, group.stages, group.span.end, depth)


def _view(view: s.View) -> str:
    sizes = ", ".join(f"{a.name.id} = {inline(a.value)}" for a in view.sizes if a.name)
    return f" view {quote(view.pattern.value)}{f' with ({sizes})' if sizes else ''}"


def _kind(stage: s.Stage) -> str:
    return "tune step" if stage.kind.id == "tune" else stage.kind.id


def _where(predicate: s.Expr | None) -> str:
    return "" if predicate is None else f" where {inline(predicate)}"


# ---- statements


def _body(page: Page, doc: s.Doc | None, body: s.Block, depth: int) -> None:
    """The statements after a brace that is already written, and the brace that closes them."""
    page.opened()
    _doc_inside(page, doc, depth + 1)
    for statement in body.statements:
        page.reach(statement.span.start, depth + 1)
        _statement(page, statement, depth + 1)
        page.passed(statement.span.end)
    page.close(body.span.end - 1, depth, "}")


def _statement(page: Page, statement: s.Statement, depth: int) -> None:
    match statement:
        case s.Let(name=name):
            page.put(f"{name.id} = ", statement.value, "", depth)
        case s.State(name=name):
            dtype = "" if statement.dtype is None else f": {statement.dtype.id}"
            rounding = " stochastic" if statement.stochastic else ""
            page.put(f"state {name.id}{dtype}{rounding} = ", statement.initial, "", depth)
        case s.Var(name=name):
            page.put(f"var {name.id} = ", statement.initial, "", depth)
        case s.Update(name=name):
            page.put(f"{name.id} <- ", statement.value, "", depth)
        case s.Repeat():
            condition = statement.condition
            until = "" if condition is None else f" while {inline(condition)}"
            page.put("repeat ", statement.count, f"{until} {{", depth)
            _body(page, None, statement.body, depth)
        case s.If() | s.When():
            _choice(page, statement, depth)
        case s.Every():
            staggered = " staggered" if statement.staggered else ""
            page.put("every ", statement.period, f"{staggered} {{", depth)
            _body(page, None, statement.body, depth)
        case s.Return():
            page.put("return ", statement.value, "", depth)
        case s.Evaluate():
            page.put("evaluate ", statement.value, "", depth)
        case s.Refuse():
            page.write(f"error {quote(statement.message.value)}", depth)
        case _:
            assert_never(statement)


def _choice(page: Page, choice: s.If | s.When, depth: int) -> None:
    """A choice, with the choices that are all of its `else` in the same column."""
    page.put(f"{_word(choice)} ", choice.condition, " {", depth)
    _body(page, None, choice.then, depth)
    otherwise = choice.otherwise
    while otherwise is not None:
        match otherwise.statements:
            case (s.If() | s.When() as inner,):
                page.extend(f" else {_word(inner)} {inline(inner.condition)} {{")
                _body(page, None, inner.then, depth)
                otherwise = inner.otherwise
            case _:
                page.extend(" else {")
                _body(page, None, otherwise, depth)
                otherwise = None


def _word(choice: s.If | s.When) -> str:
    return "if" if isinstance(choice, s.If) else "when"


# ---- docstrings


def _doc_before(page: Page, doc: s.Doc | None, name: s.Name) -> None:
    """A docstring that stands before its item, and what follows it up to the item's name."""
    if doc is not None and not doc.inside:
        for line in _doc_lines(doc.text, attached=False):
            page.write(line, 0)
        page.passed(doc.span.end)
        page.comments(name.span.start, 0)


def _doc_inside(page: Page, doc: s.Doc | None, depth: int) -> None:
    """A docstring that opens a body."""
    if doc is not None and doc.inside:
        page.reach(doc.span.start, depth)
        for line in _doc_lines(doc.text, attached=True):
            page.write(line, depth)
        page.passed(doc.span.end)


def _doc_lines(text: str, *, attached: bool) -> list[str]:
    """A docstring literal, its quotes on lines of their own where they must be.

    With `attached`, or when it is one line, the quotes stand beside the text, unless that would
    change it: a quote at the end, or lines whose common indentation would be lost.
    """
    beside = f'"""{text}"""'
    if (attached or "\n" not in text) and not text.endswith('"') and doc_text(beside) == text:
        return beside.split("\n")
    return ['"""', *text.split("\n"), '"""']
