"""What `extern` may name in optax 0.2.8: written by `docs/transformations.py`.

`parameters` are those that take numbers, truth values or texts, the first `required` of which have
no default. `extra` are the extra arguments that the update takes. `sort` says what it maps to what:

| sort | takes | gives |
|---|---|---|
| `direction` | a gradient or a direction | a direction |
| `update` | a gradient or a direction | minus a step |
| `search` | minus a direction | minus a step |
| `constraint` | minus a step | minus a step, after which the weights are feasible |
"""

from dataclasses import dataclass
from typing import Literal

Sort = Literal["direction", "update", "search", "constraint"]


@dataclass(frozen=True, slots=True)
class Transformation:
    """One public function of optax that returns a transformation."""

    sort: Sort
    parameters: tuple[str, ...] = ()
    required: int = 0
    extra: tuple[str, ...] = ()


TABLE: dict[str, dict[str, Transformation]] = {
    "optax": {
        "adabelief": Transformation(
            "update", ("learning_rate", "b1", "b2", "eps", "eps_root", "nesterov"), 1
        ),
        "adadelta": Transformation("update", ("learning_rate", "rho", "eps", "weight_decay"), 1),
        "adafactor": Transformation(
            "update",
            (
                "learning_rate",
                "min_dim_size_to_factor",
                "decay_rate",
                "decay_offset",
                "multiply_by_parameter_scale",
                "clipping_threshold",
                "momentum",
                "weight_decay_rate",
                "eps",
                "factored",
            ),
        ),
        "adagrad": Transformation(
            "update", ("learning_rate", "initial_accumulator_value", "eps"), 1
        ),
        "adam": Transformation(
            "update", ("learning_rate", "b1", "b2", "eps", "eps_root", "mu_dtype", "nesterov"), 1
        ),
        "adamax": Transformation("update", ("learning_rate", "b1", "b2", "eps"), 1),
        "adamaxw": Transformation(
            "update", ("learning_rate", "b1", "b2", "eps", "weight_decay"), 1
        ),
        "adamw": Transformation(
            "update",
            (
                "learning_rate",
                "b1",
                "b2",
                "eps",
                "eps_root",
                "mu_dtype",
                "weight_decay",
                "nesterov",
            ),
            1,
        ),
        "adan": Transformation(
            "update", ("learning_rate", "b1", "b2", "b3", "eps", "eps_root", "weight_decay"), 1
        ),
        "adaptive_grad_clip": Transformation("direction", ("clipping", "eps", "axis"), 1),
        "add_decayed_weights": Transformation("direction", ("weight_decay",)),
        "add_noise": Transformation("direction", ("eta", "gamma", "seed"), 2),
        "amsgrad": Transformation(
            "update",
            (
                "learning_rate",
                "b1",
                "b2",
                "eps",
                "eps_root",
                "mu_dtype",
                "bias_correction_mu",
                "bias_correction_nu",
            ),
            1,
        ),
        "apply_every": Transformation("direction", ("k",)),
        "centralize": Transformation("direction"),
        "clip": Transformation("direction", ("max_delta",), 1),
        "clip_by_block_rms": Transformation("direction", ("threshold",), 1),
        "clip_by_global_norm": Transformation("direction", ("max_norm",), 1),
        "ema": Transformation("direction", ("decay", "debias", "accumulator_dtype"), 1),
        "fromage": Transformation("update", ("learning_rate", "min_norm"), 1),
        "identity": Transformation("direction"),
        "keep_params_nonnegative": Transformation("constraint"),
        "lamb": Transformation(
            "update", ("learning_rate", "b1", "b2", "eps", "eps_root", "weight_decay"), 1
        ),
        "lars": Transformation(
            "update",
            (
                "learning_rate",
                "weight_decay",
                "weight_decay_mask",
                "trust_coefficient",
                "eps",
                "trust_ratio_mask",
                "momentum",
                "nesterov",
            ),
            1,
        ),
        "lbfgs": Transformation(
            "update",
            ("learning_rate", "memory_size", "scale_init_precond"),
            0,
            ("value", "grad", "value_fn"),
        ),
        "lion": Transformation(
            "update", ("learning_rate", "b1", "b2", "mu_dtype", "weight_decay"), 1
        ),
        "noisy_sgd": Transformation("update", ("learning_rate", "eta", "gamma", "seed"), 1),
        "normalize_by_update_norm": Transformation("direction", ("scale_factor", "eps")),
        "novograd": Transformation(
            "update", ("learning_rate", "b1", "b2", "eps", "eps_root", "weight_decay"), 1
        ),
        "optimistic_adam": Transformation(
            "update",
            ("learning_rate", "optimism", "b1", "b2", "eps", "eps_root", "mu_dtype", "nesterov"),
            1,
        ),
        "optimistic_adam_v2": Transformation(
            "update",
            (
                "learning_rate",
                "alpha",
                "beta",
                "b1",
                "b2",
                "eps",
                "eps_root",
                "mu_dtype",
                "nesterov",
            ),
            1,
        ),
        "optimistic_gradient_descent": Transformation(
            "update", ("learning_rate", "alpha", "beta"), 1
        ),
        "polyak_sgd": Transformation(
            "update", ("max_learning_rate", "scaling", "f_min", "eps", "variant"), 0, ("value",)
        ),
        "radam": Transformation(
            "update", ("learning_rate", "b1", "b2", "eps", "eps_root", "threshold", "nesterov"), 1
        ),
        "rmsprop": Transformation(
            "update",
            (
                "learning_rate",
                "decay",
                "eps",
                "initial_scale",
                "eps_in_sqrt",
                "centered",
                "momentum",
                "nesterov",
                "bias_correction",
            ),
            1,
        ),
        "rprop": Transformation(
            "update",
            ("learning_rate", "eta_minus", "eta_plus", "min_step_size", "max_step_size"),
            1,
        ),
        "scale": Transformation("direction", ("step_size",), 1),
        "scale_by_adadelta": Transformation("direction", ("rho", "eps")),
        "scale_by_adam": Transformation(
            "direction", ("b1", "b2", "eps", "eps_root", "mu_dtype", "nesterov")
        ),
        "scale_by_adamax": Transformation("direction", ("b1", "b2", "eps")),
        "scale_by_adan": Transformation("direction", ("b1", "b2", "b3", "eps", "eps_root")),
        "scale_by_amsgrad": Transformation(
            "direction",
            ("b1", "b2", "eps", "eps_root", "mu_dtype", "bias_correction_mu", "bias_correction_nu"),
        ),
        "scale_by_backtracking_linesearch": Transformation(
            "search",
            (
                "max_backtracking_steps",
                "slope_rtol",
                "decrease_factor",
                "increase_factor",
                "max_learning_rate",
                "atol",
                "rtol",
                "store_grad",
            ),
            1,
            ("value", "grad", "value_fn"),
        ),
        "scale_by_belief": Transformation("direction", ("b1", "b2", "eps", "eps_root", "nesterov")),
        "scale_by_distance_over_gradients": Transformation(
            "direction", ("reps_rel", "eps", "param_dtype", "global_scale")
        ),
        "scale_by_lbfgs": Transformation("direction", ("memory_size", "scale_init_precond")),
        "scale_by_learning_rate": Transformation("update", ("learning_rate",), 1),
        "scale_by_lion": Transformation(
            "direction", ("b1", "b2", "mu_dtype", "mode", "smooth_beta")
        ),
        "scale_by_novograd": Transformation(
            "direction", ("b1", "b2", "eps", "eps_root", "weight_decay", "mu_dtype")
        ),
        "scale_by_optimistic_gradient": Transformation("direction", ("alpha", "beta")),
        "scale_by_param_block_norm": Transformation("direction", ("min_scale",)),
        "scale_by_param_block_rms": Transformation("direction", ("min_scale",)),
        "scale_by_polyak": Transformation(
            "direction", ("f_min", "max_learning_rate", "eps", "variant"), 0, ("value",)
        ),
        "scale_by_radam": Transformation(
            "direction", ("b1", "b2", "eps", "eps_root", "threshold", "nesterov")
        ),
        "scale_by_rms": Transformation(
            "direction", ("decay", "eps", "initial_scale", "eps_in_sqrt", "bias_correction")
        ),
        "scale_by_rprop": Transformation(
            "direction",
            ("learning_rate", "eta_minus", "eta_plus", "min_step_size", "max_step_size"),
            1,
        ),
        "scale_by_rss": Transformation("direction", ("initial_accumulator_value", "eps")),
        "scale_by_sign": Transformation("direction"),
        "scale_by_sm3": Transformation("direction", ("b1", "b2", "eps")),
        "scale_by_stddev": Transformation(
            "direction", ("decay", "eps", "initial_scale", "eps_in_sqrt", "bias_correction")
        ),
        "scale_by_trust_ratio": Transformation(
            "direction", ("min_norm", "trust_coefficient", "eps")
        ),
        "scale_by_yogi": Transformation(
            "direction", ("b1", "b2", "eps", "eps_root", "initial_accumulator_value")
        ),
        "scale_by_zoom_linesearch": Transformation(
            "search",
            (
                "max_linesearch_steps",
                "max_learning_rate",
                "tol",
                "increase_factor",
                "slope_rtol",
                "curv_rtol",
                "approx_dec_rtol",
                "stepsize_precision",
                "initial_guess_strategy",
            ),
            1,
            ("value", "grad", "value_fn"),
        ),
        "set_to_zero": Transformation("direction"),
        "sgd": Transformation(
            "update", ("learning_rate", "momentum", "nesterov", "accumulator_dtype"), 1
        ),
        "sign_sgd": Transformation("update", ("learning_rate",), 1),
        "signum": Transformation("update", ("learning_rate", "beta", "accumulator_dtype"), 1),
        "sm3": Transformation("update", ("learning_rate", "momentum"), 1),
        "trace": Transformation("direction", ("decay", "nesterov", "accumulator_dtype"), 1),
        "yogi": Transformation("update", ("learning_rate", "b1", "b2", "eps"), 1),
        "zero_nans": Transformation("direction"),
    },
    "optax.contrib": {
        "acprop": Transformation(
            "update", ("learning_rate", "b1", "b2", "eps", "eps_root", "weight_decay"), 1
        ),
        "ademamix": Transformation(
            "update",
            (
                "learning_rate",
                "b1",
                "b2",
                "b3",
                "alpha",
                "eps",
                "eps_root",
                "mu_dtype",
                "weight_decay",
            ),
            1,
        ),
        "adopt": Transformation(
            "update",
            ("learning_rate", "b1", "b2", "eps", "mu_dtype", "nesterov", "use_clipping"),
            1,
        ),
        "cocob": Transformation("update", ("learning_rate", "alpha", "eps", "weight_decay")),
        "dadapt_adamw": Transformation(
            "update", ("learning_rate", "eps", "estim_lr0", "weight_decay")
        ),
        "galore": Transformation(
            "update", ("learning_rate", "rank", "update_proj_gap", "scale", "weight_decay"), 1
        ),
        "madgrad": Transformation(
            "update", ("learning_rate", "momentum", "weight_decay", "eps"), 1
        ),
        "momo": Transformation(
            "update",
            ("learning_rate", "beta", "lower_bound", "weight_decay", "adapt_lower_bound"),
            0,
            ("value",),
        ),
        "momo_adam": Transformation(
            "update",
            (
                "learning_rate",
                "b1",
                "b2",
                "eps",
                "lower_bound",
                "weight_decay",
                "adapt_lower_bound",
            ),
            0,
            ("value",),
        ),
        "muon": Transformation(
            "update",
            (
                "learning_rate",
                "ns_steps",
                "beta",
                "eps",
                "weight_decay",
                "mu_dtype",
                "nesterov",
                "adaptive",
                "preconditioning",
                "adam_b1",
                "adam_b2",
                "adam_eps_root",
                "adam_weight_decay",
                "adam_learning_rate",
                "consistent_rms",
            ),
            1,
        ),
        "normalize": Transformation("direction"),
        "prodigy": Transformation(
            "update",
            (
                "learning_rate",
                "beta3",
                "eps",
                "estim_lr0",
                "estim_lr_coef",
                "weight_decay",
                "safeguard_warmup",
            ),
        ),
        "reduce_on_plateau": Transformation(
            "direction",
            ("factor", "patience", "rtol", "atol", "cooldown", "accumulation_size", "min_scale"),
            0,
            ("value",),
        ),
        "scale_by_acprop": Transformation("direction", ("b1", "b2", "eps", "eps_root")),
        "scale_by_ademamix": Transformation(
            "direction", ("b1", "b2", "b3", "alpha", "eps", "eps_root", "mu_dtype")
        ),
        "scale_by_adopt": Transformation(
            "direction", ("b1", "b2", "eps", "mu_dtype", "nesterov", "use_clipping")
        ),
        "scale_by_cocob": Transformation("update", ("alpha", "eps")),
        "scale_by_galore": Transformation("direction", ("rank", "update_proj_gap", "scale")),
        "scale_by_madgrad": Transformation("update", ("learning_rate", "momentum", "eps"), 1),
        "scale_by_simplified_ademamix": Transformation(
            "direction", ("b1", "b2", "alpha", "eps", "eps_root")
        ),
        "schedule_free_adamw": Transformation(
            "update",
            (
                "learning_rate",
                "warmup_steps",
                "b1",
                "b2",
                "eps",
                "weight_decay",
                "weight_lr_power",
                "state_dtype",
            ),
        ),
        "schedule_free_sgd": Transformation(
            "update",
            (
                "learning_rate",
                "warmup_steps",
                "b1",
                "weight_decay",
                "weight_lr_power",
                "state_dtype",
            ),
        ),
        "simplified_ademamix": Transformation(
            "update", ("learning_rate", "b1", "b2", "alpha", "eps", "eps_root", "weight_decay"), 1
        ),
    },
}
