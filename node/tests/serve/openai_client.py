"""Every feature of the server through the official client: openai_client.py URL KEY scripted|nano."""

import json
import sys

import openai
from openai import OpenAI
from pydantic import BaseModel

url, key, mode = sys.argv[1:]
client = OpenAI(base_url=url, api_key=key, max_retries=0, timeout=120)
MODEL = "test"


def user(text):
    return [{"role": "user", "content": text}]


def check(name, holds):
    assert holds, name
    print("ok", name)


def refuses(name, error, ask):
    try:
        ask()
    except error as refusal:
        check(f"{name}: {refusal.status_code} {refusal.body['message'][:60]}", bool(refusal.body["message"]))
    else:
        raise AssertionError(f"{name} was not refused")


def common():
    check("models", [model.id for model in client.models.list()] == [MODEL])
    check("model", client.models.retrieve(MODEL).id == MODEL)
    whole = client.completions.create(model=MODEL, prompt="In the beginning", max_tokens=10, temperature=0, logprobs=3)
    choice = whole.choices[0]
    check("completion", whole.usage.completion_tokens == len(choice.logprobs.tokens) or choice.finish_reason == "stop")
    check("completion logprobs", all(len(top) >= 1 for top in choice.logprobs.top_logprobs))
    stream = client.completions.create(
        model=MODEL, prompt="In the beginning", max_tokens=10, temperature=0, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    check("completion stream", "".join(c.choices[0].text for c in chunks if c.choices) == choice.text)
    check("completion stream usage", chunks[-1].usage.total_tokens == whole.usage.total_tokens)
    tokens = client.completions.create(model=MODEL, prompt=[2, 300, 301], max_tokens=3, temperature=0)
    check("token prompt", tokens.usage.prompt_tokens == 3)

    def sampled(seed):
        return client.chat.completions.create(
            model=MODEL, messages=user("Hi"), max_tokens=8, seed=seed, temperature=1.3, top_p=0.95,
            frequency_penalty=0.5, presence_penalty=0.5, extra_body={"top_k": 40, "min_p": 0.01, "repetition_penalty": 1.1},
        ).choices[0].message.content

    check("seeds", sampled(1) == sampled(1))
    chat = client.chat.completions.create(
        model=MODEL, messages=[{"role": "developer", "content": "Be brief."}, *user([{"type": "text", "text": "Hi"}])],
        max_completion_tokens=6, temperature=0, logprobs=True, top_logprobs=2,
    )
    records = chat.choices[0].logprobs.content
    check("chat logprobs", records and all(len(record.top_logprobs) == 2 for record in records))
    text = "".join(bytes(b for record in records for b in record.bytes).decode(errors="replace"))
    check("chat text", chat.choices[0].message.content == text)
    asked = {"model": MODEL, "messages": user("Hi"), "max_tokens": 6, "temperature": 0}
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    check("chat stream", text == client.chat.completions.create(**asked).choices[0].message.content)
    check("chat stream usage", chunks[-1].usage.completion_tokens == 6)
    check("logit bias", client.completions.create(model=MODEL, prompt="x", logit_bias={"1": 100}, temperature=0).choices[0].text == "")

    class Herd(BaseModel):
        sure: bool
        oxen: int

    parsed = client.chat.completions.parse(model=MODEL, messages=user("Hi"), response_format=Herd, temperature=0, max_tokens=200)
    check(f"parsed schema {parsed.choices[0].message.parsed}", isinstance(parsed.choices[0].message.parsed, Herd))
    any_json = client.chat.completions.create(
        model=MODEL, messages=user("Hi"), response_format={"type": "json_object"}, temperature=0, max_tokens=400,
        logit_bias={},
    )
    if any_json.choices[0].finish_reason == "stop":
        check("any JSON", isinstance(json.loads(any_json.choices[0].message.content), dict))
    else:
        check("any JSON begins", any_json.choices[0].message.content.startswith("{"))
    forced = client.chat.completions.create(
        model=MODEL, messages=user("Hi"), tools=[tool("count", {"n": {"type": "integer"}}, ["n"])],
        tool_choice={"type": "function", "function": {"name": "count"}}, parallel_tool_calls=False, temperature=0, max_tokens=300,
    )
    call = forced.choices[0].message.tool_calls[0].function
    check(f"named tool {call.arguments}", call.name == "count" and isinstance(json.loads(call.arguments)["n"], int))


def errors():
    def chat(**more):
        return lambda: client.chat.completions.create(**{"model": MODEL, "messages": user("Hi"), **more})

    refuses("n", openai.BadRequestError, chat(n=2))
    refuses("model", openai.NotFoundError, chat(model="gpt-4o"))
    refuses("length", openai.BadRequestError, chat(max_tokens=10**6))
    refuses("image", openai.BadRequestError, chat(messages=user([{"type": "image_url", "image_url": {"url": "x"}}])))
    refuses("echo", openai.BadRequestError, lambda: client.completions.create(model=MODEL, prompt="x", echo=True))
    stranger = OpenAI(base_url=url, api_key="wrong", max_retries=0)
    refuses("key", openai.AuthenticationError, lambda: stranger.models.list())


def tool(name, properties, required):
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


def scripted():
    lookup = [tool("lookup", {"q": {"type": "string"}}, ["q"])]
    thought = client.chat.completions.create(
        model=MODEL, messages=user("ponder"), temperature=0, extra_body={"chat_template_kwargs": {"enable_thinking": True}}
    ).choices[0].message
    check("reasoning", (thought.reasoning_content, thought.content) == ("Hm.", "Done."))
    messages = user("The capital of France?")
    asked = client.chat.completions.create(model=MODEL, messages=messages, tools=lookup, temperature=0)
    answer = asked.choices[0].message
    check("tool call", asked.choices[0].finish_reason == "tool_calls" and answer.content is None)
    call = answer.tool_calls[0]
    check("arguments", json.loads(call.function.arguments) == {"q": "capital"})
    messages += [answer, {"role": "tool", "tool_call_id": call.id, "content": "Paris"}]
    told = client.chat.completions.create(model=MODEL, messages=messages, tools=lookup, temperature=0)
    check("tool result", told.choices[0].message.content == "Paris it is.")
    with client.chat.completions.stream(model=MODEL, messages=user("parallel"), tools=lookup, temperature=0) as stream:
        calls = stream.get_final_completion().choices[0].message.tool_calls
    check("parallel calls streamed", [json.loads(c.function.arguments)["q"] for c in calls] == ["a", "b"])
    one = client.chat.completions.create(
        model=MODEL, messages=user("parallel"), tools=lookup, temperature=0, parallel_tool_calls=False
    )
    check("one call", len(one.choices[0].message.tool_calls) == 1)
    stopped = client.chat.completions.create(model=MODEL, messages=user("Hi"), temperature=0, stop=[" nothing"])
    check("stop string", stopped.choices[0].message.content == "I have")


common()
errors()
if mode == "scripted":
    scripted()
