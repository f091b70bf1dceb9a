"""Several devices, in a process of their own: jax fixes their number when it starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "several_devices.py"


@pytest.mark.parametrize(
    ("kind", "wide"),
    [
        ("steps", "0"),
        pytest.param("auto", "1", marks=pytest.mark.rest),
        pytest.param("explicit", "1", marks=pytest.mark.rest),
    ],
)
def test_eight_devices_share_stacks_and_change_no_number(kind, wide):
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    more = {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": wide}
    done = subprocess.run(
        [sys.executable, SCRIPT, kind],
        env=os.environ | more,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
