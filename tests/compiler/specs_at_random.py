"""Random specs without mistakes: every statement over fields and scalars, around values kept small.

Values pass through bounded functions, so that a few steps of anything neither overflow nor make
rounding grow. Every name is fresh, and every choice is drawn, so that a failure shrinks.
"""

import re
from dataclasses import dataclass, field, replace

from hypothesis import strategies as st


@dataclass
class Names:
    """What an expression may speak of at one place of a rule."""

    draw: st.DrawFn
    fields: list[str]
    scalars: list[str]
    changing: dict[str, str] = field(default_factory=dict)
    oracles: bool = True
    in_loop: bool = False
    random: bool = True
    count: list[int] = field(default_factory=lambda: [0])
    flags: list[str] = field(default_factory=list)
    signal: str = "g"
    sizes: tuple[str, ...] = ()
    squares: list[str] = field(default_factory=list)
    """Names of matrices of [rows, rows], where `sizes` are [rows, cols]."""
    alone: bool = False
    """Whether nothing may look at all the tensors at once."""

    def fresh(self, stem: str) -> str:
        self.count[0] += 1
        return f"{stem}{self.count[0]}"

    def inner(self, **changes: object) -> "Names":
        copies = {name: [*getattr(self, name)] for name in ("fields", "scalars", "squares")}
        copies["changing"] = dict(changes.pop("changing", self.changing))
        return replace(self, **copies, **changes)

    def pick(self, *choices: str) -> str:
        return self.draw(st.sampled_from(choices))

    # ---- expressions

    def scalar(self, depth: int = 2) -> str:
        if depth == 0:
            table = "interpolate(t, 1, 0.2, 2.5, 1.0, 4, -0.5)"
            return self.pick("0.3", "2", "t", table, *self.scalars)
        x, y = self.scalar(depth - 1), self.scalar(depth - 1)
        f = self.field(depth - 1)
        asks = [f"tanh(loss(w + 0.1 * tanh({f})))"] if self.oracles else []
        if self.oracles:
            asks += [f"norm({self.outputs(depth - 1)})"]
            asks += [f"tanh(max(lanczos(d => hvp(d) + d, {f}, 2)))"]
            asks += [f"norm(matrix_function({self.eigenvalue()}, hvp, {f}, 2))"]
        whole = (f"norm({f})", f"tanh(dot({f}, g))", f"mean({f})", f"max({f})", f"tanh(sum({f}))")
        return self.pick(
            x,
            f"({x} + {y})",
            f"{x} * {y}",
            f"({x} - {y}) / (1 + ({y})^2)",
            f"tanh({x})",
            f"min({x}, {y})",
            f"clamp({x}, -1, 2)",
            f"where({self.condition(depth - 1)}, {x}, {y})",
            *(() if self.alone else whole),
            *asks,
            *(["0.1 * normal()", "uniform()"] if self.random else []),
        )

    def eigenvalue(self) -> str:
        """A function of one, which neither asks nor draws."""
        e = self.fresh("e")
        return f"{e} => {self.inner(oracles=False, random=False).scalar(1)} / (1 + {e}^2)"

    def condition(self, depth: int = 1) -> str:
        x, y = self.scalar(depth), self.scalar(depth)
        return self.pick(
            f"{x} > {y} + 0.01",
            f"t % 2 == 0 or {x} < 0.123",
            f"not ({x} <= {y} - 0.01)",
            f"{x} > 0.2" if self.alone else f"any({self.field(depth)} > 0.456)",
        )

    def field(self, depth: int = 2) -> str:
        if depth == 0:
            return self.pick("g", "w", *self.fields)
        x, y, s = self.field(depth - 1), self.field(depth - 1), self.scalar(depth - 1)
        asks = [f"hvp(tanh({x}))", f"grad(w + 0.1 * tanh({x}))"] if self.oracles else []
        asks += ["per_example_mean(e => e / (1 + norm(e)))"] if self.oracles else []
        asks += [f"tanh(pullback({self.outputs(depth - 1)}))"] if self.oracles else []
        d = self.fresh("d")
        asks += [f"thrice({d} => tanh({d} * {y}) - {s} * {d} / (1 + abs({s})), tanh({x}))"]
        if self.oracles:
            asks += [f"cg({d} => ggn({d}) + {d}, tanh({x}), 2)", f"thrice({d} => ggn({d}), {x})"]
            asks += [f"thrice({d} => tanh({d} + hvp({y})), {x})"]
        asks += [f"{x} * {size} / 4" for size in self.sizes]
        if self.sizes:
            m = self.square(depth - 1)
            asks += [f"tanh({m} @ ({x}))", f"{x} / (1 + {self.parts()})"]
            asks += [f"{x} / (1 + norm({m}, per = row))"]
        axes = [str(axis) for axis in range(len(self.sizes))]
        part = self.pick("tensor", "unit", "row", "column", "matrix", *axes, *axes)
        return self.pick(
            x,
            f"({x} + {y})",
            f"({x} - {y})",
            f"tanh({x} * {y})",
            f"{x} / (1 + ({y})^2)",
            f"-{x}",
            f"tanh({s}) * {x}",
            f"max({x}, {s})",
            f"where({x} > {y} + 0.01, {x}, {y})",
            f"where({self.condition(0)}, {x}, {y})",
            f"where(ndim >= 2, {x}, {s} * {y})",
            f"{x} / (1 + norm({y}, per = {part}))",
            f"(zeros({x}) + ones(w) * {y})",
            *asks,
            *(["0.1 * normal(w)", "tanh(uniform(w))"] if self.random else []),
        )

    def square(self, depth: int = 1) -> str:
        """A matrix of [rows, rows] whose numbers are small."""
        rows, x = self.sizes[0], self.field(0)
        if depth == 0:
            return self.pick(f"eye({rows})", f"tanh({x} @ {x}.T)", *self.squares)
        m, y = self.square(depth - 1), self.field(0)
        positive = f"(eye({rows}) + tanh({y}) @ tanh({y}).T)"
        near = f"(eye({rows}) + 0.1 * tanh({m}))"
        return self.pick(
            f"tanh({m}).T",
            f"(0.5 * {m} - tanh({x} @ {y}.T))",
            f"{m} @ ({m} + eye({rows})) / (1 + norm({m}, per = matrix)^2)",
            f"inverse_root({positive}, 4)",
            f"matrix_power({positive}, 0.3, otherwise = {m})",
            f"solve({positive}, {m})",
            f'solve(cholesky({positive}), {m}, triangular = "lower")',
            f"orthonormal({near})",
            f"polar({near})",
            f"diag(diag({m}) / (1 + norm(diag({m}), per = matrix)))",
            f"(tril({m}) - triu({m}))",
            f"norm({x}, per = row) * {m} / (1 + mean({m}, per = column)^2)",
            f"take({m}, argsort(diag({near})), axis = {self.pick('0', '1')})",
        )

    def parts(self) -> str:
        """A positive number of each matrix."""
        m = self.square()
        return self.pick(
            f"trace({m})^2", f"norm({m}, per = tensor)", f"abs(max({m}, per = matrix))"
        )

    def outputs(self, depth: int = 1) -> str:
        if depth == 0:
            drawn = ["sampled_outputs_grad(w)"] if self.random else []
            return self.pick("outputs(w)", "outputs_grad(w)", *drawn)
        x, y, s = self.outputs(depth - 1), self.outputs(depth - 1), self.scalar(depth - 1)
        return self.pick(
            x,
            f"({x} - {y})",
            f"tanh({x} * {y})",
            f"tanh({s}) * {x}",
            f"where({x} > 0.0123, {x}, {y})",
        )

    # ---- statements

    def block(self, length: int, depth: int) -> str:
        return "\n".join(self.statement(depth) for _ in range(length))

    def statement(self, depth: int) -> str:
        choices = ["let", "let", "scalar", "update", "update", "var"]
        kept = not (self.in_loop or self.alone)
        choices += ["state", "scalar state", "coarse state", "history"] if kept else []
        choices += ["square", *(["square state"] if kept else [])] if self.sizes else []
        if depth:
            choices += ["if", "every", "repeat", "when"]
            choices += [] if self.alone else ["turn"]
            choices += ["flag"] if self.flags else []
        return getattr(self, "_" + self.pick(*choices).replace(" ", "_"))(depth)

    def _let(self, depth: int) -> str:
        value, name = self.field(), self.fresh("x")
        self.fields.append(name)
        return f"{name} = {value}"

    def _scalar(self, depth: int) -> str:
        value, name = self.scalar(), self.fresh("s")
        self.scalars.append(name)
        return f"{name} = {value}"

    def _var(self, depth: int) -> str:
        kind = self.pick("field", "scalar")
        value = self.field(1) if kind == "field" else self.scalar(1)
        name = self.fresh("v")
        (self.fields if kind == "field" else self.scalars).append(name)
        self.changing[name] = kind
        return f"var {name} = {value}"

    def _state(self, depth: int) -> str:
        value = self.pick("zeros(g)", "w", "g", "0.5 * ones(w)", "tanh(w) / 2", self.field(1))
        name = self.fresh("m")
        self.fields.append(name)
        self.changing[name] = "field"
        return f"state {name} = {value}"

    def _square(self, depth: int) -> str:
        value, name = self.square(), self.fresh("S")
        self.squares.append(name)
        return f"{name} = {value}"

    def _square_state(self, depth: int) -> str:
        rows, name = self.sizes[0], self.fresh("P")
        value = self.pick(f"zeros({rows}, {rows})", f"0.5 * eye({rows})", self.square())
        self.squares.append(name)
        self.changing[name] = "square"
        return f"state {name} = {value}"

    def _coarse_state(self, depth: int) -> str:
        name, value = self.fresh("q"), self.field(1)
        self.fields.append(f"({name} / 100)")
        return (
            f"state {name}: i8 = zeros({self.signal})\n{name} <- 90 * tanh({name} / 50 + {value})"
        )

    def _history(self, depth: int) -> str:
        """Pairs along which something curves by 2, and what is made of the last few."""
        one, other, size = self.fresh("h"), self.fresh("h"), self.pick("1", "2", "3")
        value, x, name = self.field(1), self.field(1), self.fresh("x")
        products = self.pick("", ", products = true")
        made = self.pick(
            f"inverse_fisher({one}, {x}, 0.5 + tanh({self.scalar(0)})^2)",
            f"inverse_hessian({one}, {other}, {x}, 0.4)",
        )
        self.fields.append(name)
        return (
            f"state {one} = history({self.signal}, {size}{products})\n"
            f"state {other} = history(w, {size})\n"
            f"{one} <- push({one}, {value})\n"
            f"{other} <- push({other}, 2 * {value})\n"
            f"{name} = tanh({made})"
        )

    def _scalar_state(self, depth: int) -> str:
        value, name = self.pick("0", "0.5", "norm(g)", "norm(w)"), self.fresh("n")
        self.scalars.append(name)
        self.changing[name] = "scalar"
        return f"state {name} = {value}"

    def _update(self, depth: int) -> str:
        if not self.changing:
            return self._let(depth)
        name = self.pick(*self.changing)
        if self.changing[name] == "scalar":
            return f"{name} <- tanh({self.scalar()})"
        if self.changing[name] == "square":
            return f"{name} <- tanh({self.square()})"
        return f"{name} <- tanh({self.field()})"

    def _if(self, depth: int) -> str:
        condition = self.condition()
        then, other = self._inside(depth), self._inside(depth)
        rest = f" else {{ {other} }}" if self.draw(st.booleans()) else ""
        return f"if {condition} {{ {then} }}{rest}"

    def _every(self, depth: int) -> str:
        return f"every 2 {{ {self._inside(depth)} }}"

    def _turn(self, depth: int) -> str:
        kept = {name: kind for name, kind in self.changing.items() if kind != "scalar"}
        own = {"alone": True, "oracles": False, "random": False, "changing": kept}
        return f"every 2 staggered {{ {self._inside(depth, **own)} }}"

    def _repeat(self, depth: int) -> str:
        count = self.draw(st.integers(0, 3))
        stop = f" while {self.inner(random=False).condition()}" if self.draw(st.booleans()) else ""
        return f"repeat {count}{stop} {{ {self._inside(depth, in_loop=True)} }}"

    def _when(self, depth: int) -> str:
        predicate = self.pick("ndim >= 2", "size == 4", 'path matches "kernel"', "not ndim == 1")
        # What is one number for all tensors cannot change for some of them.
        kept = {name: kind for name, kind in self.changing.items() if kind != "scalar"}
        sizes = self.sizes
        if not sizes and self.draw(st.booleans()):
            sizes = self.fresh("rows"), self.fresh("cols")
            predicate = f"{self.signal} is [{', '.join(sizes)}]"
        then = self._inside(depth, oracles=False, changing=kept, sizes=sizes)
        other = self._inside(depth, oracles=False, changing=kept)
        rest = f" else {{ {other} }}" if self.draw(st.booleans()) else ""
        return f"when {predicate} {{ {then} }}{rest}"

    def _flag(self, depth: int) -> str:
        then, other = self._inside(depth), self._inside(depth)
        return f"when {self.pick(*self.flags)} {{ {then} }} else {{ {other} }}"

    def _inside(self, depth: int, **changes: object) -> str:
        return self.inner(**changes).block(self.draw(st.integers(1, 2)), depth - 1)


