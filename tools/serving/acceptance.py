#!/usr/bin/env python3
"""Drives a running server with the official `openai` client: every endpoint and option.

    pip install openai
    autoglm serve --listen 127.0.0.1:8080
    python3 tools/serving/acceptance.py http://127.0.0.1:8080

Prints a line a check; exits with 1 where one fails. The checks hold for any chat model and any model
of vectors: they look at the protocol, not at how clever answers are.
"""

import json
import math
import sys
import traceback
import urllib.request

import openai

BASE = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080"
KEY = sys.argv[2] if len(sys.argv) > 2 else "none"
client = openai.OpenAI(base_url=f"{BASE}/v1", api_key=KEY, max_retries=0, timeout=120)
models = client.models.list().data
WRITER = next(m.id for m in models if m.capability == "generate")
EMBEDDER = next((m.id for m in models if m.capability == "embed"), None)
HELLO = [{"role": "user", "content": "Name three fruits."}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "enum": ["Paris", "北京"]},
                "days": {"type": "integer", "minimum": 1, "maximum": 7},
            },
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "likes": {"type": "array", "items": {"enum": ["tea", "coffee"]}, "maxItems": 2},
    },
    "required": ["name", "age", "likes"],
    "additionalProperties": False,
}

checks = []


def check(function):
    """Registers a check."""
    checks.append(function)
    return function


def chat(**options):
    options = {"model": WRITER, "messages": HELLO, "max_completion_tokens": 24, **options}
    return client.chat.completions.create(**options)


