"""`use`: what a spec may read, and whose names hold where."""

import pytest
from agreement import agree, assert_weights, by_hand, interpret, specimen
from tried import bowl

from optc.compiler.check import check
from optc.compiler.locate import Located, NotFoundError, find

RULE = "rule precondition own() { return twice(g) }\nfunc twice(x) { return 2 * x }\n"
OPTIMIZER = "optimizer one() { precondition own()  tune step 0.1 }\n"


@pytest.fixture
def write(tmp_path):
    def write(**files):
        for name, text in files.items():
            path = tmp_path / f"{name.replace('__', '/')}.opt"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def codes(located):
    return [d.code for d in check(located).sorted()]


def test_a_used_file_brings_its_rules_and_they_their_functions(write):
    folder = write(main=f'use "lib/rules.opt"\n{OPTIMIZER}', lib__rules=RULE)
    trace = agree(find(str(folder / "main.opt")), bowl())
    assert_weights(trace, by_hand(bowl(), lambda t, w, g: w - 0.2 * g))


def test_used_files_are_found_from_the_file_that_says_so(write):
    folder = write(
        main=f'use "lib/rules.opt"\n{OPTIMIZER}',
        lib__rules='use "more.opt"\n' + RULE.splitlines()[0],
        lib__more="func twice(x) { return 2 * x }",
    )
    # What a rule calls is looked up in its own file and in those that it uses.
    assert codes(find(str(folder / "main.opt"))) == []


def test_a_file_of_ones_own_comes_before_a_used_one_and_that_before_the_library(write):
    clip = "rule clip global_norm() {{ return {} * g }}\n"
    body = "optimizer one() { clip global_norm()  tune step 0.1 }\n"
    folder = write(
        used=f'use "lib.opt"\n{body}',
        own=f'use "lib.opt"\n{clip.format(3)}{body}',
        lib=clip.format(2),
    )
    for name, factor in (("used", 2), ("own", 3)):
        trace = agree(find(str(folder / f"{name}.opt")), bowl(), 1)
        assert_weights(trace, by_hand(bowl(), lambda t, w, g, k=factor: w - 0.1 * k * g, 1))


def test_a_schedule_of_ones_own_comes_before_a_function_of_the_library():
    """Whatever kinds they are: the library has a function `cosine`, and a schedule `linear`."""
    graph = specimen("""
    schedule cosine(peak) = peak / t
    func linear(x) { return 2 * x }
    optimizer one() { tune step cosine(0.5) * linear(0.1) }
    """).graph
    trace = interpret(graph, bowl(), 2)
    assert_weights(trace, by_hand(bowl(), lambda t, w, g: w - 0.1 / t * g, 2))


def test_files_that_use_each_other_are_refused(write):
    folder = write(a='use "b.opt"\n' + OPTIMIZER, b='use "c.opt"\n' + RULE, c='use "a.opt"')
    assert codes(find(str(folder / "a.opt"))) == ["circular-use"]
    folder = write(selfish=f'use "selfish.opt"\n{RULE}{OPTIMIZER}')
    assert codes(find(str(folder / "selfish.opt"))) == ["circular-use"]


def test_one_file_used_twice_is_read_once(write):
    folder = write(
        main=f'use "a.opt"\nuse "b.opt"\n{OPTIMIZER}',
        a='use "rules.opt"',
        b='use "./rules.opt"',
        rules=RULE,
    )
    report = codes(find(str(folder / "main.opt")))
    assert "duplicate-name" not in report
    assert "circular-use" not in report


@pytest.mark.parametrize(
    "path",
    [
        "../secret.opt",
        "/etc/passwd",
        "missing.opt",
        "sub/../../secret.opt",
        "no_ending",
        "a\\0.opt",
    ],
)
def test_what_lies_outside_or_nowhere_is_refused(write, path, tmp_path):
    (tmp_path / "secret.opt").write_text(RULE)
    folder = write(inside__main=f'use "{path}"\n{OPTIMIZER}') / "inside"
    found = check(find(str(folder / "main.opt"))).sorted()
    assert {d.code for d in found} & {"use-failed", "bad-escape"}
    assert "secret" not in " ".join(d.message for d in found if "secret" not in path)


def test_a_link_out_of_the_folder_is_refused(write, tmp_path):
    (tmp_path / "secret.opt").write_text(RULE)
    folder = write(inside__main=f'use "link.opt"\n{OPTIMIZER}') / "inside"
    (folder / "link.opt").symlink_to(tmp_path / "secret.opt")
    assert "use-failed" in codes(find(str(folder / "main.opt")))


def test_a_folder_outside_may_be_allowed(write, tmp_path):
    (tmp_path / "shared.opt").write_text(RULE)
    folder = write(inside__main=f'use "../shared.opt"\n{OPTIMIZER}') / "inside"
    where = find(str(folder / "main.opt"))
    assert "use-failed" in codes(where)
    allowed = Located(where.source, where.name, where.folder, (tmp_path.resolve(),))
    assert codes(allowed) == []


def test_a_mistake_in_a_used_file_is_shown_there(write):
    folder = write(
        main=f'use "rules.opt"\n{OPTIMIZER}', rules="rule precondition own() { retur g }"
    )
    found = check(find(str(folder / "main.opt"))).sorted()
    assert found
    assert found[-1].span.source.name.endswith(("rules.opt", "main.opt"))


def test_finding_says_what_it_looked_for(tmp_path):
    with pytest.raises(NotFoundError, match="did you mean `polyak_sgd`"):
        find("polyak_sdg")
    with pytest.raises(NotFoundError, match=r"nowhere\.opt: no such file"):
        find(str(tmp_path / "nowhere.opt"))
    (tmp_path / "folder.opt").mkdir()
    with pytest.raises(NotFoundError, match="is a directory"):
        find(str(tmp_path / "folder.opt"))


def test_one_optimizer_of_several_is_named_or_the_last_is_meant(write):
    folder = write(two="optimizer a() { tune step 1 }\noptimizer b() { tune step 2 }\n", none=RULE)
    path = str(folder / "two.opt")
    assert (
        agree(find(f"{path}:a"), bowl(), 1).last.weights[1][0]
        != agree(find(path), bowl(), 1).last.weights[1][0]
    )
    assert codes(find(f"{path}:c")) == ["no-optimizer"]