def rule(draw: st.DrawFn, kind: str, oracles: bool) -> str:
    """A rule `own` of a kind, with a float and a bool parameter."""
    signal = {"decay": "u", "constrain": "w_next"}.get(kind, "g")
    names = Names(draw, [signal], ["a"], oracles=oracles, flags=["flag"], signal=signal)
    body = names.block(draw(st.integers(1, 4)), 2)
    result = f"return {signal} + 0.3 * tanh({names.field()})"
    if signal != "g":
        body, result = (_without_g(text, signal) for text in (body, result))
    return f"rule {kind} own_{kind}(a, flag: bool) {{\n{body}\n{result}\n}}"


def _without_g(text: str, signal: str) -> str:
    return re.sub(r"\bg\b", signal, text)


THRICE = """
func thrice(op, x) {
  var y = x
  repeat 3 { y <- tanh(op(y)) }
  return y
}
"""
"""A function of a function, which calls it in a loop."""


_ASKING = ("loss(", "grad(", "hvp", "per_example", "ggn(", "outputs(")
"""What a rule that is to stand in a group may not say."""

VIEWS = (
    "",
    'view "a b -> b a"',
    'view "a b -> (b a)"',
    'view "a (b c) -> c (a b)" with (b = half)',
    "blocks of half",
    'view "a (b c) -> c (a b)" with (b = half) blocks of 3',
)
"""Arrangements of every matrix of the model, by themselves, cut into blocks or with `half` of 2."""


