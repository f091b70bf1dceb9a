"""`optc cache`: what it says of the folder, and what it removes."""

import pytest

from optc.api.store import Store


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("OPTC_CACHE_DIR", str(tmp_path / "kept"))
    monkeypatch.delenv("OPTC_CACHE_MIB", raising=False)
    return Store.of_user()


def test_info_says_where_and_how_much(optc, store):
    expected = f"folder  {store.folder}\nkept    {{}}\nlimit   1024 MiB\n"
    assert optc("cache", "info") == (0, expected.format("0 entries, 0.0 MiB"), "")
    store.write("0" * 64, bytes(3 << 20))
    assert optc("cache", "info") == (0, expected.format("1 entry, 3.0 MiB"), "")


def test_clear_removes_all(optc, store):
    store.write("0" * 64, bytes(1 << 20))
    ended = optc("cache", "clear")
    assert ended == (0, f"removed 1 entry, 1.0 MiB from {store.folder}\n", "")
    assert store.usage() == (0, 0)


def test_info_says_why_a_folder_is_not_used(optc, store):
    store.folder.mkdir()
    store.folder.chmod(0o777)
    assert "not used  other users may write to it" in optc("cache", "info").out


def test_info_says_that_a_folder_cannot_be_written(optc, store, monkeypatch):
    # Permissions do not hold for the administrator, as whom tests may run.
    monkeypatch.setattr(Store, "is_writable", False)
    assert "not written  permission denied" in optc("cache", "info").out


def test_a_wrong_limit_is_one_line(optc, store, monkeypatch):
    monkeypatch.setenv("OPTC_CACHE_MIB", "much")
    ended = optc("cache", "info")
    assert ended.code == 1
    assert ended.err == "error: `OPTC_CACHE_MIB` is 'much'; it is a whole number of MiB\n"


def test_another_action_is_wrong_usage(optc):
    assert optc("cache", "burn").code == 2
