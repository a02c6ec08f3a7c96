"""Readers for settings that come from the environment. A wrong value stops the start and names its variable."""

import os
import re
from decimal import Decimal, InvalidOperation
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
FALSE_WORDS = frozenset({"0", "false", "no", "off"})


class SettingError(Exception):
    """A variable of the environment is missing or has a value that cannot be used."""


def text(name: str, default: str | None = None) -> str:
    """The variable's value; without it the default, or an error when there is none. Empty counts as not given."""
    value = os.environ.get(name, "").strip()
    if value:
        return value
    if default is None:
        raise SettingError(f"{name} is not set. See .env.example; `make run` sets it by itself.")
    return default


def text_like(name: str, default: str, form: str, meaning: str) -> str:
    """Text of a form; `meaning` says which to whoever gave another."""
    value = text(name, default)
    if not re.fullmatch(form, value):
        raise SettingError(f"{name} must be {meaning}, not {value!r}.")
    return value


def boolean(name: str, default: bool) -> bool:
    """Empty counts as not given."""
    value = text(name, "1" if default else "0")
    if value.lower() in TRUE_WORDS:
        return True
    if value.lower() in FALSE_WORDS:
        return False
    raise SettingError(f"{name} must be 1 or 0, not {value!r}.")


def whole_number(name: str, default: int, *, minimum: int | None = None, maximum: int | None = None) -> int:
    value = text(name, str(default))
    try:
        number = int(value)
    except ValueError:
        raise SettingError(f"{name} must be a whole number, not {value!r}.") from None
    _check_bounds(name, Decimal(number), minimum, maximum)
    return number


def decimal(name: str, default: str, *, minimum: int | None = None, maximum: int | None = None) -> Decimal:
    value = text(name, default)
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise SettingError(f"{name} must be a number, not {value!r}.") from None
    if not number.is_finite():
        raise SettingError(f"{name} must be a finite number, not {value!r}.")
    _check_bounds(name, number, minimum, maximum)
    return number


def words(name: str, default: str = "", *, form: str = ".*", meaning: str = "") -> list[str]:
    """A comma-separated list; blanks around and empty parts are dropped. Each has the form that `meaning` names."""
    value = os.environ.get(name, default)
    parts = [part.strip() for part in value.split(",") if part.strip()]
    for part in parts:
        if not re.fullmatch(form, part):
            raise SettingError(f"{name} must be {meaning}, not {part!r}.")
    return parts


def networks(name: str) -> list[IPv4Network | IPv6Network]:
    """A comma-separated list of networks in CIDR notation; none by default."""
    try:
        return [ip_network(part) for part in words(name)]
    except ValueError as error:
        raise SettingError(f"{name} must be networks like 10.20.0.0/16, not {error}.") from None


def choice(name: str, default: str, allowed: tuple[str, ...]) -> str:
    value = text(name, default)
    if value not in allowed:
        raise SettingError(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")
    return value


def database(name: str = "DATABASE_URL") -> dict[str, Any]:
    """Django's settings for `postgresql://user:password@host:port/database`.

    A socket folder is given as libpq does: `postgresql://user:password@/database?host=/folder`.
    Other query parameters (sslmode, options …) become connection options, of batches too.
    """
    value = text(name)
    parts = urlsplit(value)
    if parts.scheme not in ("postgresql", "postgres"):
        raise SettingError(f"{name} must begin with postgresql://, not {parts.scheme or value[:12]!r}.")
    database_name = unquote(parts.path.lstrip("/"))
    if not database_name:
        raise SettingError(f"{name} names no database.")
    try:
        port = parts.port
    except ValueError:
        raise SettingError(f"{name} has a port that is not a number.") from None
    options = dict(parse_qsl(parts.query))
    return {
        "ENGINE": "fraudsite.postgresql",
        "NAME": database_name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", "") or unquote(parts.hostname or ""),
        "PORT": options.pop("port", "") or str(port or ""),
        "OPTIONS": options,
    }


def host_and_port(host: str, port: int) -> str:
    """As they stand in an address: an IPv6 host in brackets, in which it may have been given."""
    bare = host.strip("[]")
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"


def server_options(given: str, **parameters: object) -> str:
    """What libpq calls `options`: those given, and parameters of the session. Of two with one name the last holds."""
    return " ".join(
        [*([given] if given else []), *(f"-c {name}={value}" for name, value in parameters.items())]
    )


def redis_url(name: str = "REDIS_URL") -> str:
    value = text(name)
    parts = urlsplit(value)
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise SettingError(f"{name} must begin with redis://, rediss:// or unix://.")
    try:
        _ = parts.port
    except ValueError:
        raise SettingError(f"{name} has a port that is not a number.") from None
    if parts.scheme != "unix" and not re.fullmatch(r"/?[0-9]*", parts.path):
        raise SettingError(f"{name} ends with a database's number, as in redis://host:6379/0.")
    return value


def redis_urls(name: str) -> tuple[str, ...]:
    """Addresses of a cluster's nodes, none when the variable is not given."""
    values = words(name)
    if any(urlsplit(value).scheme not in ("redis", "rediss") for value in values):
        raise SettingError(
            f"{name} must be addresses that begin with redis:// or rediss://, comma-separated."
        )
    return tuple(values)


def celery_url(name: str, default: str) -> str:
    """A broker's address as Celery's transport for Redis reads it."""
    value = text(name, default)
    schemes = ("redis://", "rediss://", "redis+socket://", "sentinel://")
    if not value.startswith(schemes):
        raise SettingError(f"{name} must begin with {', '.join(schemes[:-1])} or {schemes[-1]}.")
    return value


def redis_database_url(redis_address: str, database_number: int) -> str:
    """The address of another database of the same Redis, as redis-py reads it."""
    parts = urlsplit(redis_address)
    rest = "&".join(f"{key}={item}" for key, item in parse_qsl(parts.query) if key != "db")
    if parts.scheme == "unix":
        query = f"db={database_number}" + (f"&{rest}" if rest else "")
        return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))
    return urlunsplit((parts.scheme, parts.netloc, f"/{database_number}", rest, ""))


def broker_url(redis_address: str, database_number: int) -> str:
    """The same database's address as Celery's transport reads it, which is another form for sockets."""
    parts = urlsplit(redis_address)
    if parts.scheme == "unix":
        return f"redis+socket://{parts.netloc}{parts.path}?virtual_host={database_number}"
    return redis_database_url(redis_address, database_number)


def _check_bounds(name: str, number: Decimal, minimum: int | None, maximum: int | None) -> None:
    if minimum is not None and number < minimum:
        raise SettingError(f"{name} must be at least {minimum}, not {number}.")
    if maximum is not None and number > maximum:
        raise SettingError(f"{name} must be at most {maximum}, not {number}.")
