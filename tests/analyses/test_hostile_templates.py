"""Templates made to take time and memory, or to look around: none costs more than it may."""

import pytest
from attacked import attack, built

pytestmark = pytest.mark.attack(38, "templates")

PLAIN = "{{ question }}{% for o in options %}({{ o.label }}) {{ o.text }} {% endfor %}"


def nested(times: int, opened: str, closed: str) -> str:
    return opened * times + closed * times


TEMPLATES = {
    "a range": ("{% for a in range(10000000000) %}x{% endfor %}", "more than 50,000 steps"),
    "a range beyond words": (f"{{% if 1 in range({10**30}) %}}{{% endif %}}", "cannot be used"),
    "loops in loops": (
        nested(12, "{% for a in range(9) %}", "{% endfor %}"),
        "more than 50,000 steps for a prompt",
    ),
    "twenty loops": (nested(25, "{% for a in question %}", "{% endfor %}"), "cannot be used|steps"),
    "joins": (
        "{% for a in range(9000) %}{% if (" + "question ~ " * 600 + "'') == 'x' %}{% endif %}"
        "{% endfor %}",
        "more than 50,000 steps",
    ),
    "sums": (
        "{% for a in range(9000) %}{% if " + "question + " * 20 + "'' == 'x' %}{% endif %}"
        "{% endfor %}",
        "more than 50,000 steps",
    ),
    "filters": (
        "{% for a in range(9000) %}{% if question" + "|upper|lower" * 20 + " %}{% endif %}"
        "{% endfor %}",
        "more than 50,000 steps",
    ),
    "titles": (
        "{% for a in range(9000) %}{% if '" + "ab " * 3000 + "'|title|title == question %}"
        "{% endif %}{% endfor %}",
        "more than 50,000 steps",
    ),
    "trimmed by many letters": (
        f"{{{{ topic|trim('{'abc' * 5000}') }}}}",
        "the filter 'trim' with a value in brackets",
    ),
    "output": ("{% for a in range(9000) %}" + "x" * 900 + "{% endfor %}", "200,000 characters"),
    "lists": (
        "{% for a in " + " + ".join(["options"] * 1500) + " %}{% for b in options %}"
        "{% for c in options %}{% for d in options %}{% endfor %}{% endfor %}{% endfor %}"
        "{% endfor %}",
        "more than 50,000 steps|nested too deeply",
    ),
    "brackets": ("{{ " + "(" * 9000 + "1" + ")" * 9000 + " }}", "nested too deeply"),
    "not": ("{% if " + "not " * 4900 + "question %}{% endif %}", "nested too deeply"),
    "sums of numbers": ("{{ " + "1 + " * 4900 + "1 }}", "nested too deeply"),
    "ifs": (nested(700, "{% if 1 %}", "{% endif %}"), "nested too deeply|cannot be used"),
    "attributes": ("{{ question" + ".x" * 9000 + " }}", "nested too deeply"),
    "a number of many digits": ("{{ " + "9" * 15_000 + " }}", "cannot be used"),
    "a hexadecimal number": ("{{ 0x" + "f" * 15_000 + " }}", "cannot be used"),
    "a macro that calls itself": (
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "'macro' in line 1 is not allowed|a call of anything but range",
    ),
    "a block in itself": ("{% block a %}{{ self.a() }}{% endblock %}", "not allowed"),
    "include": ("{% include '/etc/passwd' %}", "'include' in line 1 is not allowed"),
    "import": ("{% import 'os' as o %}", "'import' in line 1 is not allowed"),
    "a class": ("{{ ''.__class__.__mro__ }}", "the attribute '__mro__' in line 1 is not allowed"),
    "a class by parts": ("{{ question['__cla' ~ 'ss__'] }}", "unsafe|undefined|no attribute"),
    "format": ("{{ '%99999999999d' % 1 }}", "'mod' in line 1 is not allowed"),
    "times": ("{{ question * 10000000000 }}", "'mul' in line 1 is not allowed"),
    "what counts": ("{{ _cost }}{{ question|weighed }}", "'_cost' in line 1|'weighed' in line 1"),
    "uncounted": ("{{ question|counted|length }}", "the filter 'counted' in line 1"),
    "open comments": ("{#" * 9900, "cannot be used"),
    "open brackets": ("{{" * 9900, "cannot be used"),
    "long": ("x" * 10_000_000, "and 20,000 are allowed|has more than 20,000 characters"),
}


@pytest.mark.parametrize(("source", "says"), TEMPLATES.values(), ids=list(TEMPLATES))
def test_a_template_costs_no_more_than_it_may(tmp_path, source, says):
    path = tmp_path / "mine.jinja"
    path.write_text(PLAIN + source)
    ended = attack(built, {"template": f"file:{path}", "size": 20})
    assert any(each in ended.said for each in says.split("|")), ended.said[:500]
    assert len(ended.said) < 2000


def test_what_is_little_for_one_prompt_is_counted_over_all(tmp_path):
    path = tmp_path / "mine.jinja"
    path.write_text(PLAIN + "{% for a in range(2000) %}{% endfor %}")
    fields = {"template": f"file:{path}", "size": 500}
    assert not attack(built, fields | {"size": 5}, {"work": 100_000}).said
    assert (
        "more than 100,000 steps for all prompts" in attack(built, fields, {"work": 100_000}).said
    )


def test_prompts_of_shipped_templates_have_the_same_bounds(tmp_path):
    path = tmp_path / "x.csv"
    rows = [f'{"q" * 90_000}{n},"[""{"a" * 40_000}"", ""{"b" * 40_000}""]",0' for n in range(9)]
    path.write_text("\n".join(["question,choices,answer", *rows]))
    fields = {"data": f"file:{path}", "answer_reading": "from_0", "size": 9}
    assert "Prompt 0 (general knowledge/" in attack(built, fields | {"shots": 1}).said
    assert "makes prompts of more than 999,999" in attack(built, fields, {"text": 999_999}).said
