"""Keys of executables tell apart what XLA would compile in another way."""

import jax

from optc.runtime.keys import key


def test_flags_of_xla_in_a_file_are_known_by_what_it_says(tmp_path, monkeypatch):
    file = tmp_path / "flags"
    monkeypatch.setenv("XLA_FLAGS", str(file))
    found = [key(jax.devices())]
    for text in ("--xla_a=1", "--xla_a=2"):
        file.write_text(text)
        found.append(key(jax.devices()))
    assert len(set(found)) == 3
    assert key(jax.devices()) == found[-1]
