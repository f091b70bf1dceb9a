"""The names of a module's functions: kernels are called after the stages that they end."""

from collections.abc import Iterator

from ..plan import Block, Kernel, Plan
from ..records import distinct
from .externs import modules
from .hints import RESERVED, hint


def taken_names(plan: Plan) -> set[str]:
    """Names that a function of the module cannot have."""
    taken = {*RESERVED, plan.graph.name, *(f"in_{d.name}" for d in plan.graph.domains)}
    taken |= {f"is_{group.name}" for group in plan.graph.groups}
    taken |= {module.partition(".")[0] for module in modules(plan.nodes)}
    # A variable of a main function would hide a function of its name.
    return taken | {hint(node, plan.nodes) for node in plan.nodes.values()}


def kernel_names(plan: Plan, taken: set[str]) -> dict[Kernel, str]:
    """The name of each kernel's function; they join those that are `taken`."""
    names: dict[Kernel, str] = {}
    blocks = [("start", plan.start), ("", plan.step)]
    blocks += [("average", plan.evaluation)] if plan.evaluation else []
    for fallback, block in blocks:
        for kernel in kernels_of(plan, block):
            wanted = fallback or _kernel_name(plan, kernel)
            if wanted in taken and len(kernel.results) == 1:
                wanted = f"{wanted}_{hint(plan.nodes[kernel.results[0]], plan.nodes)}"
            names[kernel] = distinct(wanted, taken)
            taken.add(names[kernel])
    return names


def _kernel_name(plan: Plan, kernel: Kernel) -> str:
    final = {
        result
        for output, result in zip(plan.graph.outputs, plan.graph.step.results, strict=True)
        if output.role in ("step", "weights")
    }
    steps = any(plan.nodes[i].name == "step" for i in kernel.nodes)
    if steps or final & set(kernel.results):
        return "update"
    stages = [plan.nodes[i].stage for i in kernel.nodes if plan.nodes[i].stage >= 0]
    if not stages:
        return "prepare"
    label = plan.graph.stages[stages[-1]].label
    return label.removeprefix("observe ").removeprefix("request ").replace(".", "_")


def kernels_of(plan: Plan, block: Block) -> Iterator[Kernel]:
    """The kernels of a block and of all that is inside of it, in order."""
    for step in block.steps:
        if isinstance(step, Kernel):
            yield step
        else:
            for inner in plan.inner.get(step, ()):
                yield from kernels_of(plan, inner)
