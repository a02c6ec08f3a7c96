"""Facts beside an event that rules may read: the customer's profile, ages, what is known of labels, and which lists
they saw.

They mean what `screening.facts` looks up in real time. With `as_of: "arrival"` only what had come in by the event's
own arrival counts for the event itself; for transactions in whose windows it is, what had come in by theirs.
"""

from __future__ import annotations

from rules.core.past_lists import LISTS_VERSION
from screening.batch.columns import source
from screening.batch.columns.fields import instant_literal, quoted
from screening.batch.columns.stage import FOREVER, Stage

_PROFILE_FIELDS = ("risk_tier", "kyc_status", "account_type", "country_of_residence")
_DAY_US = 86_400_000_000
LABELS = "labels"


def facts_add(stage: Stage) -> None:
    """Add the facts the run needs to every table of events."""
    for kind in stage.needs.fields:
        names = stage.needs.facts(kind)
        counted = list(stage.needs.counted_facts.get(kind, ())) if _is_then(stage) else []
        if counted:
            _split(stage, kind, counted)
        for table in stage.tables_of(kind):
            # At its arrival, or from when on the row is as it is: then_… is of facts that came to be known.
            known_at = "avail" if table == f"then_{kind}" else "arrival"
            _add_customer(stage, table, [name for name in names if name.startswith("customer.")], known_at)
            if "account.age_days" in names:
                _add_age(stage, table, "account_id", "account.age_days", known_at)
        if kind in stage.late_facts:
            _note_changes(stage, kind, counted)
        if "label.is_fraud" in names:
            _add_labels(stage, kind)
        if LISTS_VERSION in names:
            _add_lists_version(stage, kind)


def _is_then(stage: Stage) -> bool:
    return stage.scope.as_of == "arrival"


def _split(stage: Stage, kind: str, names: list[str]) -> None:
    """Table then_<kind>: each event of whose customer or account something came in after it, once from its arrival
    and once from each such moment on."""
    moments = []
    if any(name.startswith("customer.") for name in names):
        _load_profiles(stage)
        moments.append("profiles p ON p.user_id = t.user_id AND p.us <= t.us")
    for field, name in (("user_id", "customer.age_days"), ("account_id", "account.age_days")):
        if name in names:
            _load_firsts(stage, field)
            moments.append(f"first_{field} p ON p.{field} = t.{field} AND p.us < t.us")
    rows = " UNION ".join(
        f"SELECT t.pos, p.arrival AS moment FROM ev_{kind} t JOIN {each} AND p.arrival > t.arrival"
        for each in moments
    )
    stage.run(f"CREATE TABLE moments_{kind} AS {rows}")
    if stage.one(f"SELECT count(*) FROM moments_{kind}"):
        every = stage.every_sql(kind)
        stage.run(
            f"CREATE TABLE then_{kind} AS WITH every AS ({every}), begins AS ("
            f"SELECT pos, avail AS wording, avail AS moment FROM every SEMI JOIN moments_{kind} USING (pos) UNION "
            f"SELECT e.pos, e.avail, m.moment FROM every e JOIN moments_{kind} m ON m.pos = e.pos "
            "AND m.moment > e.avail AND m.moment < e.until"
            ") SELECT e.* REPLACE (b.moment AS avail, coalesce(lead(b.moment) OVER "
            "(PARTITION BY b.pos, b.wording ORDER BY b.moment), e.until) AS until) "
            "FROM every e JOIN begins b ON b.pos = e.pos AND b.wording = e.avail"
        )
        stage.late_facts.add(kind)
    stage.run(f"DROP TABLE moments_{kind}")


def _note_changes(stage: Stage, kind: str, names: list[str]) -> None:
    """Column facts_until of events: the first arrival from which on one of these facts was another. What came in
    and changed nothing is forgotten."""
    differs = " OR ".join(
        f"{quoted(name)} IS DISTINCT FROM first_value({quoted(name)}) OVER known" for name in names
    )
    stage.run(
        f"CREATE TABLE changed_{kind} AS SELECT pos, min(avail) AS at FROM ("
        f"SELECT pos, avail, {differs} AS differs FROM then_{kind} WINDOW known AS (PARTITION BY pos ORDER BY avail)"
        ") WHERE differs GROUP BY pos"
    )
    for table in stage.tables_of(kind):
        if table == f"then_{kind}":
            _replace(stage, table, f"SELECT t.* FROM {table} t SEMI JOIN changed_{kind} USING (pos)")
        else:
            until = f"coalesce(c.at, {FOREVER}) AS facts_until"
            _replace(
                stage,
                table,
                f"SELECT t.*, {until} FROM {table} t LEFT JOIN changed_{kind} c ON c.pos = t.pos",
            )
    stage.run(f"DROP TABLE changed_{kind}")


