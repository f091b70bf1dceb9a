"""Variants: `optimizer x from y { drop ... replace ... insert ... }`, written out.

A variant is a rewriting of syntax: what it leaves as it was keeps its span in the base, and its
names mean what they mean in the base's file; what it says itself has the variant's span and scope.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

from ..grammar import syntax
from ..grammar.diagnostic import Diagnostics, Label, correction, declare, did_you_mean, nearest
from ..grammar.layout import inline
from ..grammar.source import Source
from .declarations import Declarations
from .spec import Labels
from .structure import names_read

UNKNOWN_BASE = declare(
    "unknown-base",
    "a variant of an optimizer that does not exist",
    """
    `optimizer NAME from BASE { ... }` starts from an optimizer of the file, of a used file, or of
    the library, which may be a variant itself.
    """,
)
CIRCULAR_VARIANT = declare(
    "circular-variant",
    "an optimizer that is a variant of itself",
    """
    Each variant is its base with some differences, so a chain of variants ends at an optimizer
    that is written out, after at most 20 steps. A variant of an optimizer of the library has a
    name of its own, since its name would hide that of the library.
    """,
)
UNKNOWN_STAGE = declare(
    "unknown-stage",
    "an edit of a stage that the base does not have",
    """
    `drop`, `replace` and `insert` name a stage of the base by its label: its kind, with a number
    from the second of a kind on (`clip`, `clip_2`), and after the name of its group
    (`hidden.decay`). A group is called by its name, an observation by the name that it reports,
    and `tune step` is `tune`. All edits speak of the base as it stands, before any of them.
    """,
)
BAD_EDIT = declare(
    "bad-edit",
    "an edit that a variant cannot make",
    """
    A stage is dropped or replaced once, and what stands in a dropped group is not edited.
    `replace` gives a stage another rule of the same kind and leaves its `where`; for another kind,
    `drop` the stage and `insert` the other in its place. What speaks of a value of a stage
    (`observe clip.scale as clip_scale`) cannot stay when the stage is dropped. A parameter that a
    variant adds is not called `t`, `g`, `w`, ..., since the base's stages may mean something else
    by it.

        optimizer lean from muon_adamw {
          drop hidden.decay
          replace rest.precondition with adam(b1 = 0.8)
          insert clip value(1.0) after clip
        }
    """,
)

MAX_DEPTH = 20
"""A variant of a variant of ...: at most this many steps."""

_SIGNALS = frozenset(("t", "pi", "inf", "g", "u", "w", "eta", "w_next", "loss"))
"""What the stages and observations of an optimizer may speak of without declaring it."""

Edit = syntax.Drop | syntax.Replace | syntax.Insert
Element = syntax.Stage | syntax.Group | syntax.Observe
Place = tuple[int, ...]
"""Where an element stands: its number in the body, and then in its group."""

_Node = TypeVar("_Node", bound=syntax.Node)


@dataclass(frozen=True)
class Whole:
    """An optimizer that is written out, and the names that hold in each text it is made of."""

    decl: syntax.OptimizerDecl
    scopes: Mapping[Source, Declarations]


def whole(
    decl: syntax.OptimizerDecl | syntax.VariantDecl, scope: Declarations, report: Diagnostics
) -> Whole | None:
    """The optimizer that a declaration stands for; None, with a report, without a sound base.

    Edits that cannot be made are reported and left out.
    """
    return _whole(decl, scope, report, ())


def _whole(
    decl: syntax.OptimizerDecl | syntax.VariantDecl,
    scope: Declarations,
    report: Diagnostics,
    chain: tuple[syntax.VariantDecl, ...],
) -> Whole | None:
    if isinstance(decl, syntax.OptimizerDecl):
        return Whole(decl, {decl.span.source: scope})
    name = decl.base.id
    if any(decl is each for each in chain) or len(chain) >= MAX_DEPTH:
        names = [each.name.id for each in (*chain, decl)]
        shown = " from ".join(f"`{each}`" for each in names[:4])
        circular = any(decl is each for each in chain)
        what = "has no end" if circular else f"has more than {MAX_DEPTH} steps"
        message = f"this chain of variants {what}: {shown}{' ...' if len(names) > 4 else ''}"
        report.add(CIRCULAR_VARIANT.at(chain[0].base.span, message))
        return None
    found = scope.find("optimizer", name)
    if found is None:
        if name not in scope.broken:
            known = scope.names("optimizer")
            help, fix = did_you_mean(name, known), correction(decl.base.span, known)
            message = f"no optimizer is named `{name}`"
            report.add(
                UNKNOWN_BASE.at(decl.base.span, message, label="unknown", help=help, fix=fix)
            )
        return None
    assert isinstance(found.decl, syntax.OptimizerDecl | syntax.VariantDecl)
    base = _whole(found.decl, found.scope, report, (*chain, decl))
    if base is None:
        return None
    edited = _Edited(decl, base.decl, scope, report).decl()
    return Whole(edited, {**base.scopes, decl.span.source: scope})


@dataclass
class _Edited:
    """One variant on its way: which place of the base's body gets what."""

    variant: syntax.VariantDecl
    base: syntax.OptimizerDecl
    scope: Declarations
    report: Diagnostics
    labels: dict[str, list[Place]] = field(default_factory=dict)
    changes: dict[Place, syntax.Drop | syntax.Replace] = field(default_factory=dict)
    before: dict[Place, list[syntax.Stage]] = field(default_factory=dict)
    after: dict[Place, list[syntax.Stage]] = field(default_factory=dict)
    kept: dict[int, Place] = field(default_factory=dict)

    def decl(self) -> syntax.OptimizerDecl:
        for label, place, _ in _labelled(self.inherited):
            self.labels.setdefault(label, []).append(place)
        for edit in self.variant.edits:
            if not isinstance(edit, syntax.Assert | syntax.Lifting):
                self._take(edit)
        body = self._body(self.inherited, ())
        body = self._relabelled(body)
        edits = self.variant.edits
        claims = [edit for edit in edits if isinstance(edit, syntax.Assert)]
        lifting = [edit for edit in edits if isinstance(edit, syntax.Lifting)]
        lifting = lifting or [line for line in self.base.body if isinstance(line, syntax.Lifting)]
        return replace(
            self.base,
            span=self.variant.span,
            name=self.variant.name,
            params=self._params(body),
            equals=None,  # the base's claims are not the variant's
            doc=self.variant.doc,
            body=(*body, *claims, *lifting),
        )

    @cached_property
    def inherited(self) -> tuple[Element, ...]:
        """What edits may speak of: the body of the base without what it says of itself."""
        said = syntax.Assert | syntax.Lifting
        return tuple(line for line in self.base.body if not isinstance(line, said))

    # ---- edits

    def _take(self, edit: Edit) -> None:
        place = self._place(edit)
        if place is None:
            return
        group = self.changes.get(place[:1]) if len(place) > 1 else None
        match edit:
            case syntax.Insert():
                if group is not None:
                    self._refuse_twice(edit, group)
                    return
                side = self.before if edit.position == "before" else self.after
                side.setdefault(place, []).append(edit.stage)
            case syntax.Drop() | syntax.Replace():
                known = self.changes.get(place) or group or self._inside(place)
                if known is not None:
                    self._refuse_twice(edit, known)
                elif isinstance(edit, syntax.Drop) or self._fits(edit, place):
                    self.changes[place] = edit

    def _place(self, edit: Edit) -> Place | None:
        """Which element of the base an edit speaks of; None, with a report, for none or several."""
        path = inline(edit.path)
        places = self.labels.get(path, [])
        if len(places) == 1:
            return places[0]
        span, base = edit.path.span, self.base.name.id
        if places:
            message = f"`{path}` is more than one thing in `{base}`"
            others = tuple(Label(self._element(p).span, "one of them") for p in places)
            self.report.add(BAD_EDIT.at(span, message, label="which one?", others=others))
            return None
        near = nearest(path, self.labels)
        help = f"did you mean `{near}`? " if near else ""
        help += f"`{base}` has {', '.join(f'`{label}`' for label in self.labels)}"
        message = f"`{base}` has no stage `{path}`"
        fix = correction(span, self.labels)
        self.report.add(UNKNOWN_STAGE.at(span, message, label="not there", help=help, fix=fix))
        return None

    def _element(self, place: Place) -> Element:
        element = self.inherited[place[0]]
        if len(place) == 1:
            return element
        assert isinstance(element, syntax.Group)
        return element.stages[place[1]]

    def _inside(self, place: Place) -> Edit | None:
        """An earlier edit of what stands in the group at `place`."""
        edits: dict[Place, Edit] = {**self.changes}
        for side in (self.before, self.after):
            edits |= {p: self._insertion(stages[0]) for p, stages in side.items()}
        return next((e for p, e in edits.items() if len(p) > 1 and p[:1] == place), None)

    def _insertion(self, stage: syntax.Stage) -> Edit:
        inserts = (e for e in self.variant.edits if isinstance(e, syntax.Insert))
        return next(e for e in inserts if e.stage is stage)

    def _refuse_twice(self, edit: Edit, known: Edit) -> None:
        path = inline(edit.path)
        what = "the group is dropped" if inline(known.path) != path else "it is edited here"
        message = f"`{path}` is edited, and so is `{inline(known.path)}`"
        if inline(known.path) == path:
            message = f"`{path}` is edited twice"
        others = (Label(known.path.span, what),)
        self.report.add(BAD_EDIT.at(edit.path.span, message, label="again", others=others))

    def _fits(self, edit: syntax.Replace, place: Place) -> bool:
        """Whether what is replaced is a stage or an observation, and stays of its kind."""
        element = self._element(place)
        if isinstance(element, syntax.Group):
            message = f"`{element.name.id}` is a group; `replace` gives one stage another rule"
            help = "replace its stages one by one"
            self.report.add(BAD_EDIT.at(edit.path.span, message, help=help))
            return False
        rule = edit.rule.function if isinstance(edit.rule, syntax.Call) else edit.rule
        if isinstance(element, syntax.Observe) or not isinstance(rule, syntax.Name):
            return True
        kind = element.kind.id
        if kind in ("tune", "accumulate") or self.scope.find(kind, rule.id):
            return True
        other = next((k for k in self.scope.kinds_of(rule.id) if k in syntax.KINDS), None)
        if other is None:
            return True
        message = f"`{rule.id}` is a {other} rule; this stage is of the kind `{kind}`"
        path = inline(edit.path)
        help = f"`drop {path}`, and `insert {other} {rule.id}(...) after {path}`"
        others = (Label(element.span, "the stage"),)
        self.report.add(BAD_EDIT.at(rule.span, message, help=help, others=others))
        return False

    # ---- the body

    def _body(self, body: tuple[Element, ...], outer: Place) -> tuple[Element, ...]:
        elements: list[Element] = []
        for number, element in enumerate(body):
            place = (*outer, number)
            elements += self.before.get(place, [])
            edit = self.changes.get(place)
            if not isinstance(edit, syntax.Drop):
                changed = self._changed(element, edit, place)
                self.kept[id(changed)] = place
                elements.append(changed)
            elements += self.after.get(place, [])
        return tuple(elements)

    def _changed(self, element: Element, edit: syntax.Replace | None, place: Place) -> Element:
        match element:
            case syntax.Group():
                stages = self._body(element.stages, place)
                inner = tuple(s for s in stages if not isinstance(s, syntax.Group))
                return replace(element, stages=inner)
            case syntax.Stage() if edit is not None:
                kind = replace(element.kind, span=edit.path.span)
                return syntax.Stage(edit.span, kind, edit.rule, element.where)
            case syntax.Observe() if edit is not None:
                return replace(element, span=edit.span, value=edit.rule)
            case _:
                # A copy: one stage of a used base is not the same object in two variants of it.
                return replace(element)

    def _relabelled(self, body: tuple[Element, ...]) -> tuple[Element, ...]:
        """The body with what the base's lines say of its stages said by their new labels."""
        now = {self.kept[id(e)]: label for label, _, e in _labelled(body) if id(e) in self.kept}
        names: dict[str, str | None] = {}
        for label, (place, *_) in self.labels.items():
            if isinstance(self._element(place), syntax.Stage):
                names[label] = now.get(place)
        return tuple(e for e in (self._with_names(element, names) for element in body) if e)

    def _with_names(self, element: Element, names: Mapping[str, str | None]) -> Element | None:
        """An inherited element with the new labels; None for one that speaks of what is gone."""
        if isinstance(element, syntax.Group):
            inner = [self._with_names(stage, names) for stage in element.stages]
            stages = tuple(s for s in inner if isinstance(s, syntax.Stage | syntax.Observe))
            return replace(element, stages=stages)
        said = element.rule if isinstance(element, syntax.Stage) else element.value
        if said.span.source is self.variant.span.source and self._is_own(said):
            return element
        for path in _paths(said):
            label = _label_in(path, names)
            if label is not None and names[label] is None:
                self._refuse_dropped(label, element)
                return None if isinstance(element, syntax.Observe) else element
        if isinstance(element, syntax.Stage):
            return replace(element, rule=_renamed(element.rule, names))
        return replace(element, value=_renamed(element.value, names))

    def _is_own(self, said: syntax.Expr) -> bool:
        own = self.variant.span
        return own.start <= said.span.start and said.span.end <= own.end

    def _refuse_dropped(self, label: str, element: syntax.Stage | syntax.Observe) -> None:
        place = self.labels[label][0]
        drop = self.changes.get(place) or self.changes[place[:1]]
        observed = isinstance(element, syntax.Observe)
        name = element.name.id if isinstance(element, syntax.Observe) else element.kind.id
        message = f"`{name}` speaks of `{label}`, which is dropped"
        help = f"`drop {name}` too, or replace it" if observed else None
        others = (Label(element.span, "said here"),)
        self.report.add(BAD_EDIT.at(drop.path.span, message, help=help, others=others))

    # ---- parameters

    def _params(self, body: tuple[Element, ...]) -> tuple[syntax.Param, ...]:
        """The base's parameters with what the variant says of them, then its own.

        A parameter that only dropped or replaced parts of the base used goes with them.
        """
        own: dict[str, syntax.Param] = {}
        added: list[syntax.Param] = []
        inherited = {param.name.id for param in self.base.params}
        for param in self.variant.params:
            name = param.name.id
            if name in inherited and name not in own:
                own[name] = param
                continue
            if name in _SIGNALS:
                message = f"a variant cannot add a parameter `{name}`"
                label = "it has a meaning in stages"
                self.report.add(BAD_EDIT.at(param.name.span, message, label=label))
            added.append(param)
        merged = [_merged(param, own.get(param.name.id)) for param in self.base.params]
        used, needed = _used(self.inherited, self.base.params), _used(body, added)
        params: list[syntax.Param] = []
        for param in reversed(merged):
            name = param.name.id
            if name in own or name in needed or name not in used:
                params.insert(0, param)
                needed |= set(names_read(param.default)) if param.default else set()
        return (*params, *added)


