"""Conversations with tools and reasoning, rendered by transformers.

    chat_tools_golden.py OUT.json

The templates are those that autoglm-token has for the GLM family. Needs the packages transformers and jinja2.
"""

import json
import sys
from pathlib import Path

from jinja2.exceptions import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

FOLDER = Path(__file__).parent.parent.parent / "crates/autoglm-token/src/templates"

WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "The weather of a place: 天气.",
    "parameters": {"type": "object", "required": ["place"], "properties": {
        "place": {"type": "string"}, "days": {"type": "integer"}, "exact": {"type": "boolean"},
        "layers": {"type": "array", "items": {"type": "string"}}}}}}
CLOCK = {"type": "function", "function": {"name": "now", "description": "The time.",
                                          "parameters": {"type": "object", "properties": {}}}}


def call(name, **arguments):
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


ONE = call("get_weather", place="北京 \"east\" it's", days=3, exact=True, layers=["a", "b"])
CONVERSATIONS = [
    [{"role": "user", "content": "Hello"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather in 北京?"},
     {"role": "assistant", "content": "", "tool_calls": [ONE]}],
    [{"role": "user", "content": "Weather?"},
     {"role": "assistant", "content": "", "reasoning_content": "I must look.\nNow.", "tool_calls": [ONE]},
     {"role": "tool", "content": "{\"sky\": \"clear\"}"},
     {"role": "assistant", "content": "It is clear.", "reasoning_content": "So it is."}],
    [{"role": "user", "content": "Both"},
     {"role": "assistant", "content": "I ask.", "tool_calls": [ONE, call("now")]},
     {"role": "tool", "content": "one"}, {"role": "tool", "content": "two"}],
    [{"role": "user", "content": "Think"}, {"role": "assistant", "content": "Yes.", "reasoning_content": "hm"},
     {"role": "user", "content": "Again"}],
    [{"role": "user", "content": "x"}, {"role": "assistant", "content": "<think>\nold\n</think>\nanswer"}],
    [{"role": "stranger", "content": "x"}],
]


def main(out):
    rows = []
    for path in sorted(FOLDER.glob("*.jinja")):
        source = path.read_text()
        choices = (None, True, False) if "enable_thinking" in source else (None,)
        for messages in CONVERSATIONS:
            for tools in (None, [WEATHER, CLOCK]):
                for thinking in choices:
                    options = {} if thinking is None else {"enable_thinking": thinking}
                    last = messages[-1]["role"] == "assistant"
                    row = {"template": path.stem, "messages": messages, "tools": tools, "thinking": thinking,
                           "add_generation_prompt": not last}
                    try:
                        texts, _ = render_jinja_template(
                            [messages], tools=tools, chat_template=source, add_generation_prompt=not last,
                            bos_token="", eos_token="", **options)
                        row["text"] = texts[0]
                    except TemplateError as error:
                        row["refused"] = str(error)
                    rows.append(row)
    joined = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    Path(out).write_text("[\n" + joined + "\n]\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
