"""The frames between a pool and its workers, without sockets."""

from __future__ import annotations

from evalpool.backends._pool import _wire

RECORD = b"".join(map(bytes, _wire.frame(_wire.RECORD, b"what a job records")))


def parsed(data: bytes) -> tuple[list[_wire.Frame], int]:
    frames: list[_wire.Frame] = []
    return frames, _wire.FrameReader.parse(memoryview(data), frames)


def test_outcomes_that_follow_each_other_are_one_frame_and_others_stay_where_they_are() -> None:
    outcomes = [(number, 1, number / 2, 0.25, 0.5) for number in range(5)]
    data = [_wire.fast_outcome(*outcome) for outcome in outcomes]
    frames, at = parsed(b"".join([*data[:3], RECORD, data[3], RECORD, RECORD, data[4]]))
    assert at == 5 * _wire.FAST_FRAME.size + 3 * len(RECORD)
    fast = [payload for kind, payload, _ in frames if kind == _wire.FAST_OUTCOME]
    assert fast == [outcomes[:3], outcomes[3:4], outcomes[4:]]
    kinds = [kind for kind, _, _ in frames]
    assert kinds == [
        _wire.FAST_OUTCOME,
        _wire.RECORD,
        _wire.FAST_OUTCOME,
        _wire.RECORD,
        _wire.RECORD,
        _wire.FAST_OUTCOME,
    ]


def test_an_outcome_of_which_the_end_has_not_come_is_left() -> None:
    whole = _wire.fast_outcome(7, 1, 1.0, 0.0, 1.0)
    for missing in range(1, len(whole)):
        frames, at = parsed(whole + whole[:-missing])
        assert (frames, at) == ([(_wire.FAST_OUTCOME, [(7, 1, 1.0, 0.0, 1.0)], [])], len(whole))
        frames, at = parsed(RECORD + whole[:-missing])
        assert (len(frames), at) == (1, len(RECORD))
