"""Conversations rendered by Python's jinja2 with the settings of transformers.

    chat_template_golden.py OUT.json

The templates are those that autoglm-token has for the GLM family, and those in chat_templates/: one of
ours, and smollm2.jinja, which is the metadata of that model. Needs the package jinja2.
"""

import json
import sys
from pathlib import Path

from jinja2.exceptions import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = Path(__file__).parent
FOLDERS = [HERE / "chat_templates", HERE.parent.parent / "crates/autoglm-token/src/templates"]
SPECIALS = {
    "smollm2": ("<|im_start|>", "<|im_end|>"),
    "gemma": ("<bos>", "<eos>"),
}

CONVERSATIONS = [
    [("user", "Hello")],
    [("user", "你好，请把这句话翻译成英文。")],
    [("system", "You are terse."), ("user", "What is 2+2?")],
    [("user", "Hi"), ("assistant", "Hello! How can I help?"), ("user", "Tell me a joke.")],
    [("system", "  padded  "), ("user", "\n\n  spaces and lines  \n\n"), ("assistant", " ok \n"), ("user", "<b>&amp;</b> \"quoted\" 'it'")],
    [("user", "think"), ("assistant", "<think>\nhm, well\n</think>\n\nanswer")],
    [("user", "think"), ("assistant", "<think>\nhm\n</think>\nanswer"), ("user", "again {{ 7 * 7 }} {% raw %}")],
    [("user", "")],
    [("assistant", "I begin.")],
    [("tool", "a result")],
]


def environment():
    def raise_exception(message):
        raise TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    return env


def render(template, conversation, bos, eos, add_generation_prompt):
    messages = [{"role": role, "content": content} for role, content in conversation]
    try:
        text = template.render(
            messages=messages, tools=None, documents=None, bos_token=bos, eos_token=eos,
            add_generation_prompt=add_generation_prompt,
        )
        return {"text": text}
    except TemplateError as error:
        return {"refused": str(error)}


# Expressions in which Jinja engines differ, each rendered alone.
EXPRESSIONS = [
    "{{ {'b': [1, 2.5, none, true], 'a': '你\"\\n\\x7f'} | tojson }}",
    "{{ {'b': [1, 2.5, none, true], 'a': '你\"\\n\\x7f😀'} | tojson(ensure_ascii=True) }}",
    "{{ {'b': [1, {}, []], 'a': {'c': 'd'}} | tojson(indent=4) }}",
    "{{ '  x '.strip() ~ '|' ~ 'a,b'.split(',')[-1] ~ '|' ~ ('y' if 'abc'.startswith('ab') else 'n') ~ '|' ~ 'abc'.upper() }}",
    "{{ 'xxabcxx'.strip('x') }} {{ '\\n\\nab'.lstrip('\\n') }} {{ 'a-b-c'.replace('-', '+') }}",
    "{{ messages[::-1] | length }} {{ 'y' if messages[-1].missing is defined else 'n' }} {{ missing }}|",
    "{% for x in [1, 2, 3] %}{% if x == 2 %}{% continue %}{% endif %}{{ x }}{% if not loop.last %},{% endif %}{% endfor %}",
    "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
    "{{ 'none' if tools is none }} {{ 'defined' if tools is defined }} {{ 'clock' if strftime_now is defined }}",
    "{% for k, v in {'z': 1, 'a': 2}.items() %}{{ k }}={{ v }};{% endfor %}",
    "    {% if true %}\n    kept\n    {% endif %}\nend\n",
    "{{ messages | map(attribute='role') | join('-') }} {{ [1, 2, 3] | sum }} {{ 7 // 2 }} {{ 7 / 2 }}",
    "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}",
    "{{ 'a' if false }}|{{ '%s-%d' | format('x', 3) }}|{{ 'Ab' | lower }}|{{ 'y' if 'x' in 'xyz' }}|{{ [1] + [2] }}",
    "{{ (messages | first).content | trim | length }} {{ messages[0]['content'][:3] }}",
]


def main(out):
    env = environment()
    rows = []
    for path in sorted((p for folder in FOLDERS for p in folder.glob("*.jinja")), key=lambda p: p.stem):
        source = path.read_text()
        bos, eos = SPECIALS.get(path.stem, ("", ""))
        template = env.from_string(source)
        cases = [
            {"messages": conversation, "add_generation_prompt": add, **render(template, conversation, bos, eos, add)}
            for conversation in CONVERSATIONS
            for add in (True, False)
        ]
        rows.append({"name": path.stem, "source": source, "bos": bos, "eos": eos, "cases": cases})
    conversation = CONVERSATIONS[3]
    expressions = [
        {"source": source, **render(env.from_string(source), conversation, "", "", True)} for source in EXPRESSIONS
    ]
    value = {"conversation": conversation, "expressions": expressions, "templates": rows}
    Path(out).write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
