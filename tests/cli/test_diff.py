import json
import shutil
import subprocess
import sys

import pytest

AFTER = """
optimizer plain(lr = 0.1 in (0, 10)) {
  clip global_norm(1.0)
  tune step lr
  observe norm(g) as grad_norm
}
"""


@pytest.fixture
def after(good, tmp_path):
    path = tmp_path / "after.opt"
    path.write_text(AFTER)
    return path


def test_what_changed_is_shown_and_the_exit_code_is_1(optc, good, after):
    code, out, err = optc("diff", good, after)
    assert (code, err) == (1, "")
    assert out.startswith("plain\n\nstages\n  + clip      global_norm(1.0)\n    tune step lr\n")


def test_nothing_is_shown_where_nothing_changed(optc, good):
    assert optc("diff", good, good) == (0, "", "")
    assert optc("diff", "adamw", "adamw") == (0, "", "")


def test_markdown_colours_each_section_as_a_diff(optc, good, after):
    code, out, _ = optc("diff", good, after, "--format", "markdown")
    assert code == 1
    assert out.startswith("### `plain`\n\n**stages**\n\n```diff\n+ clip      global_norm(1.0)\n")


def test_json_has_a_schema_and_only_what_changed(optc, good, after):
    code, out, _ = optc("diff", good, after, "--format", "json")
    (review,) = json.loads(out)["reviews"]
    assert (code, json.loads(out)["schema"], review["changed"]) == (1, 1, True)
    (clip,) = review["sections"]["stages"]
    assert (clip["how"], clip["name"], clip["what"]) == ("added", "clip", "global_norm(1.0)")
    code, out, _ = optc("diff", good, good, "--format", "json")
    assert (code, json.loads(out)["reviews"][0]["changed"]) == (0, False)


def test_a_file_is_compared_with_the_library(optc, good):
    code, out, _ = optc("diff", "sgd", good)
    assert code == 1
    assert out.startswith("sgd -> plain\n")


def test_mistakes_are_reported_and_the_exit_code_is_1(optc, good, bad):
    code, out, err = optc("diff", good, bad)
    assert (code, out) == (1, "")
    assert "error[unknown-rule]: no clip rule is named `globl_norm`" in err
    code, out, err = optc("diff", good, "nothing.opt")
    assert (code, out, err) == (1, "", "error: nothing.opt: no such file or directory\n")
    code, out, err = optc("diff", good, f"{good}:other")
    assert (code, out) == (1, "")
    assert "has no optimizer `other`" in err


@pytest.mark.parametrize("specs", [["adam"], ["adam", "sgd", "lion"]])
def test_it_takes_two_specs(optc, specs):
    code, out, err = optc("diff", *specs)
    assert (code, out) == (2, "")
    assert "it compares two optimizers" in err


# ---- as a diff driver of git


def driven(optc, path, old, new, *renamed):
    return optc("diff", "--git", path, old, "0", "100644", new, "0", "100644", *renamed)


def test_git_is_shown_a_review_and_never_told_of_a_failure(optc, good, after):
    code, out, err = driven(optc, "plain.opt", good, after)
    assert (code, err) == (0, "")
    assert out.startswith("plain.opt\n\nplain\n\nstages\n  + clip")


def test_git_is_told_where_only_the_layout_changed(optc, good, tmp_path):
    loose = tmp_path / "loose.opt"
    loose.write_text(good.read_text().replace("  tune", "\n      # a comment\n tune"))
    assert driven(optc, "plain.opt", good, loose).out == "plain.opt: what it says is unchanged\n\n"


def test_git_adds_removes_and_renames_files(optc, good):
    assert "plain, which is new" in driven(optc, "plain.opt", "/dev/null", good).out
    assert "plain, which is gone" in driven(optc, "plain.opt", good, "/dev/null").out
    renamed = driven(optc, "old.opt", good, good, "new.opt", "similarity index 100%\n")
    assert renamed.out == "old.opt -> new.opt: what it says is unchanged\n\n"


def test_git_gets_lines_where_a_version_has_mistakes(optc, good, bad):
    code, out, _ = driven(optc, "plain.opt", good, bad)
    assert code == 0
    assert out.startswith("plain.opt: 2 errors, so these are its lines\n\n--- plain.opt\n")
    assert "+  clip globl_norm(1.0)" in out


def test_what_is_not_of_git_is_refused(optc, good):
    code, out, err = optc("diff", "--git", good, good)
    assert (code, out) == (1, "")
    assert "`--git` is for git" in err
    assert optc("diff", "--git", "x.opt").out == "x.opt: not merged\n"


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_git_itself_runs_it(good, after, tmp_path):
    def git(*arguments):
        run = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(run, check=True, capture_output=True, text=True).stdout

    program = "import sys; from optc.cli.main import main; sys.exit(main())"
    (tmp_path / ".gitattributes").write_text("*.opt diff=opt\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    git("config", "diff.opt.command", f"{sys.executable} -c '{program}' diff --git")
    good.write_text(after.read_text())
    assert git("diff").startswith("plain.opt\n\nplain\n\nstages\n  + clip      global_norm(1.0)\n")
