import io

UGLY = "optimizer plain( lr=0.1 ){ # the step\ntune   step lr }\n"


def test_a_file_is_rewritten_and_its_comments_are_kept(optc, tmp_path):
    path = tmp_path / "ugly.opt"
    path.write_text(UGLY)
    code, out, err = optc("fmt", path)
    assert (code, out, err) == (0, "", "1 file reformatted\n")
    assert path.read_text() != UGLY
    assert "# the step" in path.read_text()


def test_formatting_again_changes_nothing(optc, tmp_path):
    path = tmp_path / "ugly.opt"
    path.write_text(UGLY)
    optc("fmt", path)
    first = path.read_text()
    assert optc("fmt", path) == (0, "", "1 file already formatted\n")
    assert path.read_text() == first
    assert optc("fmt", path, "--check").code == 0


def test_check_writes_nothing_and_is_1_if_a_file_would_change(optc, tmp_path):
    path = tmp_path / "ugly.opt"
    path.write_text(UGLY)
    code, out, err = optc("fmt", path, "--check")
    assert (code, out) == (1, "")
    assert f"would reformat {path}" in err
    assert path.read_text() == UGLY


def test_diff_prints_what_would_change_and_writes_nothing(optc, tmp_path):
    path = tmp_path / "ugly.opt"
    path.write_text(UGLY)
    code, out, _ = optc("fmt", path, "--diff")
    assert code == 0
    assert f"--- {path}" in out
    assert "-tune   step lr }" in out
    assert path.read_text() == UGLY


def test_a_syntax_error_is_told_and_the_file_is_left_alone(optc, tmp_path):
    broken, ugly = tmp_path / "broken.opt", tmp_path / "ugly.opt"
    broken.write_text("optimizer {")
    ugly.write_text(UGLY)
    code, out, err = optc("fmt", broken, ugly)
    assert (code, out) == (1, "")
    assert "error[" in err
    assert "1 file reformatted, 1 file not formatted" in err
    assert broken.read_text() == "optimizer {"
    assert ugly.read_text() != UGLY


def test_standard_input_goes_to_standard_output(optc, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(UGLY))
    code, out, _ = optc("fmt", "-")
    assert code == 0
    assert "# the step" in out


def test_what_cannot_be_read_is_one_line(optc, tmp_path):
    (tmp_path / "latin.opt").write_bytes(b"\xff\xfe")
    code, _, err = optc("fmt", "nowhere.opt", "latin.opt")
    assert code == 1
    assert "error: cannot read nowhere.opt: No such file or directory" in err
    assert "error: cannot read latin.opt: it is not UTF-8 text" in err
