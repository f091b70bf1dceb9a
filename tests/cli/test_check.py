import json


def test_a_good_spec_is_0_with_nothing_on_standard_output(optc, good):
    assert optc("check", good) == (0, "", "1 spec checked: nothing to report\n")


def test_findings_go_to_standard_output_and_their_count_to_standard_error(optc, good, bad):
    code, out, err = optc("check", good, bad)
    assert code == 1
    assert "error[unknown-rule]" in out
    assert "error[unknown-name]" in out
    assert err == "2 specs checked: 2 errors\n"


def test_json_is_one_valid_document_for_all_files(optc, good, bad):
    code, out, _ = optc("check", good, bad, "--format", "json")
    assert code == 1
    assert {finding["code"] for finding in json.loads(out)["diagnostics"]} == {
        "unknown-rule",
        "unknown-name",
    }


def test_json_of_nothing_has_no_diagnostics(optc, good):
    assert json.loads(optc("check", good, "--format", "json").out)["diagnostics"] == []


def test_a_missing_file_is_one_line_and_the_others_are_checked(optc, bad):
    code, out, err = optc("check", "nowhere.opt", bad)
    assert code == 1
    assert "error[unknown-rule]" in out
    assert err.startswith("error: ")
    assert "nowhere.opt" in err.splitlines()[0]


def test_a_library_name_is_a_spec(optc):
    assert optc("check", "adamw").code == 0


def test_a_file_of_several_optimizers_is_checked_by_name(optc, good):
    assert optc("check", f"{good}:plain").code == 0
    code, out, _ = optc("check", f"{good}:other")
    assert code == 1
    assert "has no optimizer `other`" in out


def test_colours_are_for_terminals(optc, bad):
    assert "\033[" not in optc("check", bad).out
