"""A spec from a stranger gets diagnostics and exit code 1; nothing runs, nothing is written."""

import os
import resource
import subprocess
import sys
import time

import pytest

from optc.compiler.check import check
from optc.compiler.locate import Located, find
from optc.grammar.diagnostic import SpecError
from optc.grammar.source import Source

ONE_RULE = """
rule clip rule_{0}(limit = 1.0 in (0, inf)) {{
  size = norm(g)
  scale = min(1, limit / size)
  return scale * g
}}
"""


def optc(*arguments, cwd):
    """Run the command line in a process of its own, with a bounded memory."""
    code = "import sys; from optc.cli.main import main; sys.exit(main(sys.argv[1:]))"

    def bounded():
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))

    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=bounded,
        check=False,
    )


def hostile():
    """Texts that no person would write, by what is wrong with them."""
    nested = "(" * 10_000 + "lr" + ")" * 10_000
    return {
        "random bytes": os.urandom(20_000),
        "nothing": b"",
        "nested parentheses": f"optimizer x(lr = 1) {{ tune step {nested} }}".encode(),
        "nested blocks": b"rule clip x() { " + b"if t > 1 { " * 5_000,
        "a long chain": b"optimizer x(lr = 1) { tune step lr" + b" + lr" * 20_000 + b" }",
        "many minus signs": b"optimizer x(lr = 1) { tune step " + b"-" * 20_000 + b"lr }",
        "five megabytes": b"# padding\n" * 500_000,
        "one long line": b"optimizer " + b"x" * 900_000,
        "a huge number": b"optimizer x(lr = 1e999) { tune step 1e999 * lr }",
        "a tower of powers": b"optimizer x(lr = 1) { tune step lr * 9^9^9^9^9 }",
        "a recursive rule": b"rule clip r() { return r(g) }\noptimizer x() { clip r() }",
        "an unclosed string": b'use "somewhere',
        "zero bytes": b"optimizer x(lr = 1) {\0 tune step lr }",
        "a path out": b'use "../../../../etc/passwd.opt"\noptimizer x(lr = 1) { tune step y }',
        "code in a name": b"optimizer x() { observe norm(g) as __import__('os') tune step 1 }",
        "a foreign call": b'extern clip x() = os.system("touch x")',
        "a private call": b"extern clip x() = optax._src.base.identity()",
        "many mistakes": b"optimizer x(lr = 1) { tune step a }\n" * 5_000,
    }


@pytest.mark.parametrize("what", hostile())
def test_a_hostile_spec_gets_diagnostics_and_exit_code_1(what, tmp_path):
    spec = tmp_path / "hostile.opt"
    spec.write_bytes(hostile()[what])
    began = time.monotonic()
    for command in ("check", "compile"):
        ended = optc(command, spec, cwd=tmp_path)
        expected = 0 if (what, command) == ("nothing", "check") else 1
        assert ended.returncode == expected, ended.stderr[-500:]
        assert "Traceback" not in ended.stderr + ended.stdout
        assert len(ended.stdout + ended.stderr) < 500_000
    assert time.monotonic() - began < 40
    assert [file.name for file in tmp_path.iterdir()] == ["hostile.opt"]


def test_files_that_use_each_other_are_told_apart_from_endless_ones(tmp_path):
    (tmp_path / "a.opt").write_text('use "b.opt"\noptimizer x(lr = 1) { tune step lr }\n')
    (tmp_path / "b.opt").write_text('use "a.opt"\n')
    codes = [d.code for d in check(find(str(tmp_path / "a.opt")))]
    assert codes == ["circular-use"]


def test_names_that_python_knows_reach_the_module_safely(tmp_path):
    import optc as package

    text = """
    optimizer class(lambda = 0.1 in (0, 1), import = 0.5 in (0, 1)) {
      precondition def()
      tune step lambda * import
      observe norm(g) as return
    }
    rule precondition def() {
      state print = zeros(g)
      print <- 0.5 * print + g
      max_ = print
      return max_
    }
    """
    program = package.compile(text)
    assert set(program.hyperparameters) == {"lambda", "import"}
    assert program.observed == ("return",)


def test_texts_reach_the_module_only_as_escaped_literals(tmp_path):
    import optc as package

    text = '''
    """A doc with \\"quotes\\", a back\\\\slash and an end: \\"\\"\\" import os"""
    optimizer quoted(lr = 0.1) {
      decay weights(0.1) where path matches "a\\"b\\nc" # """
      tune step lr
    }
    '''
    try:
        source = package.compile(text).source
    except SpecError as error:
        pytest.fail(str(error))
    compile(source, "module", "exec")
    assert "\nimport os" not in source


def lines_of(rules):
    text = "".join(ONE_RULE.format(i) for i in range(rules))
    stages = "\n".join(f"  clip rule_{i}()" for i in range(0, rules, 10))
    return f"{text}\noptimizer long(lr = 0.1) {{\n{stages}\n  tune step lr\n}}\n"


def groups(number):
    lines = [f'group g{i} where path matches "a{i}x" {{ tune step lr }}' for i in range(number)]
    body = "\n  ".join([*lines, "group rest { tune step lr }"])
    return f"optimizer many(lr = 0.1 in [0, inf)) {{\n  {body}\n}}\n"


def test_an_optimizer_may_have_many_groups_and_not_any_number():
    for number, expected in ((99, []), (100, ["bad-group"]), (5_000, ["bad-group"])):
        found = check(Located(Source("many.opt", groups(number))))
        assert [finding.code for finding in found] == expected


def test_a_long_spec_is_checked_in_linear_time():
    def seconds(rules):
        located = Located(Source("long.opt", lines_of(rules)))
        began = time.process_time()
        assert len(check(located)) == 0
        return time.process_time() - began

    seconds(10)
    small, large = seconds(160), seconds(1_600)
    # Ten times the lines, and room for a machine that is busy with something else.
    assert large < 25 * small
    assert lines_of(1_600).count("\n") > 9_000
