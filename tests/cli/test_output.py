import pytest

from optc.cli.output import CommandError, write


def test_writing_replaces_a_file_and_keeps_its_mode(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(0o640)
    write(path, "new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_writing_through_a_link_keeps_the_link(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


@pytest.mark.parametrize("name", ["nowhere/file", "."])
def test_what_cannot_be_written_is_a_command_error(tmp_path, name):
    with pytest.raises(CommandError, match="cannot write"):
        write(tmp_path / name, "new")
    assert list(tmp_path.iterdir()) == []
