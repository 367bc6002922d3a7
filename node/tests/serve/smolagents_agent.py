"""A smolagents agent on the server: smolagents_agent.py URL KEY scripted|nano."""

import sys

from smolagents import OpenAIServerModel, ToolCallingAgent, tool

url, key, mode = sys.argv[1:]
asked = []


@tool
def get_weather(city: str) -> str:
    """The weather in a city.

    Args:
        city: The city's name.
    """
    asked.append(city)
    return f"It is sunny in {city}."


# Nano's answers mean nothing, so there only the mechanics are looked at: bound by a grammar, every answer
# is a call that can be read.
model = OpenAIServerModel(model_id="test", api_base=url, api_key=key, temperature=0, max_tokens=200)
agent = ToolCallingAgent(tools=[get_weather], model=model, max_steps=3 if mode == "scripted" else 1, verbosity_level=0)
result = agent.run("What is the weather in Paris?")
steps = agent.memory.steps
print("answer:", str(result)[:200])
print("calls:", asked)
if mode == "scripted":
    assert asked == ["Paris"], asked
    assert result == "sunny", result
else:
    assert len(steps) >= 2, steps