def post(path, body):
    """What a plain request gives, where the client has no method."""
    request = urllib.request.Request(
        BASE + path,
        json.dumps(body).encode(),
        {"content-type": "application/json", "authorization": f"Bearer {KEY}"},
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


@check
def models_are_listed_and_retrieved():
    assert client.models.retrieve(WRITER).id == WRITER
    try:
        client.models.retrieve("none")
        raise AssertionError("a model that is not there was found")
    except openai.NotFoundError as error:
        assert error.code == "model_not_found"


@check
def a_chat_is_answered():
    answer = chat()
    choice = answer.choices[0]
    assert choice.message.role == "assistant" and choice.message.content
    assert choice.finish_reason in ("stop", "length")
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert answer.system_fingerprint


@check
def a_stream_adds_up_to_the_whole():
    whole = chat(temperature=0)
    text, reasons, usages = "", [], []
    for chunk in chat(temperature=0, stream=True, stream_options={"include_usage": True}):
        if chunk.usage:
            usages.append(chunk.usage)
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reasons += [choice.finish_reason] if choice.finish_reason else []
    assert text == whole.choices[0].message.content, (text, whole.choices[0].message.content)
    assert len(reasons) == 1
    assert len(usages) == 1 and usages[0].completion_tokens == whole.usage.completion_tokens


@check
def a_seed_repeats_an_answer_and_n_gives_several():
    one = chat(seed=7, n=3, temperature=1.2)
    two = chat(seed=7, n=3, temperature=1.2)
    texts = [choice.message.content for choice in one.choices]
    assert texts == [choice.message.content for choice in two.choices]
    assert len(set(texts)) > 1, texts
    assert [choice.index for choice in one.choices] == [0, 1, 2]


@check
def stop_texts_end_an_answer_and_are_not_part_of_it():
    whole = chat(temperature=0, max_completion_tokens=64).choices[0].message.content
    word = whole.split()[3]
    cut = chat(temperature=0, max_completion_tokens=64, stop=[word])
    assert word not in cut.choices[0].message.content
    assert cut.choices[0].finish_reason == "stop"
    assert whole.startswith(cut.choices[0].message.content.rstrip())


@check
def the_token_limit_holds_under_both_names():
    for name in ("max_tokens", "max_completion_tokens"):
        options = {"max_completion_tokens": openai.omit, name: 5}
        answer = chat(**options)
        assert answer.usage.completion_tokens <= 5
    assert answer.choices[0].finish_reason == "length"


@check
def probabilities_are_those_of_a_distribution():
    answer = chat(temperature=0, logprobs=True, top_logprobs=5)
    content = answer.choices[0].logprobs.content
    assert len(content) == answer.usage.completion_tokens
    for token in content:
        top = [other.logprob for other in token.top_logprobs]
        assert len(top) == 5 and top == sorted(top, reverse=True)
        # Greedy decoding takes the likeliest.
        assert abs(token.logprob - top[0]) < 1e-4
        assert sum(map(math.exp, top)) <= 1 + 1e-4
    text = b"".join(bytes(token.bytes) for token in content).decode(errors="replace")
    assert text.strip() == answer.choices[0].message.content.strip()


@check
def a_bias_bans_and_forces_tokens():
    token = post("/tokenize", {"model": WRITER, "prompt": "Apple", "add_special_tokens": False})["tokens"][0]
    forced = chat(temperature=0, logit_bias={str(token): 100}, max_completion_tokens=3)
    text = post("/detokenize", {"model": WRITER, "tokens": [token] * 3})["prompt"]
    assert forced.choices[0].message.content == text, forced.choices[0].message.content
    first = chat(temperature=0, logprobs=True, max_completion_tokens=1).choices[0].logprobs.content[0]
    ids = post("/tokenize", {"model": WRITER, "prompt": first.token, "add_special_tokens": False})["tokens"]
    banned = chat(temperature=0, logprobs=True, max_completion_tokens=1, logit_bias={str(ids[0]): -100})
    assert banned.choices[0].logprobs.content[0].token != first.token


@check
def penalties_keep_an_answer_from_repeating_itself():
    def repeats(**options):
        song = "la la la la la la la la la la la la"
        answer = client.completions.create(model=WRITER, prompt=song, temperature=0, max_tokens=40, **options)
        words = answer.choices[0].text.split()
        return len(words) - len(set(words))

    assert repeats(frequency_penalty=1.5, presence_penalty=1.0) < repeats(), "the penalties did nothing"


@check
def an_answer_keeps_to_a_schema():
    for seed in range(3):
        answer = chat(
            messages=[{"role": "user", "content": "Describe a person."}],
            seed=seed,
            temperature=1.0,
            max_completion_tokens=200,
            response_format={"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}},
        )
        if answer.choices[0].finish_reason == "stop":
            person = json.loads(answer.choices[0].message.content)
            assert set(person) == {"name", "age", "likes"} and 0 <= person["age"] <= 150
            assert set(person["likes"]) <= {"tea", "coffee"}


@check
def an_answer_is_an_object_where_that_is_asked():
    answer = chat(response_format={"type": "json_object"}, temperature=0, max_completion_tokens=200)
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(answer.choices[0].message.content), dict)


@check
def a_tool_that_must_be_called_is_called_with_arguments_of_its_schema():
    for choice in ("required", {"type": "function", "function": {"name": "weather"}}):
        answer = chat(tools=[WEATHER], tool_choice=choice, max_completion_tokens=100, seed=1, parallel_tool_calls=False)
        calls = answer.choices[0].message.tool_calls
        assert len(calls) == 1 and answer.choices[0].finish_reason == "tool_calls"
        arguments = json.loads(calls[0].function.arguments)
        assert arguments["city"] in ("Paris", "北京") and 1 <= arguments["days"] <= 7


@check
def calls_come_in_a_stream_and_their_results_are_taken():
    call = None
    for chunk in chat(tools=[WEATHER], tool_choice="required", max_completion_tokens=100, stream=True, parallel_tool_calls=False):
        for choice in chunk.choices:
            for part in choice.delta.tool_calls or []:
                call = part
    messages = HELLO + [
        {"role": "assistant", "tool_calls": [{"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": call.function.arguments}}]},
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    assert chat(messages=messages, tools=[WEATHER]).choices[0].message


@check
def tools_may_be_left_alone():
    answer = chat(tools=[WEATHER], tool_choice="none", temperature=0)
    plain = chat(temperature=0)
    assert answer.choices[0].message.content == plain.choices[0].message.content


@check
def a_conversation_has_turns_and_parts():
    answer = chat(
        messages=[
            {"role": "developer", "content": "Answer in one word."},
            {"role": "user", "content": [{"type": "text", "text": "Is the sky "}, {"type": "text", "text": "blue?"}]},
            {"role": "assistant", "content": "Yes."},
            {"role": "user", "content": "Sure?"},
        ]
    )
    assert answer.choices[0].message.content


@check
def what_is_wrong_is_refused_with_the_field():
    cases = [
        ({"temperature": 9}, "temperature"),
        ({"n": 0}, "n"),
        ({"extra_body": {"mirostat": 2}}, "mirostat"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
    ]
    for options, field in cases:
        try:
            chat(**options)
            raise AssertionError(f"{field} was accepted")
        except openai.BadRequestError as error:
            assert error.param == field, (error.param, field)


@check
def a_prompt_that_is_too_long_is_refused_with_the_numbers():
    try:
        chat(messages=[{"role": "user", "content": "word " * 200_000}])
        raise AssertionError("it was accepted")
    except openai.BadRequestError as error:
        assert error.code == "context_length_exceeded", error


@check
def text_is_continued():
    answer = client.completions.create(model=WRITER, prompt="1, 2, 3,", max_tokens=8, temperature=0, logprobs=2)
    choice = answer.choices[0]
    assert choice.text and len(choice.logprobs.tokens) == answer.usage.completion_tokens
    echoed = client.completions.create(model=WRITER, prompt="1, 2, 3,", max_tokens=8, temperature=0, echo=True)
    assert echoed.choices[0].text == "1, 2, 3," + choice.text
    many = client.completions.create(model=WRITER, prompt=["a b c", "x y z"], n=2, max_tokens=4)
    assert [c.index for c in many.choices] == [0, 1, 2, 3]
    stream = client.completions.create(model=WRITER, prompt="1, 2, 3,", max_tokens=8, temperature=0, stream=True)
    assert "".join(c.text for chunk in stream for c in chunk.choices) == choice.text


@check
def tokens_are_a_prompt_too():
    tokens = post("/tokenize", {"model": WRITER, "prompt": "1, 2, 3,"})["tokens"]
    by_text = client.completions.create(model=WRITER, prompt="1, 2, 3,", max_tokens=8, temperature=0)
    by_tokens = client.completions.create(model=WRITER, prompt=tokens, max_tokens=8, temperature=0)
    assert by_text.choices[0].text == by_tokens.choices[0].text


@check
def a_response_is_answered_remembered_and_gone_on_from():
    first = client.responses.create(model=WRITER, input="My name is Bo.", instructions="Be brief.", max_output_tokens=16)
    assert first.output_text and first.status in ("completed", "incomplete")
    second = client.responses.create(model=WRITER, input="What is my name?", previous_response_id=first.id, max_output_tokens=16)
    assert second.usage.input_tokens > first.usage.input_tokens
    assert client.responses.retrieve(first.id).output_text == first.output_text
    client.responses.delete(first.id)
    try:
        client.responses.retrieve(first.id)
        raise AssertionError("it was not forgotten")
    except openai.NotFoundError:
        pass


@check
def a_response_comes_in_events():
    with client.responses.stream(model=WRITER, input="Name three fruits.", temperature=0, max_output_tokens=24) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert text == final.output_text and text


@check
def a_response_calls_tools_and_keeps_to_schemas():
    tool = {"type": "function", "strict": True, **WEATHER["function"]}
    answer = client.responses.create(model=WRITER, input="Weather?", tools=[tool], tool_choice="required", max_output_tokens=100, parallel_tool_calls=False)
    calls = [item for item in answer.output if item.type == "function_call"]
    assert len(calls) == 1 and json.loads(calls[0].arguments)["city"] in ("Paris", "北京")
    items = [{"role": "user", "content": "Weather?"}, calls[0].model_dump(exclude_none=True), {"type": "function_call_output", "call_id": calls[0].call_id, "output": "sunny"}]
    assert client.responses.create(model=WRITER, input=items, max_output_tokens=16).status
    shaped = client.responses.create(
        model=WRITER, input="A person.", max_output_tokens=200,
        text={"format": {"type": "json_schema", "name": "person", "schema": PERSON, "strict": True}},
    )
    if shaped.status == "completed":
        assert set(json.loads(shaped.output_text)) == {"name", "age", "likes"}


@check
def vectors_are_of_length_one_and_near_where_texts_are():
    if EMBEDDER is None:
        return
    texts = ["The cat sits on the mat.", "A cat is sitting on a mat.", "Stock prices fell sharply."]
    base64 = client.embeddings.create(model=EMBEDDER, input=texts)
    floats = client.embeddings.create(model=EMBEDDER, input=texts, encoding_format="float")
    vectors = [item.embedding for item in floats.data]
    for ours, theirs in zip(vectors, base64.data):
        assert max(abs(a - b) for a, b in zip(ours, theirs.embedding)) < 1e-6
        assert abs(sum(x * x for x in ours) - 1) < 1e-3
    near = lambda a, b: sum(x * y for x, y in zip(vectors[a], vectors[b]))
    assert near(0, 1) > near(0, 2)


@check
def documents_are_reranked():
    if EMBEDDER is None:
        return
    body = {"model": EMBEDDER, "query": "Where is the cat?", "documents": ["Prices fell.", "The cat sits on the mat."], "top_n": 1}
    assert post("/v1/rerank", body)["results"][0]["index"] == 1


@check
def health_is_told():
    for path in ("/health/live", "/health/ready"):
        with urllib.request.urlopen(BASE + path) as answer:
            assert answer.status == 200


def main():
    failed = 0
    for function in checks:
        name = function.__name__.replace("_", " ")
        try:
            function()
            print(f"ok    {name}")
        except Exception:
            failed += 1
            print(f"FAIL  {name}")
            traceback.print_exc(limit=-2)
    print(f"{len(checks) - failed} of {len(checks)} checks passed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
