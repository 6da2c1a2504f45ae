"""What was used last is kept, up to a limit."""

from cohortseg.viewer.kept import Kept


def test_the_least_recently_used_go_first() -> None:
    kept = Kept(10)
    kept.put("a", b"1234")
    kept.put("b", b"1234")
    assert kept.get("a") == b"1234"
    kept.put("c", b"1234")
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (b"1234", None, b"1234")
    kept.put("a", b"12")
    kept.put("d", b"1234")
    assert kept.get("c") == b"1234"
    kept.put("huge", b"x" * 11)
    assert [kept.get(key) for key in ("a", "c", "d", "huge")] == [None] * 4
