import pytest

from optc.compiler.library import entries


def test_list_shows_every_entry_once_with_its_summary(optc):
    code, out, err = optc("list")
    assert (code, err) == (0, "")
    shelves = dict(block.split("\n", 1) for block in out.rstrip().split("\n\n"))
    for entry in entries():
        (line,) = (x for x in shelves[entry.kind].split("\n") if x.split()[0] == entry.name)
        assert line.endswith(entry.summary)


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_show_has_the_formula_and_every_parameter(optc, entry):
    code, out, err = optc("show", entry.name)
    assert (code, err) == (0, "")
    assert f"{entry.kind} {entry.name}" in out
    for name, default, _ in entry.params:
        assert any(line.split()[:1] == [name] and default in line for line in out.splitlines())


def test_show_of_an_unknown_name_proposes_the_nearest(optc):
    code, out, err = optc("show", "adamww")
    assert (code, out) == (1, "")
    assert err == "error: the library has no `adamww`; did you mean `adamw`?\n"
