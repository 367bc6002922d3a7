"""A smolagents agent at a node's MCP server: outside_agent.py URL TOKEN BUNDLE.

Its model is scripted, so that the run is the same every time: each step is a tool call whose arguments may
come from what earlier calls answered. Prints the ids of the spec and the claim as JSON.
"""

import json
import pathlib
import sys
import time

from smolagents import ToolCallingAgent
from smolagents.mcp_client import MCPClient
from smolagents.models import ChatMessage, ChatMessageToolCall, ChatMessageToolCallFunction, MessageRole, Model

url, token, bundle = sys.argv[1:]
files = {path.name: path.read_text() for path in pathlib.Path(bundle).iterdir()}
answers = {}


def quoted(text):
    """The JSON of a quotation: the third line, between two lines with the same random word."""
    first, begin, inside, end = text.splitlines()[:4]
    word = begin.removeprefix("--- begin ")
    assert end == f"--- end {word}" and word in first, text[:300]
    return json.loads(inside)


def spec_ordered():
    return any(spec["id"] == answers["spec_new"]["id"] for spec in answers["spec_list"])


def steps():
    """Tool calls, in order; what the last one answered is in `answers` when the next is asked for."""
    yield "board_digest", {"since": 0}
    yield "ledger_ranking", {}
    yield "board_plan", {"text": "eight rows an invocation", "levers": ["serial-rows"]}
    yield "bundle_put", {"files": files}
    manifest = answers["bundle_put"]["bundle"]
    yield "claim_measure", {"bundle": manifest}
    yield "ledger_status", {}
    change = {"model": "nano", "class": answers["ledger_status"]["class"], "weights": "int8", "bandwidth": 10.0}
    yield "spec_new", {**change, "text": "what fewer bytes would bring beside fewer barriers"}
    for _ in range(60):
        yield "spec_list", {}
        if spec_ordered():
            break
        time.sleep(1)
    spec = answers["spec_new"]["id"]
    yield "ledger_cost", {}
    yield "claim_new", {"bundle": manifest, "summary": "by an agent from outside", "cites": [spec]}
    yield "final_answer", {"answer": json.dumps({"spec": spec, "claim": answers["claim_new"]["claim"]})}


class Scripted(Model):
    def __init__(self):
        super().__init__(model_id="scripted")
        self.steps = steps()
        self.last = None

    def generate(self, messages, **kwargs):
        if self.last is not None:
            step = agent.memory.steps[-1]
            assert step.error is None, step.error
            text = step.observations.strip()
            whole = text.startswith("Quoted")
            answers[self.last] = quoted(text) if whole else json.loads(text.splitlines()[0])
        name, arguments = next(self.steps)
        self.last = name
        print(name, file=sys.stderr)
        function = ChatMessageToolCallFunction(name=name, arguments=arguments)
        call = ChatMessageToolCall(id=f"call-{name}", type="function", function=function)
        return ChatMessage(role=MessageRole.ASSISTANT, content="", tool_calls=[call])


server = {"url": url, "transport": "streamable-http", "headers": {"Authorization": f"Bearer {token}"}}
patience = {"client_session_timeout_seconds": 1200}
with MCPClient(server, adapter_kwargs=patience, structured_output=False) as tools:
    agent = ToolCallingAgent(tools=tools, model=Scripted(), max_steps=100, verbosity_level=0)
    print(agent.run("Read what happened, publish a spec, and claim a faster recipe."))
