"""What people ask of optimizers of one name, as a reader of the box sees it."""

import re

import pytest
from boxes import box_from, box_of

from optc.compiler.notation.text import text

CASES = {
    "decay beside the moments": ("adamw", "vₜ ← β₂ vₜ₋₁ + (1 − β₂) g²", "u₂ ← u + λ θₜ₋₁"),
    "decay within the moments": ("adam_coupled", "u  ← g + λ θₜ₋₁", "vₜ ← β₂ vₜ₋₁ + (1 − β₂) u²"),
    "decay beside the rate": ("adamw_independent", "Δ  ← η u", "θₜ ← θₜ₋₁ − (Δ + λ θₜ₋₁)"),
    "decay by the schedule alone": ("adamw_paper", "u₃ ← u₂ + λ θₜ₋₁", "θₜ ← θₜ₋₁ − ηₜ u₃"),
    "eps outside the root": ("rmsprop_torch", "u₂ ← u / (√vₜ + ε)"),
    "eps inside the root": ("rmsprop", "u  ← g / √(vₜ + ε)"),
    "a moment of earlier steps": (
        "adopt",
        "v₂    ← ⎧ g²    if t = 1",
        "⎩ vₜ₋₁  otherwise",
        "mₜ    ← β₁ mₜ₋₁ + (1 − β₁) clamp(g / max(√v₂, ε), −limit, limit)",
        "vₜ    ← β₂ v₂ + (1 − β₂) g²",
    ),
    "the largest moment without its bias": ("amsgrad", "v_maxₜ ← max(v_maxₜ₋₁, v̂ₜ)"),
    "the largest moment with its bias": (
        "amsgrad_torch",
        "v_maxₜ ← max(v_maxₜ₋₁, vₜ)",
        "v̂_maxₜ ← v_maxₜ / (1 − β₂ᵗ)",
    ),
    "the look-ahead of optax": (
        "nadam",
        "ahead ← β₁ mₜ / (1 − β₁^(t + 1)) + (1 − β₁) g / (1 − β₁ᵗ)",
    ),
    "the look-ahead of torch": (
        "nadam_torch",
        "now      ← β₁ (1 − 0.5 · 0.96^(t momentum_decay))",
        "productₜ ← productₜ₋₁ now",
    ),
    "a momentum that begins with the gradient": (
        "sgd_torch",
        "bₜ ← ⎧ u                           if t = 1",
        "⎩ μ bₜ₋₁ + (1 − dampening) u  otherwise",
    ),
    "a gradient elsewhere": (
        "fsam",
        "θ̂             ← θₜ₋₁ + ρ g / max(‖g‖, 10⁻¹⁶)",
        "g₂            ← Jᵀ(θ̂) ∇ℓ(θₜ₋₁)",
    ),
    "a state of one number for each tensor": (
        "adalayer",
        "vₜ ← β₂ vₜ₋₁ + (1 − β₂) mean_tensor(g²)",
    ),
    "an average without its bias that has a name": ("msvag", "m̂ₜ ← mₜ / (1 − βᵗ)"),
    "a third coefficient": ("prodigy", "β₃ ← √β₂"),
    "states of one name": ("aggmo", "b_momentum₂,ₜ ← g + β₃ b_momentum₂,ₜ₋₁"),
    "a gradient of each example": ("dpsgd", "mean_examples(e ↦ min(1, limit / ‖e‖) e, ∇Lᵢ(θₜ₋₁))"),
    "a choice of weights to evaluate with": ("swa_sgd", "θ_eval ← ⎧ meanₜ if nₜ > 0"),
    "a curvature": ("cdat_adam", "|⟨u, ∇²L(θₜ₋₁) u⟩|"),
    "other weights to evaluate with": (
        "schedule_free_sgd",
        "θ_eval      ← (θₜ − (1 − β₁) zₜ) / β₁",
    ),
    "a line search": (
        "armijo_gd",
        "repeat 31 times while ηₜ = 0:",
        "accepted       ← finite(L(θ̂)) ∧ L(θ̂) ≤ L(θₜ₋₁) − c trial slope",
        "ηₜ             ← ⎧ trial  if accepted",
        "trial          ← ⎧ trial      if accepted",
        "⎩ 0.8 trial  otherwise",
    ),
    "steps that do not count": (
        "sign_sgd_vote",
        "last        ← mini_step₂ ≥ workers",
        "the step counts if last",
    ),
    "a state of eight bits": ("adamw_int8", "m₀        = 0  precondition.mu        int8"),
    "a rate of one": ("rprop", "14 | tune step 1\n    θₜ            ← θₜ₋₁ − prev_updatesₜ"),
}


def squeezed(shown):
    """A text whose arrows are not aligned."""
    return re.sub(r"(?<=\S) +", " ", shown)


@pytest.mark.parametrize("case", CASES)
def test_the_box_shows_in_this_order(case):
    name, *lines = CASES[case]
    shown, place = squeezed(text(box_of(name))), 0
    for line in lines:
        place = shown.index(squeezed(line), place)


def test_groups_views_guards_and_lent_stages_are_shown():
    box = box_from(
        """
        extern precondition lent(b1 = 0.9) = optax.scale_by_yogi(b1 = b1, eps = 1e-4)
        optimizer all(lr = 0.1, heads: int = 8) {
          group fused where path matches "qkv" view "d (h k) -> h d k" with (h = heads) {
            clip      unit()
            tune step lr
          }
          group rest {
            precondition lent(0.95)
            tune step    2 * lr
          }
          guard finite
        }
        rule clip unit() { return g / max(norm(g, per = matrix), 1e-16) }
        """
    )
    shown = squeezed(text(box))
    for line in (
        'fused path matches "qkv", seen as "d (h k) -> h d k"\n    rest the others\n',
        '    for group fused:\n        g_fused ← arrange("d (h k) -> h d k", g)\n',
        "        g_fused₂ ← g_fused / max(‖g_fused‖_matrix, 10⁻¹⁶)\n",
        "    for group rest:\n        u, lent_rest ← optax.scale_by_yogi(g, lentₜ₋₁, b1 = 0.95, ",
        "    the step counts if ok\n",
    ):
        assert line in shown


def test_choices_by_a_text_are_one_list():
    shown = squeezed(text(box_of("adamw_wsd")))
    assert (
        '    if curve = "linear":\n        cooldown₂ ← 1 − s\n    else if curve = "sqrt":\n'
        in shown
    )
    assert '"mirror_cosine" and curve ≠ "exponential": the curve is' in shown
