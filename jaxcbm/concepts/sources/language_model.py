"""Phrases from a language model behind any OpenAI-compatible chat endpoint."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, NamedTuple

from absl import logging

from jaxcbm.concepts.provenance import Candidate, Origin, utc_now
from jaxcbm.concepts.sources.answer_parser import parse_phrases
from jaxcbm.concepts.sources.budget import Budget
from jaxcbm.concepts.sources.cache import AnswerCache
from jaxcbm.concepts.sources.chat_client import ChatClient
from jaxcbm.concepts.sources.questions import QUESTIONS, SCHEMA, messages
from jaxcbm.concepts.sources.retries import RetryPolicy, with_retries
from jaxcbm.concepts.sources.source import checked_classes
from jaxcbm.errors import UserError

KEY_VARIABLE = "OPENAI_API_KEY"
# An answer without a phrase is asked for again with the next seed, so often in all.
_SEEDS = 3


class _Answer(NamedTuple):
    text: str
    model: str
    time: str
    seed: int


def from_language_model(
    classes: Sequence[str],
    cache: AnswerCache,
    *,
    base_url: str,
    model: str,
    questions: Mapping[str, str] = QUESTIONS,
    count: int = 10,
    temperature: float = 0.0,
    seed: int = 0,
    max_tokens: int = 512,
    concurrency: int = 4,
    budget: Budget | None = None,
    licence: str = "",
    key_variable: str = KEY_VARIABLE,
    timeout: float = 120.0,
    retry_policy: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen: a shared default cannot change
    progress: Callable[[int, int], None] | None = None,
) -> list[Candidate]:
    """Ask every question about every class.

    Every answer is kept in the cache; a stopped run continues and pays nothing twice. The key is
    read from the environment and reaches no file, log or record.

    Args:
        classes: K names.
        cache: where answers are kept.
        base_url: up to and with /v1: a hosted service, vLLM, Ollama, llama.cpp, ...
        model: as the server names it.
        questions: texts by name.
        count: phrases wanted for each question.
        temperature: of the sampling, 0 or more; 0 repeats itself best.
        seed: of the sampling, where the server has one.
        max_tokens: of an answer.
        concurrency: requests under way at once.
        budget: what this run may spend; no cap unless given.
        licence: of what the model says, as its terms have it.
        key_variable: the environment variable that holds the key; unset where none is needed.
        timeout: seconds without a byte.
        retry_policy: how often a busy server is asked again.
        progress: told the questions answered and how many there are.

    Returns:
        Candidates by class and question, in the order of the answers.

    Raises:
        UserError: bad class names or settings, no answer from the server, a refusal, a spent
            budget, or not one phrase.
    """
    names = checked_classes(classes)
    for name, value, least in (
        ("count", count, 1),
        ("max_tokens", max_tokens, 1),
        ("concurrency", concurrency, 1),
        ("temperature", temperature, 0),
    ):
        if not value >= least:
            raise UserError(f"{name} is {value}: give at least {least}")
    if not model.strip() or not questions:
        raise UserError("a language model needs a model's name and at least one question")
    client = ChatClient(base_url, key_variable, timeout, budget or Budget())
    settings = {
        "model": model,
        "temperature": temperature,
        "max_tokens": max_tokens,
        "response_format": dict(SCHEMA),
    }
    jobs = [(name, question) for name in names for question in questions]
    stop = threading.Event()

    def answer(job: tuple[str, str]) -> _Answer:
        name, question = job
        chat = messages(questions[question], name, count)
        for place in range(_SEEDS):
            request = {**settings, "messages": chat, "seed": seed + place}
            found = _ask(client, cache, request, retry_policy, stop)
            if parse_phrases(found.text):
                break
        return found

    answers = _all_at_once(answer, jobs, concurrency, stop, progress)
    candidates = []
    silent = []
    for (name, question), found in zip(jobs, answers, strict=True):
        prompt = messages(questions[question], name, count)[1]["content"]
        origin = Origin(
            f"language model at {client.base_url}",
            prompt,
            name,
            found.model or model,
            found.seed,
            found.time,
            licence,
        )
        phrases = parse_phrases(found.text)
        candidates += [Candidate(phrase, origin) for phrase in phrases]
        silent += [] if phrases else [f"{name} ({question})"]
    _tell_silent(silent, len(jobs), model)
    return candidates


def _ask(
    client: ChatClient,
    cache: AnswerCache,
    request: Mapping[str, Any],
    retry_policy: RetryPolicy,
    stop: threading.Event,
) -> _Answer:
    entry = {"source": "language model", "base_url": client.base_url, **request}
    kept = cache.find(entry)
    if kept is None:

        def ask():
            if stop.is_set():
                raise UserError("stopped")
            return client.ask(request)

        reply = with_retries(ask, retry_policy, client.base_url, sleep=stop.wait)
        kept = {"text": reply.text, "model": reply.model, "time": utc_now(), "tokens": reply.tokens}
        cache.keep(entry, kept)
    return _Answer(kept["text"], kept["model"], kept["time"], request["seed"])


def _all_at_once(
    answer: Callable[[tuple[str, str]], _Answer],
    jobs: Sequence[tuple[str, str]],
    concurrency: int,
    stop: threading.Event,
    progress: Callable[[int, int], None] | None,
) -> list[_Answer]:
    """The answers in the order of the jobs; the first failure ends all."""
    with ThreadPoolExecutor(concurrency) as pool:
        futures = [pool.submit(answer, job) for job in jobs]
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                future.result()
                if progress:
                    progress(done, len(jobs))
        except BaseException:
            # What is under way ends and is kept; nothing new begins.
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [future.result() for future in futures]


def _tell_silent(silent: Sequence[str], jobs: int, model: str) -> None:
    if len(silent) == jobs:
        raise UserError(f"not one of {jobs} answers of {model} holds a phrase: try another model")
    if silent:
        shown = ", ".join(silent[:5]) + (", ..." if len(silent) > 5 else "")
        logging.warning("%d of %d answers hold no phrase: %s", len(silent), jobs, shown)
