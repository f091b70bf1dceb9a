"""From a draft to the graph: the border at which pydantic validates every node."""

from .graph import Graph, Node, Region
from .lowering.draft import Draft, DraftNode, DraftRegion


def freeze(draft: Draft) -> Graph:
    """The graph of a draft. A draft that does not fit the graph's types is a fault of ours."""
    return Graph(
        name=draft.name,
        doc=draft.doc,
        file=draft.file,
        hyperparameters=draft.hyperparameters,
        domains=draft.domains,
        stages=draft.stages,
        slots=draft.slots,
        start=_region(draft.start),
        step=_region(draft.step),
        outputs=draft.outputs,
        refusals=draft.refusals,
        groups=draft.groups,
        assertions=draft.assertions,
        lifting=draft.lifting,
        evaluation=_region(draft.evaluation) if draft.evaluation else None,
    )


def _region(region: DraftRegion) -> Region:
    return Region(
        arguments=region.arguments,
        nodes=tuple(_node(node) for node in region.nodes),
        results=region.results,
    )


def _node(node: DraftNode) -> Node:
    return Node(
        id=node.id,
        op=node.op,
        inputs=node.inputs,
        type=node.type,
        attributes=node.attributes,
        stage=node.stage,
        name=node.name,
        regions=tuple(_region(region) for region in node.regions),
    )
