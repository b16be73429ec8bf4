from workbench.redaction import Rule, redact

RULES = [Rule(name="email", pattern=r"[\w.]+@[\w.]+")]


def test_equal_texts_get_equal_placeholders_under_one_key():
    value = {"a": ["to x@y.org", {"x@y.org": 1}], "n": 3}
    once = redact(value, RULES, b"key")
    assert once == redact(value, RULES, b"key")
    assert "x@y.org" not in str(once)
    assert once["a"][0].split()[1] in once["a"][1]


def test_another_key_gives_another_placeholder():
    assert redact("x@y.org", RULES, b"1") != redact("x@y.org", RULES, b"2")


def test_redacting_twice_changes_nothing_more():
    once = redact("x@y.org", RULES, b"key")
    assert redact(once, RULES, b"key") == once