def _replace(stage: Stage, table: str, select: str) -> None:
    stage.run(f"CREATE TABLE {table}_new AS {select}")
    stage.run(f"DROP TABLE {table}")
    stage.run(f"ALTER TABLE {table}_new RENAME TO {table}")


def _add_customer(stage: Stage, table: str, names: list[str], known_at: str) -> None:
    if not names:
        return
    _load_profiles(stage)
    known = f" AND p.arrival <= t.{known_at}" if _is_then(stage) else ""
    columns = ", ".join(
        f"p.{name.removeprefix('customer.')} AS {quoted(name)}"
        for name in names
        if name != "customer.age_days"
    )
    columns = f", {columns}" if columns else ""
    # A row of ev_… is one position, of the others one position and wording.
    _replace(
        stage,
        table,
        f"SELECT t.*{columns}, p.since_us AS since_us FROM {table} t "
        f"LEFT JOIN profiles p ON p.user_id = t.user_id AND p.us <= t.us{known} "
        "QUALIFY row_number() OVER (PARTITION BY t.pos, t.avail ORDER BY p.us DESC, p.id DESC) = 1",
    )
    if "customer.age_days" in names:
        _add_age(stage, table, "user_id", "customer.age_days", known_at, since="since_us")
    stage.run(f"ALTER TABLE {table} DROP COLUMN since_us")


def _load_profiles(stage: Stage) -> None:
    if _has_table(stage, "profiles"):
        return
    select = {
        "id": ("t.id", "bigint"),
        "user_id": ("t.user_id", "text"),
        **{name: (f"t.{name}", "text") for name in _PROFILE_FIELDS},
        "since_us": ("extract(epoch FROM t.customer_since) * 1000000", "bigint"),
        "us": ("extract(epoch FROM t.updated_at) * 1000000", "bigint"),
        "arrival": ("t.arrival", "bigint"),
    }
    limit = stage.scope.arrival_limit
    condition = "TRUE" if limit is None else f"t.arrival <= {limit}"
    with source.rows(select, f"FROM ingestion_customerprofile t WHERE {condition}") as reader:
        stage.database.register("reading", reader)
        stage.run("CREATE TABLE profiles AS SELECT * FROM reading")
        stage.database.unregister("reading")


def _has_table(stage: Stage, name: str) -> bool:
    return bool(stage.one(f"SELECT count(*) FROM duckdb_tables() WHERE table_name = '{name}'"))


def _add_age(
    stage: Stage, table: str, field: str, name: str, known_at: str, since: str = "NULL::BIGINT"
) -> None:
    """Whole days since the profile says, else since the first transaction of that user or account."""
    _load_firsts(stage, field)
    match = f"f.{field} = t.{field}"
    if _is_then(stage):
        join = f"ASOF LEFT JOIN first_{field} f ON {match} AND t.{known_at} >= f.arrival"
    else:
        join = f"LEFT JOIN (SELECT {field}, min(us) AS us FROM first_{field} GROUP BY 1) f ON {match}"
    first = "least(t.us, coalesce(f.us, t.us))"
    age = f"floor_days(t.us - coalesce({since.replace('since_us', 't.since_us')}, {first}))"
    stage.run(
        f"CREATE OR REPLACE MACRO floor_days(us) AS CASE WHEN us >= 0 THEN us // {_DAY_US} "
        f"ELSE -((-us + {_DAY_US - 1}) // {_DAY_US}) END"
    )
    _replace(
        stage,
        table,
        f"SELECT t.*, CASE WHEN t.{field} IS NOT NULL THEN {age} END AS {quoted(name)} FROM {table} t {join}",
    )


