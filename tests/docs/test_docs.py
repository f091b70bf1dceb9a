"""What the documentation says is true: its code runs, its specs check, its commands exist.

Blocks are marked after their language:

- `python` blocks of one page run in order, in one namespace, in a folder of their own;
  `python excerpt NAME` is a part of the module of NAME, with `...` for what is left out.
- `opt` blocks are whole files without a finding. `opt stages` is the inside of an optimizer,
  `opt body` that of a precondition rule. `opt wrong CODE` has a mistake of that code.
- `sh` blocks are commands; those of `optc` are parsed with the command line of the app.
- `console` blocks are a command and what it prints, with `...` for what is left out. `console FILE`
  finds the spec of the last `opt` block in FILE.
"""

import re
import runpy
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

import optc
from optc.cli.app import COMMANDS, app
from optc.cli.main import main
from optc.compiler.check import check
from optc.compiler.locate import Located
from optc.grammar.render import render_text
from optc.grammar.source import Source

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

FRAMES = {
    "": "{}",
    "stages": "optimizer x(lr = 0.1 in [0, inf)) {{\n{}\n}}",
    "body": "rule precondition x(beta = 0.9 in [0, 1)) {{\n{}\n}}",
}
"""What a marked `opt` block is a part of."""


@dataclass(frozen=True)
class Code:
    """A block of code: its page, its line there, its language and marks, its text."""

    page: Path
    line: int
    language: str
    marks: tuple[str, ...]
    text: str


def code(path):
    text = path.read_text(encoding="utf-8")
    for match in re.finditer(r"^```(\w+)([^\n]*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        language, marks, body = match.groups()
        line = text.count("\n", 0, match.start(3)) + 1
        yield Code(path, line, language, tuple(marks.split()), body)


def blocks(language, *first):
    found = [block for page in PAGES for block in code(page) if block.language == language]
    wanted = [block for block in found if block.marks[:1] == first]
    return [pytest.param(b, id=f"{b.page.stem}:{b.line}") for b in wanted]


def plain_python(page):
    return [block for block in code(page) if block.language == "python" and not block.marks]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if plain_python(page)], ids=lambda page: page.stem
)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPTC_CACHE_DIR", str(tmp_path / "kept"))
    namespace = {"__name__": page.stem}
    for block in plain_python(page):
        # Empty lines before the code make the line numbers of a traceback those of the page.
        exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), namespace)


@pytest.mark.parametrize("block", blocks("python", "excerpt"))
def test_an_excerpt_is_a_part_of_its_module(block):
    module = iter(optc.load(block.marks[1]).source.splitlines())
    for line in block.text.splitlines():
        if line.strip() not in ("", "..."):
            assert line in module, f"the module has no such line after those before: {line}"


def findings(text):
    return check(Located(Source("page.opt", text))).sorted()


@pytest.mark.parametrize(
    "block", [block for frame in FRAMES for block in blocks("opt", *frame.split())]
)
def test_a_spec_has_no_mistake(block):
    frame = FRAMES[" ".join(block.marks)]
    found = findings(frame.format(block.text))
    assert not found, render_text(found)


@pytest.mark.parametrize("block", blocks("opt", "wrong"))
def test_a_wrong_spec_has_the_mistake_that_its_page_says(block):
    assert {finding.code for finding in findings(block.text)} == set(block.marks[1:])


def test_generated_pages_are_current():
    pages = runpy.run_path(str(ROOT / "docs" / "generate.py"))["PAGES"]
    for name, page in pages.items():
        now = (ROOT / "docs" / name).read_text(encoding="utf-8")
        assert now == page(), f"{name} is old: run `python docs/generate.py`"


# ---- commands


def consoles():
    for page in PAGES:
        spec = ""
        for block in code(page):
            if block.language == "opt":
                spec = block.text
            elif block.language == "console":
                yield pytest.param(spec, block, id=f"{page.stem}:{block.line}")


@pytest.mark.parametrize(("spec", "block"), list(consoles()))
def test_a_command_prints_what_its_page_says(spec, block, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in block.marks:
        (tmp_path / name).write_text(spec, encoding="utf-8")
    command, *expected = block.text.splitlines()
    assert command.startswith("$ optc ")
    main(shlex.split(command)[2:])
    printed = iter(capsys.readouterr().out.splitlines())
    for line in expected:
        if line.strip() not in ("", "..."):
            assert line in printed, f"it does not print, after the lines before: {line}"


def optc_lines():
    for page in PAGES:
        for block in code(page):
            for line in block.text.splitlines() if block.language == "sh" else ():
                for part in re.split(r"&&|\|", line.partition(" #")[0]):
                    words = shlex.split(part)
                    if words and words[0].rpartition("/")[2] == "optc":
                        yield pytest.param(words[1:], id=f"{page.stem}:{' '.join(words)}")


@pytest.mark.parametrize("words", list(optc_lines()))
def test_a_command_is_one_of_the_app(words):
    command = typer.main.get_command(app).get_command(None, words[0])
    assert command is not None, f"there is no command {words[0]}"
    command.make_context(words[0], list(words[1:]))  # raises for a wrong option or argument


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "command-line.md"])
def test_a_table_of_commands_has_those_of_the_app(page):
    rows = re.findall(r"^\| \[?`optc (\w+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == list(COMMANDS)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_the_page_of_the_command_line_has_every_option(name):
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    section = re.search(rf"^## `optc {name}\b.*?(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    assert section, f"there is no section of `optc {name}`"
    command = typer.main.get_command(app).get_command(None, name)
    options = [option for p in command.params for option in p.opts if option.startswith("-")]
    missing = [option for option in options if f"`{option}" not in section[0]]
    assert not missing


def test_ci_runs_the_test_command_of_the_readme():
    (line,) = (
        line
        for block in code(ROOT / "README.md")
        for line in block.text.splitlines()
        if block.language == "sh" and "pytest" in line
    )
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for command in line.split(" && "):
        assert f" {command}" in script, f".ci/run has no `{command}`"


# ---- links


def slug(heading):
    """The anchor that GitHub gives to a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


def anchors(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_internal_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(file), f"{page.name} links to {target}"
