"""`optc check --fix` writes files whole, and nothing but what is safe."""

import json

SLIP = """
# Kept.
optimizer plain(lr = 0.1 in (0, 10); beta = 0.9 in [0, 1)) {
  precondition momentum(beta);
  tune step lr
}
"""
RIGHT = SLIP.replace("10);", "10),").replace("(beta);", "(beta)")


def test_fix_writes_the_file_and_reports_what_is_left(optc, tmp_path, bad):
    path = tmp_path / "a.opt"
    path.write_text(SLIP)
    assert optc("check", path).code == 1
    assert optc("check", "--fix", path) == (
        *(0, ""),
        f"2 changes made in {path}\n1 spec checked: nothing to report\n",
    )
    assert path.read_text() == RIGHT
    assert optc("check", "--fix", path).err == "1 spec checked: nothing to report\n"
    before = bad.read_text()
    assert optc("check", "--fix", bad).code == 1
    assert bad.read_text() == before


def test_diff_writes_nothing(optc, tmp_path):
    path = tmp_path / "a.opt"
    path.write_text(SLIP)
    code, out, err = optc("check", "--diff", f"{path}:plain")
    assert (code, path.read_text()) == (0, SLIP)
    assert "-  precondition momentum(beta);\n" in out
    assert "+  precondition momentum(beta)\n" in out
    assert err.startswith("2 changes would be made in ")


def test_json_says_what_is_left_and_which_fixes_are_safe(optc, tmp_path):
    path = tmp_path / "a.opt"
    path.write_text(SLIP.replace("momentum", "momentun"))
    findings = json.loads(optc("check", "--format", "json", path).out)["diagnostics"]
    assert [finding["fix"]["safe"] for finding in findings] == [True, True]
    left = json.loads(optc("check", "--fix", "--format", "json", path).out)["diagnostics"]
    assert [(f["code"], f["fix"]["safe"]) for f in left] == [("unknown-rule", False)]


def test_the_library_stays_as_it_is(optc):
    code, _, err = optc("check", "--fix", "adamw")
    assert code == 0
    assert "`optimizer/adamw.opt` is of the library, and stays as it is" in err


def test_a_file_that_is_no_text_is_not_written(optc, tmp_path):
    path = tmp_path / "a.opt"
    data = SLIP.replace("Kept", "Kept é").encode("latin-1")
    path.write_bytes(data)
    code, _, err = optc("check", "--fix", path)
    assert code == 1
    assert "it is not UTF-8 text" in err
    assert path.read_bytes() == data


def test_the_mark_of_an_editor_stays(optc, tmp_path):
    path = tmp_path / "a.opt"
    path.write_bytes(b"\xef\xbb\xbf" + SLIP.encode())
    assert optc("check", "--fix", path).code == 0
    assert path.read_bytes() == b"\xef\xbb\xbf" + RIGHT.encode()


def test_a_file_is_fixed_again_when_one_that_it_uses_was(optc, tmp_path):
    rules, user = tmp_path / "rules.opt", tmp_path / "user.opt"
    rules.write_text("rule precondition squared() { return g ** 2 }\n")
    stages = "{ precondition squared() tune step lr / k }"
    user.write_text(f'use "rules.opt"\noptimizer one(lr = 0.1, k: int = 2) {stages}\n')
    code, out, err = optc("check", "--fix", user, rules)
    assert (code, out) == (0, "")
    assert err.endswith("2 specs checked: nothing to report\n")
    assert "k = 2" in user.read_text()
    assert optc("check", "--fix", user, rules).err == "2 specs checked: nothing to report\n"