def _merged(param: syntax.Param, own: syntax.Param | None) -> syntax.Param:
    """A parameter of the base as a variant has it: what the variant does not say stays."""
    if own is None:
        return param
    return replace(
        own,
        type=own.type or param.type,
        default=own.default if own.default is not None else param.default,
        range=own.range or param.range,
    )


def _used(
    body: tuple[Element, ...], params: "tuple[syntax.Param, ...] | list[syntax.Param]"
) -> set[str]:
    defaults = [param.default for param in params if param.default is not None]
    return {name for node in (*body, *defaults) for name in names_read(node)}


def _labelled(body: tuple[Element, ...]) -> list[tuple[str, Place, Element]]:
    """Everything that an edit can name, with where it stands."""
    found: list[tuple[str, Place, Element]] = []
    labels = Labels()
    for number, element in enumerate(body):
        match element:
            case syntax.Stage():
                found.append((labels.next(element.kind.id), (number,), element))
            case syntax.Observe():
                found.append((element.name.id, (number,), element))
            case syntax.Group():
                group = element.name.id
                found.append((group, (number,), element))
                for place, inner in enumerate(element.stages):
                    if isinstance(inner, syntax.Stage):
                        label = labels.next(inner.kind.id, group)
                    else:
                        label = inner.name.id
                    found.append((label, (number, place), inner))
    return found


