"""A cap on what a run may spend, held even when many requests are under way."""

import threading

from jaxcbm.errors import UserError


class Budget:
    """Requests and tokens that are left; safe to share between threads.

    Tokens are set aside before a request, at the most that it can cost, and what it did not use is
    given back, so that the cap holds at every moment.

    Args:
        requests: at most so many, failed ones included; None is no cap.
        tokens: at most so many, prompts and answers together; None is no cap.

    >>> budget = Budget(requests=2, tokens=100)
    >>> budget.take(60); budget.settle(60, 20); budget.take(80)
    >>> budget.requests_spent, budget.tokens_spent
    (2, 100)
    """

    def __init__(self, requests: int | None = None, tokens: int | None = None):
        for name, cap in (("requests", requests), ("tokens", tokens)):
            if cap is not None and cap < 1:
                raise UserError(f"a budget of {cap} {name}: give at least 1, or none for no cap")
        self.requests, self.tokens = requests, tokens
        self.requests_spent = self.tokens_spent = 0
        self._lock = threading.Lock()

    def take(self, tokens: int) -> None:
        """Set one request aside.

        Args:
            tokens: the most that it can cost.

        Raises:
            UserError: that is more than is left.
        """
        with self._lock:
            if self.requests is not None and self.requests_spent >= self.requests:
                raise UserError(
                    f"the budget of {self.requests} requests is spent: what was answered is kept, "
                    "and the same command continues with a new budget"
                )
            if self.tokens is not None and self.tokens_spent + tokens > self.tokens:
                raise UserError(
                    f"the budget of {self.tokens} tokens has {self.tokens - self.tokens_spent} "
                    f"left, and a request may take {tokens}: what was answered is kept, and the "
                    "same command continues with a new budget"
                )
            self.requests_spent += 1
            self.tokens_spent += tokens

    def settle(self, taken: int, used: int) -> None:
        """Give back what a request did not use.

        Args:
            taken: what `take` set aside.
            used: what it did cost.
        """
        with self._lock:
            self.tokens_spent += max(used, 0) - taken
