"""Random rules whose every value is positive: rounding adds up there, and nothing cancels."""

from hypothesis import strategies as st

ULPS = 2000
"""A step has at most 60 operations on values of degree 3 at most, and states take 3 steps: each
operation errs by an ulp, and what is spelt otherwise has a few more."""


@st.composite
def positive_specs(draw: st.DrawFn) -> str:
    """The text of an optimizer: sums, products, quotients and roots, scalars, norms and states."""
    fields, scalars = ["(abs(g) + 0.1)", "(abs(w) + 0.5)"], ["a", "b", "0.7"]
    lines = ["state m = ones(g)", "state n = ones(g)"]
    kept = ["m", "n"]

    def scalar() -> str:
        x, y, z = (draw(st.sampled_from(scalars)) for _ in range(3))
        return draw(st.sampled_from((x, f"{x} * {y}", f"{x} / {y}", f"({x} + {y}) / {z}")))

    def field() -> str:
        x, y = (draw(st.sampled_from((*fields, *kept))) for _ in range(2))
        s, r = scalar(), scalar()
        shapes = (
            *(f"{x} + {y}", f"{s} * {x} + {r} * {y}", f"{s} * ({x} + {r} * {y})"),
            *(f"{x} / {s} + {y}", f"({x} + {y}) / {s}", f"{x} * {y} / ({x} + {r} * {y})"),
            *(f"sqrt({s} * {x}) + {y}", f"{s} * {x} + {y} + {r}", f"{x} / (sqrt({y} / {s}) + {r})"),
        )
        return draw(st.sampled_from(shapes))

    for number in range(draw(st.integers(2, 6))):
        match draw(st.sampled_from(("field", "field", "size", "state"))):
            case "field":
                lines.append(f"x{number} = {field()}")
                fields.append(f"x{number}")
            case "size":
                of = draw(st.sampled_from(fields))
                part = draw(st.sampled_from(("", ", per = tensor")))
                lines.append(f"n{number} = 1 + 1 / norm({scalar()} * {of}{part})")
                if not part:
                    scalars.append(f"n{number}")
                else:
                    fields.append(f"n{number} * {of}")
            case "state":
                name = draw(st.sampled_from(kept))
                lines.append(f"{name} <- ({field()}) / (1 + {scalar()})")
    body = "\n  ".join(lines)
    return (
        f"rule precondition own(a, b) {{\n  {body}\n  return {field()} }}\n"
        "optimizer one(lr = 0.1 in (0, 1], a = 0.4 in (0, 1), b = 1.5 in (0, inf)) {\n"
        "  precondition own(a, b)  tune step lr\n  observe norm(u) as size\n}"
    )
