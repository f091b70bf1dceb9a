"""Values in the arrangement of a group's `view`, and back.

A group with a view has a domain of its own whose values have that arrangement; a value goes there
when the group receives it, and comes back with the group's result.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .. import rearrange
from ..records import Scalar, View
from ..types import Type
from .builder import Value
from .draft import DraftNode

if TYPE_CHECKING:
    from .context import Context


def weights(ctx: "Context", w: Value) -> Value:
    """The weights in the arrangement of the current domain: made once, before everything else."""
    view = ctx.view_of(ctx.domain)
    assert view is not None
    type = Type("field", domain=_outermost(ctx))
    if view.pattern:
        inputs, attributes = _told(ctx, view)
        w = _first(ctx, view, "view", (w, *inputs), type, attributes, "w")
    if view.blocks is None:
        return w
    if isinstance(view.blocks, str):
        size = ctx.hyperparameter(view.blocks)
    else:
        literal = {"value": view.blocks}
        size = _first(ctx, view, "const", (), Type("scalar", "int", static=True), literal)
    return _first(ctx, view, "blocks", (w, size), type, {}, "w")


def _first(
    ctx: "Context",
    view: View,
    op: str,
    inputs: tuple[Value, ...],
    type: Type,
    attributes: Mapping[str, Scalar],
    name: str | None = None,
) -> Value:
    """A node among the inputs of the frame, which are there before everything else."""
    known = ctx.frame.inputs.get((op, view))
    if known is None:
        given, told = tuple(v.id for v in inputs), tuple(attributes.items())
        node = DraftNode(ctx.fresh(), op, given, type, told, name=name)
        ctx.made[node.id] = node
        known = ctx.frame.inputs[op, view] = node, Value(node.id, type)
    return known[1]


def arranged(ctx: "Context", value: Value) -> Value:
    """A value as the current domain sees it; itself where it has that arrangement."""
    view = ctx.view_of(ctx.domain)
    if view is None or not value.type.is_field or ctx.view_of(value.type.domain) == view:
        return value
    if value.type.per == "tensor":
        return ctx.node("rank_as", (value, ctx.weights), _in(ctx, value), name=_name(ctx, value))
    if view.pattern:
        value = _viewed(ctx, value, view)
    if view.blocks is None:
        return value
    size, type, name = _size(ctx, view), _in(ctx, value), _name(ctx, value)
    return ctx.node("blocks", (value, size), type, name=name)


def _viewed(ctx: "Context", value: Value, view: View) -> Value:
    inputs, attributes = _told(ctx, view)
    type, name = _in(ctx, value), _name(ctx, value)
    return ctx.node("view", (value, *inputs), type, name=name, attributes=attributes)


def _size(ctx: "Context", view: View) -> Value:
    """The largest size of a block."""
    assert view.blocks is not None
    if isinstance(view.blocks, str):
        return ctx.hyperparameter(view.blocks)
    return ctx.constant(view.blocks)


def restored(ctx: "Context", value: Value, like: Value) -> Value:
    """A value of a group as the other stages see it; `like` is a field that they see."""
    view = ctx.view_of(value.type.domain) if value.type.is_field else None
    if view is None:
        return value
    type, name = _in(ctx, value), _name(ctx, value)
    if value.type.per == "tensor":
        return ctx.node("rank_as", (value, like), type, name=name)
    if view.blocks is not None:
        before = _viewed(ctx, like, view) if view.pattern else like
        value = ctx.node("unblocks", (value, before, _size(ctx, view)), type, name=name)
    if not view.pattern:
        return value
    if rearrange.undone_alone(view.pattern):
        back = {"pattern": rearrange.reverse(view.pattern), "sizes": ""}
        return ctx.node("view", (value,), type, name=name, attributes=back)
    inputs, attributes = _told(ctx, view)
    return ctx.node("unview", (value, like, *inputs), type, name=name, attributes=attributes)


def _told(ctx: "Context", view: View) -> tuple[list[Value], dict[str, Scalar]]:
    """The sizes that are parameters, and the attributes: `q=3 h=`, where `h` is the first input."""
    names = [size for _, size in view.sizes if isinstance(size, str)]
    sizes = (f"{name}={'' if isinstance(size, str) else size}" for name, size in view.sizes)
    attributes: dict[str, Scalar] = {"pattern": view.pattern, "sizes": " ".join(sizes)}
    return [ctx.hyperparameter(name) for name in names], attributes


def _in(ctx: "Context", value: Value) -> Type:
    return Type("field", value.type.dtype, value.type.per, ctx.domain)


def _name(ctx: "Context", value: Value) -> str | None:
    return ctx.made[value.id].name if value.id in ctx.made else None


def _outermost(ctx: "Context") -> int:
    """The domain that brings the arrangement of the current one."""
    view, number = ctx.view_of(ctx.domain), ctx.domain
    while ctx.view_of(ctx.domains[number].parent) == view:
        number = ctx.domains[number].parent
    return number
