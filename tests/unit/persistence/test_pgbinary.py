"""Which of PostgreSQL's types share their binary form. No server here: tests/fidelity asks one."""

from __future__ import annotations

import pytest

from datapipe.persistence.pgbinary import same_form

SAME = [
    ("integer", "integer"),
    ("numeric(9,2)", "numeric"),
    ("numeric(9,2)[]", "numeric[]"),
    ("character varying(5)", "character varying"),
    ("character varying(5)", "text"),
    ("text", "character varying"),
    ("character(5)", "bpchar"),
    ("timestamp(3) with time zone", "timestamp with time zone"),
    ("interval year to month", "interval"),
    ("bit(3)", "bit varying"),
    ("jsonb[]", "jsonb[]"),
]
OTHER = [
    ("integer", "bigint"),
    ("numeric", "numeric(9,2)"),
    ("numeric(9,2)", "numeric(9,3)"),
    ("numeric(9,2)", "numeric(9,2)[]"),
    ("text", "character varying(5)"),
    ("text", "character(5)"),
    ("text", "jsonb"),
    ("character varying(5)[]", "text[]"),  # the elements carry their type's number
    ("timestamp without time zone", "timestamp with time zone"),
    ("json", "jsonb"),
    ("oid", "oid"),
    ("money", "money"),
    ("regclass", "regclass"),
    ("mood", "mood"),
    ("mood[]", "mood[]"),
    ('"char"', "text"),
]


@pytest.mark.parametrize(("source", "target"), SAME)
def test_a_type_goes_into_itself_and_into_its_wider_form(source: str, target: str) -> None:
    assert same_form(source, target)


@pytest.mark.parametrize(("source", "target"), OTHER)
def test_what_may_differ_is_decoded(source: str, target: str) -> None:
    assert not same_form(source, target)
