"""One chat request after another to any OpenAI-compatible server."""

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxcbm.concepts.sources.budget import Budget
from jaxcbm.concepts.sources.json_requests import checked_base_url
from jaxcbm.concepts.sources.retries import Transient, retry_after_seconds
from jaxcbm.errors import UserError
from jaxcbm.extras import import_extra
from jaxcbm.json_text import parse_json
from jaxcbm.lines import printable

_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
# Servers differ in what they know. Each of these can go, by the words that a refusal names it with.
_OPTIONAL = {
    "response_format": ("response_format", "json_schema"),
    "seed": ("seed",),
    "temperature": ("temperature",),
    "max_tokens": ("max_tokens",),
    "max_completion_tokens": ("max_completion_tokens",),
}


class Reply(NamedTuple):
    """What a language model answered.

    Attributes:
        text: what it wrote.
        model: which model it says it is.
        tokens: what prompt and answer cost.
    """

    text: str
    model: str
    tokens: int


class _Unfit(Exception):
    """The server does not take the request as it is."""


class ChatClient:
    """A server and its key; safe to share between threads.

    The key is read from the environment and goes into the request's header and nowhere else: it is
    cut out of whatever the server says.

    Args:
        base_url: up to and with /v1.
        key_variable: the environment variable that holds the key; unset for servers that need none.
        timeout: seconds without a byte.
        budget: what may be spent.

    Raises:
        UserError: the package openai is not installed, or the URL or the key cannot be one.
    """

    def __init__(self, base_url: str, key_variable: str, timeout: float, budget: Budget):
        openai = import_extra("openai", "jaxcbm[llm]", "asking a language model")
        self.base_url = checked_base_url(base_url)
        self.key_variable = key_variable
        self.budget = budget
        self._openai = openai
        self._key = os.environ.get(key_variable, "").strip()
        if not (self._key.isascii() and (self._key.isprintable() or not self._key)):
            raise UserError(f"{key_variable} holds something that is no key: set it again")
        # Its own retries would go round our budget.
        self._client = openai.OpenAI(
            api_key=self._key or "none", base_url=self.base_url, timeout=timeout, max_retries=0
        )
        self._left_out: frozenset[str] = frozenset()

    def ask(self, request: Mapping[str, Any]) -> Reply:
        """One try; an optional parameter that the server refuses is left out from then on.

        Args:
            request: model, messages, max_tokens and optional parameters of the chat API.

        Raises:
            Transient: no connection, a time-out, a busy or stumbling server, or half an answer.
            UserError: the server refuses, or the budget is spent.
        """
        for _ in range(len(_OPTIONAL) + 1):
            sent = _without(request, self._left_out)
            try:
                return self._send(sent)
            except _Unfit as refusal:
                named = _named(str(refusal), sent)
                if named is None:
                    raise UserError(f"{self.base_url} refuses: {refusal}") from None
                self._left_out |= {named}
        raise UserError(f"{self.base_url} refuses the request in every form")

    def _send(self, request: Mapping[str, Any]) -> Reply:
        openai = self._openai
        most = _most_tokens(request)
        self.budget.take(most)
        create: Any = self._client.chat.completions.with_raw_response.create
        try:
            body = create(**request).text
        except openai.APITimeoutError:
            raise Transient("no answer in time") from None
        except openai.APIConnectionError as error:
            raise Transient(f"no connection: {self._shown(error.__cause__ or error)}") from None
        except openai.APIStatusError as error:
            self.budget.settle(most, 0)
            raise self._refused(error) from None
        except openai.OpenAIError as error:
            raise Transient(self._shown(error)) from None
        try:
            reply = _read(parse_json(body), most)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            raise Transient(f"no chat answer: {self._shown(body)!r:.60}") from None
        self.budget.settle(most, reply.tokens)
        return reply._replace(text=self._hidden(reply.text), model=self._hidden(reply.model))

    def _refused(self, error: Any) -> Exception:
        status = error.status_code
        reason = f"HTTP {status} {self._shown(_message(error.body))}".strip()
        if status in (401, 403):
            state = "is refused" if self._key else "is not set"
            return UserError(f"{self.base_url}: the key in {self.key_variable} {state} ({reason})")
        if status in _PASSING and "insufficient_quota" not in str(error.body):
            return Transient(reason, retry_after_seconds(error.response.headers.get("Retry-After")))
        if status in (400, 422):
            return _Unfit(reason)
        return UserError(f"{self.base_url} refuses: {reason}")

    def _shown(self, text: object) -> str:
        return printable(self._hidden(str(text)), 200)

    def _hidden(self, text: str) -> str:
        # What is shorter is no secret ("none"), and may be a part of any word.
        return text.replace(self._key, "[key]") if len(self._key) >= 8 else text


def _without(request: Mapping[str, Any], left_out: frozenset[str]) -> dict[str, Any]:
    sent = {name: value for name, value in request.items() if name not in left_out}
    if "max_tokens" in left_out and "max_completion_tokens" not in left_out:
        sent["max_completion_tokens"] = request["max_tokens"]
    return sent


def _named(refusal: str, sent: Mapping[str, Any]) -> str | None:
    """The optional parameter that a refusal names first."""
    places = {
        name: refusal.find(word)
        for name, words in _OPTIONAL.items()
        for word in words
        if name in sent and word in refusal
    }
    return min(places, key=places.__getitem__, default=None)


def _most_tokens(request: Mapping[str, Any]) -> int:
    """More than a request can cost: no token is shorter than a byte."""
    prompt = json.dumps([request["messages"], request.get("response_format")], ensure_ascii=False)
    answer = request.get("max_tokens", request.get("max_completion_tokens", 0))
    return len(prompt.encode()) + answer


def _read(value: Any, most: int) -> Reply:
    message = value["choices"][0]["message"]
    content = message["content"] or ""
    if isinstance(content, list):
        content = "".join(part.get("text", "") for part in content)
    usage = value.get("usage") or {}
    if not isinstance(content, str):
        raise TypeError("the content is no text")
    tokens = usage.get("total_tokens")
    # A server that does not count is taken at the most.
    if not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 0:
        tokens = most
    return Reply(content, str(value.get("model") or ""), tokens)


def _message(body: Any) -> str:
    """The reason in an error's body, which servers write in several ways."""
    inner = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(inner, dict):
        inner = inner.get("message") or inner.get("detail") or inner
    return " ".join(str(inner or "").split())