@st.composite
def specs(draw: st.DrawFn) -> str:
    """The text of an optimizer with rules of its own."""
    accumulated = draw(st.integers(0, 4)) == 0
    kinds = ["precondition"]
    kinds += [k for k in ("perturb", "clip", "decay", "constrain") if draw(st.integers(0, 3)) == 0]
    rules = []
    for kind in kinds:
        oracles = kind == "perturb" or (not accumulated and draw(st.integers(0, 2)) == 0)
        rules.append(rule(draw, kind, oracles))

    def stage(kind: str, where: str = "") -> str:
        return f"{kind} own_{kind}(a, flag){where}" if kind in kinds else ""

    body = [stage("perturb"), "accumulate 2" if accumulated else "", stage("clip")]
    if (
        draw(st.integers(0, 2)) == 0
        and "perturb" not in kinds
        and not any(word in rules[0] for word in _ASKING)
    ):
        view = draw(st.sampled_from(VIEWS))
        observed = "observe norm(g) as inside"
        stages = f"{stage('precondition')} tune step lr {observed}"
        body.append(f"group first where ndim == 2 {view} {{ {stages} }}")
        body.append("group rest { clip value(0.5)  tune step 2 * lr }")
    else:
        body += [stage("precondition"), stage("decay"), "tune step lr * min(1, t / 2)"]
    body.append(stage("constrain"))
    body.append("average ema(0.5)" if draw(st.integers(0, 3)) == 0 else "")
    body.append("guard finite()" if draw(st.integers(0, 3)) == 0 else "")
    body.append(draw(st.sampled_from(("", "observe norm(g) as size", "observe loss as l every 2"))))
    lines = "\n".join(line for line in body if line)
    half = ", half: int = 2" if "half" in lines else ""
    header = f"optimizer one(lr = 0.1, a = 0.4 in [0, 1], flag: bool = true{half})"
    items = [THRICE, *rules, f"{header} {{\n{lines}\n}}"]
    if draw(st.integers(0, 3)) == 0:
        items.append(_variant(draw, lines))
    return "\n".join(items)


