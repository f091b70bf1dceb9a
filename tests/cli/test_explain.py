from optc.grammar.diagnostic import RULES


def test_every_diagnostic_is_explained(optc):
    optc("explain", "unknown-rule")  # imports what declares the rules
    for rule in RULES.values():
        code, out, _ = optc("explain", rule.code)
        assert code == 0
        assert out.startswith(f"{rule.severity.value}[{rule.code}]: {rule.summary}\n")
        assert rule.explanation in out


def test_an_unknown_code_proposes_the_nearest(optc):
    code, out, err = optc("explain", "unknown-rul")
    assert (code, out) == (1, "")
    assert err == "error: no diagnostic is called `unknown-rul`; did you mean `unknown-rule`?\n"
