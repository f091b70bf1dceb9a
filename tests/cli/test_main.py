import os
import subprocess
import sys

import pytest

from optc.cli import main as entry
from optc.cli.app import COMMANDS


def python(code, *arguments, **more):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        **more,
    )


MAIN = "import sys; from optc.cli.main import main; sys.exit(main())"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_shows_an_example(optc, command):
    code, out, err = optc(command, "--help")
    assert (code, err) == (0, "")
    assert f"Example:\n    optc {command}" in out
    assert out.startswith(f"Usage: optc {command}")


def test_help_lists_every_command_with_its_summary(optc):
    code, out, _ = optc("--help")
    assert code == 0
    for command in COMMANDS:
        assert any(
            line.split()[:1] == [command] and len(line.split()) > 3 for line in out.splitlines()
        )


def test_version_is_that_of_the_package(optc):
    from importlib.metadata import version

    assert optc("--version") == (0, f"optc {version('optc')}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["chek"],
        ["check"],
        ["check", "x.opt", "--format", "xml"],
        ["compile", "x.opt", "--set", "lr"],
        ["compile", "x.opt", "--set", "lr=1", "--set", "lr=2"],
        ["train", "x.opt", "--task", "chess"],
        ["train", "x.opt", "--steps", "0"],
        ["fmt", "--fix"],
    ],
)
def test_wrong_usage_is_2_and_says_so_on_standard_error(optc, arguments):
    code, out, err = optc(*arguments)
    assert (code, out) == (2, "")
    assert "Error: " in err
    assert "Traceback" not in err


def test_no_arguments_show_the_help(optc):
    code, out, err = optc()
    assert code == 2
    assert "Commands:" in out + err


def test_our_own_fault_is_70_and_one_short_message(optc, monkeypatch, good):
    def broken(*_):
        raise RuntimeError("the cat is on the keyboard")

    monkeypatch.setattr("optc.cli.findings.locate", broken)
    code, out, err = optc("check", good)
    assert (code, out) == (70, "")
    assert "internal error in optc" in err
    assert "RuntimeError: the cat is on the keyboard" in err
    assert "Traceback" not in err


def test_debugging_shows_the_traceback_of_our_own_fault(optc, monkeypatch, good):
    monkeypatch.setenv("OPTC_DEBUG", "1")
    monkeypatch.setattr("optc.cli.findings.locate", lambda _: 1 / 0)
    code, _, err = optc("check", good)
    assert code == 70
    assert "Traceback" in err


def test_an_interrupt_is_130_and_quiet(optc, monkeypatch, good):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("optc.cli.findings.locate", interrupted)
    assert optc("check", good) == (130, "", "")


def test_a_reader_that_has_had_enough_hears_nothing():
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(
        [sys.executable, "-c", MAIN, "list"], stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)
    assert (ended.returncode, ended.stderr) == (1, b"")


@pytest.mark.parametrize("command", ["check", "diff", "explain", "fmt", "list", "lock", "plan"])
def test_what_needs_no_jax_does_not_import_it(command, good):
    specs = {
        "diff": ["sgd", str(good)],
        "list": [],
        "lock": ["--hash", str(good)],
        "plan": [str(good), "--params", "mlp"],
    }
    code = "import sys; from optc.cli.main import main; main(sys.argv[1:]); print(*sys.modules)"
    ended = python(code, command, *specs.get(command, [str(good)]))
    imported = set(ended.stdout.splitlines()[-1].split())
    assert "optc.grammar.parse" in imported
    assert not imported & {"jax", "numpy", "optax", "networkx", "matplotlib", "rich"}


def test_the_entry_point_of_the_package_is_main():
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="optc")
    assert script.load() is entry.main
