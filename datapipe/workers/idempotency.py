"""Work that is done once: a hint in Redis, which saves work. The ledger beside the data is the guarantee."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from datapipe.errors import PlanError
from datapipe.logs import logger
from datapipe.settings import settings

_LOG = logger("datapipe.workers")
_PREFIX = "datapipe:once:"
_PATIENCE = 0.5  # seconds for a connection, and for each answer
_LARGEST = 64 * 1024  # bytes of a result: Redis is no place for data
_T = TypeVar("_T")

# A value is the owner's hash, a space, who claimed it in which call, and the result once there is one.
_REPLACE = "if string.sub(redis.call('GET', KEYS[1]) or '', 1, 64) == ARGV[1] then {} return 1 end return 0"
_COMPLETE = _REPLACE.format("redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])")
_RELEASE = _REPLACE.format("redis.call('DEL', KEYS[1])")


class IdempotencyStore:
    """Who does a piece of work, and what came of it, by key, for a while.

    It saves work that has been done, or is being done elsewhere. It is a hint: when Redis is flushed, or cannot be
    reached, :meth:`claim` lets the caller proceed, and the work may be done twice. What must not happen twice is
    written with an ``idempotency_key``, which the ledger beside the data enforces.

    Parameters
    ----------
    redis_url : str, optional
        REDIS_URL if left out.
    ttl : float
        Seconds after which a key is forgotten.

    Examples
    --------
    >>> store = IdempotencyStore("redis://localhost:6379/0", ttl=3600)
    >>> key = store.key("orders", "2024-01-01")
    >>> if store.claim(key):  # doctest: +SKIP
    ...     store.complete(key, {"rows": load("2024-01-01")})
    >>> store.result(key)  # doctest: +SKIP
    {'rows': 1200}
    """

    def __init__(self, redis_url: str | None = None, ttl: float = 86_400) -> None:
        if ttl <= 0:
            raise PlanError(f"a key cannot be kept for {ttl:g} s", hint="Give a ttl above 0")
        self.ttl = ttl
        self._owner = str(uuid.uuid4())
        self._is_away = False
        # One more try where a connection was found dead, as after a restart of the server; none where it is slow.
        again = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
        try:
            self._redis: Any = redis.Redis.from_url(
                redis_url or settings().redis_url,
                decode_responses=True,
                socket_connect_timeout=_PATIENCE,
                socket_timeout=_PATIENCE,
                retry=again,
            )
        except ValueError:  # its text may hold the password
            raise PlanError("the Redis URL does not parse", hint="For example redis://localhost:6379/0") from None

    @staticmethod
    def key(*parts: Any) -> str:
        """SHA-256 over values, such that no two lists of them look alike.

        Parameters
        ----------
        *parts
            JSON values: texts, numbers, None, booleans, lists, mappings with texts as keys.

        Raises
        ------
        PlanError
            If one is something else.

        Examples
        --------
        >>> IdempotencyStore.key("ab", "c") == IdempotencyStore.key("a", "bc")
        False
        >>> IdempotencyStore.key({"a": 1, "b": 2}) == IdempotencyStore.key({"b": 2, "a": 1})
        True
        """
        digest = hashlib.sha256()
        for part in parts:
            # Surrogates as they are: escaped, two of them would look like the character they stand for.
            text = _json(part, "a part of a key").encode("utf-8", "surrogatepass")
            digest.update(b"%d:" % len(text) + text)
        return digest.hexdigest()

    def claim(self, key: str, owner: str | None = None, *, ttl: float | None = None) -> bool:
        """Whether the caller may do the work: nobody has done it, or is doing it.

        Parameters
        ----------
        key : str
            From :meth:`key`, or any text; Redis only sees its hash.
        owner : str, optional
            Who asks, such as a run id: one that has claimed the key before and has not completed it may go on.
            Without it, only the first call gets the key, and this store object owns it.
        ttl : float, optional
            Seconds after which somebody else may claim it: how long one that was killed holds up the others.

        Returns
        -------
        bool
            True, with a warning in the log, where Redis does not answer. It never raises.
        """
        call = str(uuid.uuid4())
        mine = f"{_hash(owner or self._owner)} {call} "

        def ask() -> bool:
            name, found = _name(key), None
            while not found:  # it may expire between the two
                if self._redis.set(name, mine, nx=True, px=_milliseconds(ttl or self.ttl)):
                    return True
                found = self._redis.get(name)
            # Equal: the answer to the first try was lost. The same owner: it died and was started again.
            return bool(found == mine or (owner and found.startswith(mine[:65]) and found.endswith(" ")))

        return self._asked(ask, otherwise=True)

    def complete(self, key: str, result: Any = None, owner: str | None = None) -> bool:
        """Record that the work is done, for those who come later.

        Parameters
        ----------
        result : JSON value
            Of 64 KB at most.

        Returns
        -------
        bool
            Whether the key was the caller's; False, too, where it has expired or Redis does not answer.

        Raises
        ------
        PlanError
            If the result is no JSON value, or is too large.
        """
        text = _json(result, "a result")
        if len(text.encode("utf-8", "surrogatepass")) > _LARGEST:
            raise PlanError(f"a result may have {_LARGEST // 1024} KB at most", hint="Keep where it is, not what it is")
        mine = _hash(owner or self._owner)
        value = f"{mine} done {json.dumps(result, allow_nan=False)}"
        return self._script(_COMPLETE, key, mine, value, _milliseconds(self.ttl))

    def release(self, key: str, owner: str | None = None) -> bool:
        """Give a key up, so that somebody else may claim it; whether it was the caller's."""
        return self._script(_RELEASE, key, _hash(owner or self._owner))

    def result(self, key: str) -> Any:
        """What :meth:`complete` was given; None where the work is not done, or Redis does not answer."""
        found = self._value(key)
        return json.loads(found[2]) if found[1:2] == ["done"] else None

    def done(self, key: str) -> bool:
        """Whether the work is known to be done."""
        return self._value(key)[1:2] == ["done"]

    @contextmanager
    def once(self, key: str, *, ttl: float | None = None) -> Iterator[Claim]:
        """Do a block once: the claim is true for the one who may, and is given up if the block fails.

        Parameters
        ----------
        ttl : float, optional
            Seconds after which somebody else may claim it: how long one that was killed holds up the others.

        Examples
        --------
        >>> store = IdempotencyStore("redis://localhost:6379/0")
        >>> with store.once(store.key("orders", "2024-01-01")) as claim:  # doctest: +SKIP
        ...     rows = claim.complete(load("2024-01-01")) if claim else claim.result
        """
        claim = Claim(self, key, ttl)
        try:
            yield claim
        except BaseException:
            claim.release()
            raise
        if claim and not claim.is_complete:
            claim.complete(None)

    def _value(self, key: str) -> list[str]:
        return self._asked(lambda: str(self._redis.get(_name(key)) or "").split(" ", 2), otherwise=[])

    def _script(self, text: str, key: str, *arguments: Any) -> bool:
        return self._asked(lambda: bool(self._redis.eval(text, 1, _name(key), *arguments)), otherwise=False)

    def _asked(self, ask: Callable[[], _T], *, otherwise: _T) -> _T:
        """An answer of Redis; another value, and a warning the first time, where there is none."""
        try:
            found = ask()
        except (redis.RedisError, OSError) as error:
            if not self._is_away:
                _LOG.warning("Redis does not answer, so work may be done twice: %s", error)
            self._is_away = True
            return otherwise
        self._is_away = False
        return found