def _paths(node: syntax.Node) -> list[str]:
    """The dotted paths that an expression speaks of."""
    if isinstance(node, syntax.Attribute):
        return [inline(node)]
    return [path for inner in _children(node) for path in _paths(inner)]


def _children(node: syntax.Node) -> list[syntax.Node]:
    values = [getattr(node, name) for name in node.__dataclass_fields__]
    several = [v for value in values for v in (value if isinstance(value, tuple) else (value,))]
    return [value for value in several if isinstance(value, syntax.Node)]


def _label_in(path: str, labels: Mapping[str, str | None]) -> str | None:
    """The label at the beginning of a path such as `hidden.clip.scale`."""
    return max((x for x in labels if path.startswith(f"{x}.")), key=len, default=None)


def _renamed(node: _Node, names: Mapping[str, str | None]) -> _Node:
    """An expression that calls stages by their new labels; each part keeps its span."""
    if isinstance(node, syntax.Attribute):
        path = inline(node)
        label = _label_in(path, names)
        new = names[label] if label is not None else None
        if label is None or new is None or new == label:
            return node
        first, *rest = f"{new}{path.removeprefix(label)}".split(".")
        renamed: syntax.Name | syntax.Attribute = syntax.Name(node.span, first)
        for part in rest:
            renamed = syntax.Attribute(node.span, renamed, syntax.Name(node.span, part))
        assert isinstance(renamed, type(node))
        return renamed
    changes: dict[str, object] = {}
    for name in node.__dataclass_fields__:
        value = getattr(node, name)
        if isinstance(value, tuple):
            changes[name] = tuple(
                _renamed(v, names) if isinstance(v, syntax.Node) else v for v in value
            )
        elif isinstance(value, syntax.Node):
            changes[name] = _renamed(value, names)
    return replace(node, **changes)  # type: ignore[arg-type]  # the fields of any node
