import pytest

from optc.compiler.library import entries


def test_list_shows_every_entry_once_with_its_summary(optc):
    code, out, err = optc("list")
    assert (code, err) == (0, "")
    shelves = dict(block.split("\n", 1) for block in out.rstrip().split("\n\n"))
    for entry in entries():
        (line,) = (x for x in shelves[entry.kind].split("\n") if x.split()[0] == entry.name)
        assert line.endswith(entry.summary)


def test_list_of_a_kind_shows_no_other(optc):
    code, out, _ = optc("list", "schedule", "clip")
    assert code == 0
    assert [line for line in out.splitlines() if line and line[0] != " "] == ["clip", "schedule"]
    code, out, err = optc("list", "optimiser")
    assert (code, out) == (1, "")
    assert err == "error: the library has no kind `optimiser`; did you mean `optimizer`?\n"


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


OWN = """
\"\"\"AdamW without its decay.\"\"\"
optimizer lean from adamw with (lr = 0.5, limit = 1.0) {
  drop   decay
  insert clip value(limit) before precondition
}
rule clip own(limit = 2.0 in (0, inf)) { return clamp(g, -limit, limit) }
"""


def test_show_of_a_file_has_what_it_declares_and_variants_written_out(optc, tmp_path):
    (tmp_path / "own.opt").write_text(OWN)
    code, out, err = optc("show", "own.opt")
    assert (code, err) == (0, "")
    assert "clip own" in out
    code, lean, _ = optc("show", "own.opt:lean")
    assert lean.startswith("optimizer lean\n\n  AdamW without its decay.")
    assert "clip own" not in lean
    assert any(line.split()[:3] == ["lr", "=", "0.5"] for line in lean.splitlines())
    assert "decay " not in lean.partition("Parameters")[2].partition("Definition")[0]
    written = [line.strip() for line in lean.partition("Written out\n")[2].splitlines()]
    assert written[0] == "5 | clip value(limit)"
    assert written[1].startswith("optimizer/adamw.opt:")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("own.opt:lea", "own.opt has no `lea`; did you mean `lean`?"),
        ("nowhere.opt", "nowhere.opt: no such file"),
        ("broken.opt", "error[unknown-base]"),
    ],
)
def test_show_says_what_it_cannot_show(optc, tmp_path, asked, said):
    (tmp_path / "own.opt").write_text(OWN)
    (tmp_path / "broken.opt").write_text("optimizer lean from nothing {}")
    code, out, err = optc("show", asked)
    assert (code, out) == (1, "")
    assert said in err
