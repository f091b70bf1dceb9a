"""The folder of what is kept: whole entries of this user alone, and never more than a limit."""

import os
import threading
import time

import pytest

from optc.api.store import DEFAULT_LIMIT, MIB, LimitError, Store

KEY, OTHER = "a1" * 32, "b2" * 32
VALUE = bytes(range(256)) * 8


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "kept")


def entry(store, key=KEY):
    return store.folder / f"{key}.kept"


def aged(store, key, seconds):
    """Let an entry have been used so long ago."""
    then = time.time() - seconds
    os.utime(entry(store, key), (then, then))


def test_what_is_written_is_read(store):
    assert store.read(KEY) is None
    for value in (VALUE, b"", b"new"):
        store.write(KEY, value)
        assert store.read(KEY) == value
        assert store.read(OTHER) is None


def test_folder_and_entries_are_the_users_alone(store):
    store.write(KEY, VALUE)
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert entry(store).stat().st_mode & 0o777 == 0o600


def damages():
    """Ways in which a file may not be what was written."""
    whole = len(VALUE) + 50
    cuts = (0, 1, 17, 18, 19, 49, 50, 51, whole - 1)
    flips = (0, 17, 18, 49, 50, 51, whole // 2, whole - 1)
    yield from ((f"cut at {n}", lambda data, n=n: data[:n]) for n in cuts)
    yield from (
        (f"flip at {n}", lambda data, n=n: data[:n] + bytes([data[n] ^ 1]) + data[n + 1 :])
        for n in flips
    )
    yield "longer", lambda data: data + b"\0"
    yield "zeros", lambda data: b"\0" * len(data)
    yield "twice", lambda data: data + data


def test_what_is_damaged_is_passed_over_and_written_anew(store, caplog):
    store.write(KEY, VALUE)
    written = entry(store).read_bytes()
    assert len(written) == len(VALUE) + 50
    for what, damage in damages():
        entry(store).write_bytes(damage(written))
        assert store.read(KEY) is None, what
        store.write(KEY, VALUE)
        assert store.read(KEY) == VALUE, what
    assert not caplog.records, "no word but in the log of who debugs"


def test_an_entry_is_that_of_its_key(store):
    store.write(KEY, VALUE)
    entry(store).rename(entry(store, OTHER))
    assert store.read(OTHER) is None


def loosened(path, outside):
    path.chmod(0o622)


def linked(path, outside):
    outside.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(outside)


def a_pipe(path, outside):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="there are no such users here")
@pytest.mark.parametrize("made", [loosened, linked, a_pipe])
def test_what_others_could_have_written_is_passed_over_and_replaced(store, tmp_path, made):
    store.write(KEY, VALUE)
    outside = tmp_path / "outside"
    made(entry(store), outside)
    before = outside.read_bytes() if outside.exists() else None
    assert store.read(KEY) is None
    store.write(KEY, b"mine")
    assert store.read(KEY) == b"mine"
    assert (outside.read_bytes() if outside.exists() else None) == before, "links are not followed"


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="there are no such users here")
def test_a_folder_of_others_is_not_used(store, monkeypatch):
    store.write(KEY, VALUE)
    store.folder.chmod(0o777)
    assert store.read(KEY) is None
    assert store.refusal == "other users may write to it"
    store.write(OTHER, VALUE)
    assert not entry(store, OTHER).exists()

    store.folder.chmod(0o700)
    assert store.read(KEY) == VALUE
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert store.read(KEY) is None
    assert store.refusal == "it belongs to another user"


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        store = Store(folder)
        store.write(KEY, VALUE)
        assert store.read(KEY) is None
        assert store.usage() == (0, 0)
    entry(store := Store(tmp_path / "kept")).mkdir(parents=True)
    store.folder.chmod(0o700)
    store.write(KEY, VALUE)
    assert store.read(KEY) is None, "a folder lies where the entry would"
    assert len(os.listdir(store.folder)) == 1, "nothing is left behind"


def test_what_was_not_used_for_longest_goes_first(tmp_path):
    size = len(VALUE) + 50
    store = Store(tmp_path / "kept", 3 * size)
    keys = [f"{i:064x}" for i in range(5)]
    for i, key in enumerate(keys[:3]):
        store.write(key, VALUE)
        aged(store, key, 100 - i)
    assert store.read(keys[0]) == VALUE  # used now
    store.write(keys[3], VALUE)
    assert [store.read(key) is not None for key in keys] == [True, False, True, True, False]
    assert store.usage() == (3, 3 * size)
    store.write(keys[4], bytes(4 * size))
    assert store.read(keys[4]) is None, "what is larger than all may be is not kept"
    assert store.usage() == (3, 3 * size)


def test_clearing_removes_what_is_kept_and_nothing_else(store):
    store.write(KEY, VALUE)
    (store.folder / ".abc.part").write_bytes(b"of a process that was killed")
    (store.folder / "notes.txt").write_text("mine")
    assert store.clear() == (1, len(VALUE) + 50)
    assert os.listdir(store.folder) == ["notes.txt"]
    assert store.clear() == (0, 0)


def test_what_a_killed_process_left_goes(store):
    store.write(KEY, VALUE)
    for name, seconds in ((".old.part", 7200), (".new.part", 10)):
        (store.folder / name).write_bytes(b"")
        os.utime(store.folder / name, (time.time() - seconds,) * 2)
    store.write(OTHER, VALUE)
    assert sorted(os.listdir(store.folder))[:2] == [".new.part", entry(store).name]


def test_several_at_once_read_whole_values(tmp_path):
    """Writers, readers and one who clears: a value is there as it was written, or it is not."""
    values = {bytes([i]) * (1000 + i) for i in range(8)}
    seen, failed = set(), []

    def work(turn):
        store = Store(tmp_path / "kept", 20_000)
        try:
            for _ in range(40):
                turn(store)
        except Exception as error:
            failed.append(error)

    turns = [lambda store, value=value: store.write(KEY, value) for value in values]
    turns += [lambda store: seen.add(store.read(KEY))] * 4
    turns += [lambda store: store.write(OTHER, b"o" * 15_000), lambda store: store.clear()]
    threads = [threading.Thread(target=work, args=(turn,)) for turn in turns]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert seen <= values | {None}


def test_the_environment_says_where_and_how_much(tmp_path, monkeypatch):
    monkeypatch.setenv("OPTC_CACHE_DIR", str(tmp_path / "own"))
    monkeypatch.delenv("OPTC_CACHE_MIB", raising=False)
    assert Store.of_user() == Store(tmp_path / "own", DEFAULT_LIMIT)
    monkeypatch.setenv("OPTC_CACHE_MIB", "5")
    assert Store.of_user().limit == 5 * MIB
    for wrong in ("five", "-1", "1e3", "9" * 20, "٣"):
        monkeypatch.setenv("OPTC_CACHE_MIB", wrong)
        with pytest.raises(LimitError, match=r"`OPTC_CACHE_MIB` is .*; it is a whole number"):
            Store.of_user()
    monkeypatch.delenv("OPTC_CACHE_DIR")
    monkeypatch.delenv("OPTC_CACHE_MIB")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Store.of_user().folder.name == "optc"
