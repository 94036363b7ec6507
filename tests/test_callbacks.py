"""What follows a run says what happened."""

from pgkd.callbacks import Event, PrintProgress, format_step, notify
from pgkd.records import Example, Generation, GenerationRequest, Step, Usage

REQUEST = GenerationRequest("2-1", {"card": 3})


def test_a_step_in_a_line():
    step = Step(
        2,
        "write",
        score=0.8,
        n_requested=30,
        n_accepted=20,
        rejected={"duplicate": 7, "malformed": 3},
        usage=Usage(2, 100, 50, cost=None),
        seconds=1.0,
        seconds_left=61.4,
    )
    line = format_step(step)
    assert "20 texts of 30; rejected 7 duplicate, 3 malformed; " in line
    assert "100 + 50 tokens, price unknown; 1.0 s, at most 61 s left" in line


def test_requests_are_printed_if_one_asks_for_it(capsys):
    got = Generation(REQUEST, (Example("a", "card"),))
    failed = Generation(REQUEST, error="too long")
    for verbose, lines in ((0, []), (1, []), (2, ["1 of 3 texts", "too long"])):
        for value in (got, failed):
            notify(Event("generation", value), callbacks=[], verbose=verbose)
        printed = capsys.readouterr().out.splitlines()
        assert printed == [f"  request 2-1: {line}" for line in lines]
    PrintProgress().on_event(Event("end", "budget"))
    assert capsys.readouterr().out == "stopped: budget\n"