def _variant(draw: st.DrawFn, lines: str) -> str:
    """A variant of `one`, whose stages are `lines`."""
    inside = "first." if "group first" in lines else ""
    edits = draw(
        st.sampled_from(
            (
                f"insert clip value(0.3) before {inside}precondition",
                f"replace {inside}tune with lr / 2",
                f"drop {inside}precondition insert decay weights(a) after {inside}precondition",
            )
        )
    )
    return f"optimizer other from one with (lr = 0.05) {{ {edits} }}"


@st.composite
def specs_of_matrices(draw: st.DrawFn) -> str:
    """The text of an optimizer whose rule is about matrices."""
    names = Names(draw, ["g"], ["a"], oracles=False, sizes=("rows", "cols"))
    body = names.block(draw(st.integers(2, 5)), 1)
    result = f"return tanh({names.square()} @ g) + 0.3 * tanh({names.field()})"
    view = draw(st.sampled_from(VIEWS[:2]))
    return f"""
    {THRICE}
    rule precondition own(a) {{
      when g is [.., rows, cols] {{
        {body}
        {result}
      }} else {{
        return g
      }}
    }}
    optimizer one(lr = 0.1, a = 0.4) {{
      group first where ndim == 2 {view} {{ precondition own(a)  tune step lr }}
      group rest {{ precondition own(a)  tune step lr }}
    }}
    """
