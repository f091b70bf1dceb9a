"""Some steps of an optimizer in one jitted scan."""

import jax


def scanned(objective, batch, optimizer, params, state, steps=4):
    """The weights, state and reports after some steps."""

    def body(carry, _):
        *carry, report = optimizer.update(*carry, batch, objective)
        return tuple(carry), report

    return jax.jit(lambda *carry: jax.lax.scan(body, carry, length=steps))(params, state)
