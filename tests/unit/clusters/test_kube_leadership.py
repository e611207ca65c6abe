"""What a Lease says when it is taken, renewed and taken over."""

from datetime import UTC, datetime

from modelyard.clusters.kube.leadership import claimed

NOW = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
STAMP = "2026-01-02T03:04:05.000006Z"
THEN = "2026-01-01T00:00:00.000000Z"


def test_a_new_lease_has_had_no_other_holder() -> None:
    assert claimed({}, "a", NOW) == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "acquireTime": STAMP,
        "renewTime": STAMP,
        "leaseTransitions": 0,
    }


def test_a_renewal_changes_the_time_only() -> None:
    before = claimed({}, "a", datetime(2026, 1, 1, tzinfo=UTC))
    assert claimed(before, "a", NOW) == {**before, "renewTime": STAMP, "acquireTime": THEN}


def test_a_takeover_is_counted() -> None:
    before = claimed({}, "a", datetime(2026, 1, 1, tzinfo=UTC))
    assert claimed(before, "b", NOW) == {**claimed({}, "b", NOW), "leaseTransitions": 1}