class Claim:
    """One attempt at a piece of work; true for the one who may do it.

    Parameters
    ----------
    store : IdempotencyStore
    key : str
    ttl : float, optional
    """

    def __init__(self, store: IdempotencyStore, key: str, ttl: float | None = None) -> None:
        self.key = key
        self.is_complete = False
        self._store = store
        self._owner = str(uuid.uuid4())  # of its own, so that threads which share a store do not share claims
        self._won = store.claim(key, self._owner, ttl=ttl)

    def __bool__(self) -> bool:
        return self._won

    @property
    def result(self) -> Any:
        """What the one who did the work has given to :meth:`complete`."""
        return self._store.result(self.key)

    def complete(self, result: _T) -> _T:
        """Record that the work is done; the result itself."""
        self._store.complete(self.key, result, self._owner)
        self.is_complete = True
        return result

    def release(self) -> None:
        """Let somebody else do it."""
        self._store.release(self.key, self._owner)


def _json(value: Any, what: str) -> str:
    """The one text of a JSON value."""
    try:
        _check_keys(value)
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise PlanError(f"{what} is no JSON value: {error}", hint="Use texts, numbers, lists and mappings") from None


def _check_keys(value: Any) -> None:
    """json would write the keys 1 and "1" alike."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"a key of a mapping is of type {type(key).__name__}")
            _check_keys(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_keys(item)


def _name(key: str) -> str:
    return _PREFIX + _hash(key)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