def _load_firsts(stage: Stage, field: str) -> None:
    """Per user or account every transaction that, when it arrived, was the earliest of it so far."""
    if _has_table(stage, f"first_{field}"):
        return
    select = {
        field: (f"t.{field}", "text"),
        "arrival": ("t.arrival", "bigint"),
        "us": ("extract(epoch FROM t.occurred_at) * 1000000", "bigint"),
    }
    limit = stage.scope.arrival_limit
    condition = "" if limit is None else f" AND arrival <= {limit}"
    earlier = (
        f"SELECT {field}, arrival, occurred_at, min(occurred_at) OVER (PARTITION BY {field} ORDER BY arrival "
        f"ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS earliest "
        f"FROM ingestion_transaction WHERE arrival IS NOT NULL{condition}"
    )
    rest = f"FROM ({earlier}) t WHERE t.earliest IS NULL OR t.occurred_at < t.earliest"
    with source.rows(select, rest) as reader:
        stage.database.register("reading", reader)
        stage.run(f"CREATE TABLE first_{field} AS SELECT * FROM reading")
        stage.database.unregister("reading")


def _add_labels(stage: Stage, kind: str) -> None:
    """Column `labels`: what was said of the transaction, in the order in which it became known."""
    if not _has_table(stage, "labels_known"):
        select = {
            "id": ("t.id", "bigint"),
            "label_id": ("l.id", "bigint"),
            "us": ("extract(epoch FROM l.known_from) * 1000000", "bigint"),
            "arrival": ("l.arrival", "bigint"),
            "value": ("l.is_fraud", "boolean"),
        }
        rest = "FROM ingestion_label l JOIN ingestion_transaction t ON t.transaction_id = l.transaction_id"
        if stage.scope.arrival_limit is not None and _is_then(stage):
            rest += f" WHERE l.arrival <= {stage.scope.arrival_limit}"
        with source.rows(select, rest) as reader:
            stage.database.register("reading", reader)
            stage.run(
                "CREATE TABLE labels_known AS SELECT id, "
                "list(struct_pack(us := us, arrival := arrival, value := value) "
                "ORDER BY us, label_id) AS labels FROM reading GROUP BY id"
            )
            stage.database.unregister("reading")
    for table in stage.tables_of(kind):
        _replace(stage, table, f"SELECT t.*, l.labels FROM {table} t LEFT JOIN labels_known l ON l.id = t.id")


def _add_lists_version(stage: Stage, kind: str) -> None:
    """Which version of all named lists each transaction's decision was made with: that of its ruleset. Null, which
    stands for the newest, where there is no decision, and for events from before the first that is screened."""
    select = {"id": ("d.transaction_id", "bigint"), "version": ("coalesce(r.lists_version, 0)", "bigint")}
    bounds = []
    if stage.scope.earliest_us is not None:
        bounds.append(f"t.occurred_at >= {instant_literal(stage.scope.earliest_us)}")
    if stage.scope.latest_us is not None:
        bounds.append(f"t.occurred_at <= {instant_literal(stage.scope.latest_us)}")
    rest = (
        "FROM screening_decision d JOIN ingestion_transaction t ON t.id = d.transaction_id "
        f"LEFT JOIN rules_rulesetversion r ON r.number = d.ruleset WHERE {' AND '.join(bounds) or 'TRUE'}"
    )
    with source.rows(select, rest) as reader:
        stage.database.register("reading", reader)
        stage.run("CREATE TABLE lists_versions AS SELECT * FROM reading")
        stage.database.unregister("reading")
    for table in stage.tables_of(kind):
        version = f"v.version AS {quoted(LISTS_VERSION)}"
        _replace(
            stage, table, f"SELECT t.*, {version} FROM {table} t LEFT JOIN lists_versions v ON v.id = t.id"
        )


def label_sql(event: str, current: str, *, then: bool, labels_us: int | None = None) -> str:
    """What was known of a counted event's label when the screened one occurred (and, with `then`, had arrived), or
    at the moment `labels_us` where there is none."""
    if labels_us is not None:
        return f"(list_filter({event}.labels, lambda x: x.us <= {labels_us})[-1].value)"
    arrived = f" AND x.arrival <= {current}.arrival" if then else ""
    return f"(list_filter({event}.labels, lambda x: x.us <= {current}.us{arrived})[-1].value)"
